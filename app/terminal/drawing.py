"""Draws what inspection finds in a model for a terminal: pure functions from answers to lines.

A text is coloured by a cell, green where it is excited and blue where it is quiet; the guesses for
the next character stand below, red by their probability: the figures of Karpathy's essay (2015).
Where shades cannot be shown, bars stand for a cell's activations. Knows the form of the answers
(docs/http-api.md); not where they come from or where the lines go.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from textwrap import wrap
from typing import Any

from rich.cells import cell_len
from rich.color import Color
from rich.color_triplet import ColorTriplet
from rich.style import Style
from rich.text import Text

from app.terminal.output import printable

Colour = tuple[int, int, int]

GREEN: Colour = (60, 190, 80)
BLUE: Colour = (80, 130, 255)
RED: Colour = (255, 70, 60)
WHITE: Colour = (255, 255, 255)

BARS = "▁▂▃▄▅▆▇█"
"""From quiet to excited."""

_SIGNS = {"\n": "↵", "\t": "→", " ": "·", "\r": "←"}
_UNSHOWN = "▯"
"""For what has no glyph, such as a byte that is not a character."""

_TAB = 4
"""Columns of a tab."""

_INDENT = "  "
_MOST_CELLS = 5


@dataclass(frozen=True, slots=True)
class _Column:
    """A character and its guesses, as wide as the widest of them."""

    sign: str
    width: int
    ends_line: bool
    activation: float | None
    guesses: Sequence[tuple[str, float]]


def inspection(answer: Mapping[str, Any], columns: int, *, bars: bool) -> Iterator[Text]:
    """Yields the lines of an inspected text, each with its guesses below it.

    Args:
        answer: of ``POST /models/{model}/inspect``, for at most one cell.
        columns: of the terminal.
        bars: whether to draw activations as bars, for a terminal that cannot show shades.
    """
    drawn = [
        _column(one["char"], one["activations"][0] if one["activations"] else None, one["top"])
        for one in answer["characters"]
    ]
    for number, line in enumerate(_lines(drawn, columns)):
        if number and line[0].guesses:
            yield Text()
        yield from _drawn(line, bars)


def ranking(answer: Mapping[str, Any], columns: int, *, bars: bool) -> Iterator[Text]:
    """Yields the lines of a model's cells and what they track, each with a text as its best cell
    sees it.

    Args:
        answer: of ``GET /models/{model}/cells``.
        columns: of the terminal.
        bars: as of `inspection`.
    """
    share, found = answer["share"], answer["hypotheses"] or []
    if share is None:
        yield Text("this model carries no text to test its cells on")
        return
    if not found:
        yield Text("no cell tracks any of the properties that are looked for")
        return
    for hypothesis in found:
        best, *others = hypothesis["cells"]
        measure = "AUC" if hypothesis["metric"] == "auc" else "correlation"
        told = f"{_named(best)}, {measure} {best['score']:.3f}"
        if others:
            more = ", ".join(f"{_named(one)} ({one['score']:.3f})" for one in others[:_MOST_CELLS])
            told += f"; also {more}"
        yield Text(printable(hypothesis["title"]), "bold")
        yield from map(Text, wrap(told, columns, initial_indent=_INDENT, subsequent_indent=_INDENT))
        excerpt = zip(hypothesis["excerpt"], hypothesis["activations"], strict=True)
        drawn = [_column(char, activation, ()) for char, activation in excerpt]
        for line in _lines(drawn, columns - len(_INDENT)):
            yield from (Text(_INDENT) + shown for shown in _drawn(line, bars))
        yield Text()
    yield Text(f"{share:.1%} of the cells track something")


def _named(cell: Mapping[str, Any]) -> str:
    quiet = " (quiet there)" if cell.get("sign") == -1 else ""
    return f"layer {cell['layer']} cell {cell['cell']}{quiet}"


def _column(char: str, activation: float | None, top: Sequence[tuple[str, float]]) -> _Column:
    guesses = [(sign(name), probability) for name, probability in top]
    # A space shows by its colour or its neighbours; a line end needs a sign.
    shown = " " if char == " " else sign(char)
    least = _TAB if char == "\t" else 1
    width = max(least, *(cell_len(text) for text in (shown, *(name for name, _ in guesses))))
    return _Column(shown, width, char == "\n", activation, guesses)


def _lines(drawn: Sequence[_Column], columns: int) -> Iterator[list[_Column]]:
    """Ends lines where the text does, and where a terminal's line is full."""
    line: list[_Column] = []
    room = columns
    for column in drawn:
        if line and column.width > room:
            yield line
            line, room = [], columns
        line.append(column)
        room -= column.width
        if column.ends_line:
            yield line
            line, room = [], columns
    if line:
        yield line


def _drawn(line: Sequence[_Column], bars: bool) -> Iterator[Text]:
    """Yields a line of text, its cell's activations if they need bars, and the guesses."""
    shades = [None if c.activation is None else _by_activation(c.activation) for c in line]
    yield _painted([_padded(c.sign, c.width) for c in line], shades)
    if bars and line[0].activation is not None:
        heights = [_padded(_bar(c.activation or 0.0), c.width) for c in line]
        yield _painted(heights, [None] * len(line))
    for rank in range(len(line[0].guesses)):
        texts = [_padded(c.guesses[rank][0], c.width) for c in line]
        yield _painted(texts, [_mixed(WHITE, RED, c.guesses[rank][1]) for c in line])


def sign(character: str) -> str:
    """Returns what a terminal shows for one character, and does not obey."""
    if character in _SIGNS:
        return _SIGNS[character]
    if len(character) != 1 or not character.isprintable():
        return _UNSHOWN
    # A combining mark would join the character before it, to which it does not belong.
    return f"◌{character}" if unicodedata.combining(character) else character


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _bar(activation: float) -> str:
    return BARS[min(len(BARS) - 1, int((activation + 1) / 2 * len(BARS)))]


def _by_activation(activation: float) -> Colour:
    return _mixed(WHITE, GREEN if activation > 0 else BLUE, abs(activation))


def _mixed(pale: Colour, full: Colour, share: float) -> Colour:
    share = min(1.0, max(0.0, share))
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(pale, full, strict=True))
    return red, green, blue


def _painted(texts: Sequence[str], shades: Sequence[Colour | None]) -> Text:
    """Returns texts on their backgrounds, in black whatever the terminal's own colours."""
    line = Text()
    pairs = zip(texts, shades, strict=True)
    for shade, run in groupby(pairs, key=lambda pair: pair[1]):
        line.append("".join(text for text, _ in run), _on(shade))
    return line


def _on(shade: Colour | None) -> Style:
    if shade is None:
        return Style.null()
    return Style(color="black", bgcolor=Color.from_triplet(ColorTriplet(*shade)))

"""What was found inside a model, drawn for a terminal: pure functions from answers to lines.

A text is coloured by a cell, green where it is excited and blue where it is quiet, and below it
stand the guesses for the next character, red by their probability: the figures of Karpathy's essay
(2015). Knows the answers' form (docs/http-api.md); not where they come from or where lines go.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any, Literal

Colours = Literal["none", "256", "true"]
"""What a terminal can show: no colours, the 256 of xterm, or any."""

Colour = tuple[int, int, int]

GREEN: Colour = (60, 190, 80)
BLUE: Colour = (80, 130, 255)
RED: Colour = (255, 70, 60)
WHITE: Colour = (255, 255, 255)

BARS = "▁▂▃▄▅▆▇█"
"""From quiet to excited, where there are no colours."""

_SIGNS = {"\n": "↵", "\t": "→", " ": "·", "\r": "←"}
_UNSHOWN = "▯"
"""For what has no picture, such as a byte that is no character."""

_TAB = 4
"""Columns that a tab takes."""

_RESET, _BOLD = "\x1b[0m", "\x1b[1m"

_INDENT = "  "
_MOST_CELLS = 5


def colours(environment: Mapping[str, str], is_terminal: bool) -> Colours:
    """What to draw with: nothing to a file or where ``NO_COLOR`` (no-color.org) says so."""
    kind = environment.get("TERM", "")
    if not is_terminal or environment.get("NO_COLOR") or kind in ("", "dumb"):
        return "none"
    if environment.get("COLORTERM", "").lower() in ("truecolor", "24bit") or "direct" in kind:
        return "true"
    return "256"


@dataclass(frozen=True, slots=True)
class _Column:
    """A character, its guesses, as wide as the widest of them."""

    sign: str
    width: int
    ends_line: bool
    activation: float | None
    guesses: Sequence[tuple[str, float]]


def inspection(
    answer: Mapping[str, Any], columns: int, colours: Colours, cell: int = 0
) -> Iterator[str]:
    """The lines of an inspected text, each with its guesses below it.

    Args:
        answer: of ``POST /models/{model}/inspect``; guesses are drawn if it has any.
        columns: of the terminal.
        colours: what it shows.
        cell: which of the cells that were asked for colours the text; of no matter if none was.
    """
    drawn = [
        _column(one["char"], one["activations"][cell] if one["activations"] else None, one["top"])
        for one in answer["characters"]
    ]
    for number, line in enumerate(_lines(drawn, columns)):
        if number and line[0].guesses:
            yield ""
        yield from _drawn(line, colours)


def ranking(answer: Mapping[str, Any], columns: int, colours: Colours) -> Iterator[str]:
    """The lines of a model's cells and what they track, each with a text coloured by the best one.

    Args:
        answer: of ``GET /models/{model}/cells``.
        columns: of the terminal.
        colours: what it shows.
    """
    share, found = answer["share"], answer["hypotheses"] or []
    if share is None:
        yield "this model carries no text to tell by what its cells do"
        return
    if not found:
        yield "no cell keeps track of anything that is looked for"
        return
    for hypothesis in found:
        best, *others = hypothesis["cells"]
        measure = "AUC" if hypothesis["metric"] == "auc" else "correlation"
        told = f"{_named(best)}, {measure} {best['score']:.3f}"
        if others:
            more = ", ".join(f"{_named(one)} ({one['score']:.3f})" for one in others[:_MOST_CELLS])
            told += f"; also {more}"
        yield _styled(hypothesis["title"], _BOLD, colours)
        yield from wrap(told, columns, initial_indent=_INDENT, subsequent_indent=_INDENT)
        excerpt = zip(hypothesis["excerpt"], hypothesis["activations"], strict=True)
        drawn = [_column(char, activation, ()) for char, activation in excerpt]
        for line in _lines(drawn, columns - len(_INDENT)):
            yield from (_INDENT + shown for shown in _drawn(line, colours))
        yield ""
    yield f"{share:.1%} of the cells track something"


def _named(cell: Mapping[str, Any]) -> str:
    quiet = " (quiet there)" if cell.get("sign") == -1 else ""
    return f"layer {cell['layer']} cell {cell['cell']}{quiet}"


def _column(char: str, activation: float | None, top: Sequence[tuple[str, float]]) -> _Column:
    guesses = [(sign(name), probability) for name, probability in top]
    # A space is seen where colours or neighbours show it; a line end is a sign of its own.
    shown = " " if char == " " else sign(char)
    least = _TAB if char == "\t" else 1
    width = max(least, *(_width(text) for text in (shown, *(name for name, _ in guesses))))
    return _Column(shown, width, char == "\n", activation, guesses)


def _lines(drawn: Sequence[_Column], columns: int) -> Iterator[list[_Column]]:
    """Ends lines where the text does, and where there is no more room."""
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


def _drawn(line: Sequence[_Column], colours: Colours) -> Iterator[str]:
    """A line of text, what its cell does where colours can't say it, and the guesses."""
    watched = line[0].activation is not None
    shades = [None if c.activation is None else _by_activation(c.activation) for c in line]
    yield _painted([_padded(c.sign, c.width) for c in line], shades, colours)
    if watched and colours == "none":
        yield "".join(_padded(_bar(c.activation or 0.0), c.width) for c in line).rstrip()
    for rank in range(len(line[0].guesses)):
        texts = [_padded(c.guesses[rank][0], c.width) for c in line]
        shades = [_mixed(WHITE, RED, c.guesses[rank][1]) for c in line]
        yield _painted(texts, shades, colours)


def sign(character: str) -> str:
    """One character that a terminal shows and does not obey."""
    if character in _SIGNS:
        return _SIGNS[character]
    if len(character) != 1 or not character.isprintable():
        return _UNSHOWN
    # A mark goes onto what stands before it, which it has nothing to do with.
    return f"◌{character}" if unicodedata.combining(character) else character


def _width(text: str) -> int:
    """Columns that a sign takes."""
    return 2 if unicodedata.east_asian_width(text[0]) in "WF" else 1


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _bar(activation: float) -> str:
    return BARS[min(len(BARS) - 1, int((activation + 1) / 2 * len(BARS)))]


def _by_activation(activation: float) -> Colour:
    return _mixed(WHITE, GREEN if activation > 0 else BLUE, abs(activation))


def _mixed(pale: Colour, full: Colour, share: float) -> Colour:
    share = min(1.0, max(0.0, share))
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(pale, full, strict=True))
    return red, green, blue


def _painted(texts: Sequence[str], shades: Sequence[Colour | None], colours: Colours) -> str:
    """Texts on backgrounds of their own, black on light, whatever the terminal's own colours."""
    if colours == "none":
        return "".join(texts).rstrip()
    line, before = "", None
    for text, shade in zip(texts, shades, strict=True):
        if shade != before:
            line += _RESET if shade is None else _background(shade, colours)
            before = shade
        line += text
    return line + (_RESET if before else "")


def _background(colour: Colour, colours: Colours) -> str:
    red, green, blue = colour
    if colours == "true":
        return f"\x1b[30;48;2;{red};{green};{blue}m"
    # xterm's cube of 6 × 6 × 6.
    place = 16 + sum(step * round(part / 51) for step, part in zip((36, 6, 1), colour, strict=True))
    return f"\x1b[30;48;5;{place}m"


def _styled(text: str, style: str, colours: Colours) -> str:
    return text if colours == "none" else f"{style}{text}{_RESET}"

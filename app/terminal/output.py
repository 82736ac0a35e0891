"""What every command prints with: raw text, lines about it, tables.

Colours, sizes and motion are rich's affair: they are for terminals, unless ``NO_COLOR``
(no-color.org) or ``TERM`` says otherwise. Knows no command and no service.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.supervisor.installation import COMMAND
from app.terminal.wrapping import Wrapping

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_UNLIMITED = 1 << 16
_GAP = 2


def console(stream: TextIO) -> Console:
    """Returns rich's view of a stream."""
    capable = os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    is_terminal = stream.isatty() and capable
    return Console(
        file=stream,
        force_terminal=is_terminal,
        # None, rather than rich's own NO_COLOR, which leaves bold and dim.
        color_system="auto" if is_terminal and not os.environ.get("NO_COLOR") else None,
        markup=False,
        emoji=False,
        highlight=False,
    )


def write(text: str) -> None:
    """Writes text to standard output as it is."""
    sys.stdout.write(text)
    sys.stdout.flush()


def tell(line: str) -> None:
    """Writes a line to standard error; in a terminal, one without a command breaks between words.

    A command stays in one piece, to be copied. Where nobody can be told, the exit code says it.
    """
    is_copied = f"{COMMAND} " in line or "://" in line
    _tell(line if is_copied else _broken(line, sys.stderr))


def _tell(line: str) -> None:
    try:
        sys.stderr.write(f"{printable(line)}\n")
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Drops what a stream can't write; else Python would complain again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def note(text: str) -> None:
    """Writes a sentence to standard error; in a terminal it breaks between words."""
    _tell(_broken(text, sys.stderr))


def state(line: str) -> None:
    """Writes a line to standard output; in a terminal it breaks between words."""
    write(f"{printable(_broken(line, sys.stdout))}\n")


def _broken(text: str, stream: TextIO) -> str:
    """A text in lines as wide as a terminal; for anything else as it is."""
    screen = console(stream)
    if not screen.is_terminal:
        return text
    # Not by rich, which breaks a path that is too long for a line, and one can no longer copy it.
    paper = Wrapping(lambda: screen.width)
    return paper.feed(printable(text)) + paper.end()


def table(head: Sequence[str], rows: Sequence[Sequence[str]], nothing: str) -> None:
    """Prints a table, or tells ``nothing`` if it has no rows.

    In a terminal the last column wraps to fit its width; where that is not enough, each row is a
    block of lines. Elsewhere each row is one line.
    """
    if not rows:
        tell(nothing)
        return
    screen = console(sys.stdout)
    if not screen.is_terminal:
        screen.width = _UNLIMITED
    shown = [[printable(cell) for cell in row] for row in rows]
    if _least_width([head, *shown]) <= screen.width:
        grid = _grid(head, shown)
    else:
        grid = _grid(("", ""), _blocks(head, shown))
        grid.show_header = False
    with screen.capture() as drawn:
        screen.print(grid)
    write("".join(f"{line.rstrip()}\n" for line in drawn.get().splitlines()))


def _least_width(lines: Sequence[Sequence[str]]) -> int:
    """Returns the width of a table whose last column breaks lines between all its words."""
    *others, last = zip(*lines, strict=True)
    words = [word for cell in last for word in cell.split()]
    return sum(_width(column) + _GAP for column in others) + _width(words)


def _width(cells: Iterable[str]) -> int:
    return max(map(cell_len, cells), default=0)


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    grid = Table(*head, box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for column in grid.columns[:-1]:
        column.no_wrap = True
    for row in rows:
        # Text, since a string may hold rich's markup.
        grid.add_row(*map(Text, row))
    return grid


def _blocks(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[tuple[str, str]]:
    for number, row in enumerate(rows):
        if number:
            yield "", ""
        yield from zip(head, row, strict=True)


def printable(text: str) -> str:
    """Replaces the characters with which a text can steer the terminal."""
    return _UNPRINTABLE.sub("\N{MIDDLE DOT}", text)


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def day(timestamp: str | None) -> str:
    """Returns a timestamp to the minute, in UTC."""
    return (timestamp or "-")[:16].replace("T", " ")


def duration(seconds: float) -> str:
    """Returns seconds in words, in two units."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"

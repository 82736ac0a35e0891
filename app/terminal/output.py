"""What the terminal prints."""

import os
import shutil
import sys
from collections.abc import Sequence

from app.terminal import drawing

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


class Failed(RuntimeError):
    """A job or a text that did not come to a good end; the message is one line."""


def screen() -> tuple[int, drawing.Colours]:
    """How wide the terminal is, and its colours."""
    columns = shutil.get_terminal_size().columns
    return columns, drawing.colours(os.environ, sys.stdout.isatty())


def write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def table(rows: Sequence[tuple[str, ...]], nothing: str) -> None:
    if len(rows) == 1:
        tell(nothing)
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        write("  ".join(cells).rstrip() + "\n")


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def day(timestamp: str | None) -> str:
    """To the minute, in UTC."""
    return (timestamp or "-")[:16].replace("T", " ")

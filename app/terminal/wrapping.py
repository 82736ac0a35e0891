"""Breaks a text between words while it comes, for a terminal, which would break within them.

Knows no terminal: how wide it is, is asked at each word.
"""

from collections.abc import Callable

from rich.cells import cell_len

_TAB = 8


class Wrapping:
    """A text on its way to a terminal. A word is held back until it ends, or fills a line.

    Args:
        columns: returns the width of the terminal.
    """

    def __init__(self, columns: Callable[[], int]) -> None:
        self._columns = columns
        self._column = 0
        self._gap = ""
        self._word = ""
        # Whether the word in hand goes on after what was printed of it.
        self._goes_on = False

    def feed(self, text: str) -> str:
        """Returns what can be printed of the text so far."""
        return "".join(map(self._take, text))

    def end(self) -> str:
        """Returns the rest of the text."""
        rest = self._placed()
        gap, self._gap = self._gap, ""
        return rest + gap

    def _take(self, char: str) -> str:
        if char == "\n":
            line = self.end()
            self._column = 0
            self._goes_on = False
            return line + char
        if char in " \t":
            placed = self._placed()
            self._gap += char
            self._goes_on = False
            return placed
        self._word += char
        # Between characters of two columns, as Chinese and Japanese have them, a line may break.
        is_wide = cell_len(char) > 1
        if not (is_wide or self._goes_on or cell_len(self._word) >= self._columns()):
            return ""
        placed = self._placed()
        self._goes_on = not is_wide
        return placed

    def _placed(self) -> str:
        """Ends the word, on the next line if it does not fit into this one."""
        if not self._word:
            return ""
        word, gap, columns = self._word, self._gap, self._columns()
        self._word = self._gap = ""
        after = self._after(gap)
        width = cell_len(word)
        if self._column and after + width > columns and not self._goes_on:
            gap, after = "\n", 0
        self._column = (after + width) % columns or columns
        return gap + word

    def _after(self, gap: str) -> int:
        """The column after white space."""
        column = self._column
        for char in gap:
            column = column + 1 if char == " " else column - column % _TAB + _TAB
        return column

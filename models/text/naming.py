"""Which names are wanted: how long, how they begin and end, what they contain and look like.

A name is compared in time proportional to its length, whatever is wanted. Knows no model and no
request.
"""

from dataclasses import dataclass

ONE, ANY = "?", "*"
"""What stands in a pattern for one character, and for any number of them."""


class Pattern:
    """What a whole name looks like, such as ``K?r*a``.

    All ways to read a name by it are followed at once, each a bit of one number (Baeza-Yates and
    Gonnet 1992), so a name costs a step for each of its characters, however many ``*`` there are.
    """

    def __init__(self, text: str) -> None:
        symbols: list[str] = []
        # Bit i of a number is about symbol i, and as a state means that those before it are read.
        self._loops = 0
        for symbol in text:
            if symbol == ANY:
                self._loops |= 1 << len(symbols)
            else:
                symbols.append(symbol)
        self._any = _bits(symbols, ONE)
        self._accepted = {one: self._any | _bits(symbols, one) for one in set(symbols) - {ONE}}
        self._end = 1 << len(symbols)
        self.characters = "".join(symbol for symbol in symbols if symbol != ONE)
        self.shortest = len(symbols)
        self.longest = None if self._loops else len(symbols)
        self.beginning = text.partition(ONE)[0].partition(ANY)[0]

    def matches(self, name: str) -> bool:
        return bool(self._after(name) & self._end)

    def allows(self, beginning: str) -> bool:
        """Whether some name that matches begins so."""
        return self._after(beginning) != 0

    def _after(self, text: str) -> int:
        states = 1
        for character in text:
            accepted = self._accepted.get(character, self._any)
            states = (states & accepted) << 1 | (states & self._loops)
        return states


def _bits(symbols: list[str], one: str) -> int:
    return sum(1 << i for i, symbol in enumerate(symbols) if symbol == one)


ANYTHING = Pattern(ANY)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a name must be like; lengths are in characters."""

    min_length: int
    max_length: int
    starts_with: str = ""
    contains: str = ""
    ends_with: str = ""
    pattern: Pattern = ANYTHING

    @property
    def beginning(self) -> str:
        """What every name begins with."""
        return max(self.starts_with, self.pattern.beginning, key=len)

    @property
    def longest(self) -> int:
        return min(self.max_length, self.pattern.longest or self.max_length)

    def allow(self, name: str) -> bool:
        return (
            self.min_length <= len(name) <= self.max_length
            and name.startswith(self.starts_with)
            and name.endswith(self.ends_with)
            and self.contains in name
            and self.pattern.matches(name)
        )

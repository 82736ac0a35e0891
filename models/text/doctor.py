"""Examines a text before training, block by block, and describes its problems.

Knows symbols, lines and wording; no file and no network.
"""

import re
import unicodedata
import zlib

import numpy as np
from numpy.typing import NDArray

# Not typing's: before Python 3.12 pydantic, which checks saved reports, takes no other.
from typing_extensions import TypedDict

from models.arrays import AnyInts
from models.text.kinds import BINARY
from models.text.vocab import Tokens, Vocabulary, name_character

RARE = 10
"""A symbol seen fewer times than this is rare: a network learns only that it is rare."""

MAX_RARE = 100

LIST_LINE = 40
"""A text is a list if 99 % of its lines have fewer characters than this."""

HELD_OUT = 1000
"""A loss on fewer held-out characters than this says little."""

FEW_CHARACTERS = 20_000
MANY_SYMBOLS = 400
"""More are not an alphabet: the text is Chinese, Japanese or Korean, or something is wrong."""

DUPLICATES = 0.5
"""Share of repeated lines from which the training part gives away the held-out part."""

MAX_INVISIBLE = 20

_UNNAMED = {
    0x00: "NULL",
    0x07: "BELL",
    0x08: "BACKSPACE",
    0x0B: "VERTICAL TAB",
    0x0C: "FORM FEED",
    0x1A: "SUBSTITUTE",
    0x1B: "ESCAPE",
    0x7F: "DELETE",
    0x85: "NEXT LINE",
}
"""Control characters have no names of their own in Unicode, only aliases."""

_CENSUS = 1 << 17
_PENDING = 1 << 18


# UTF-8 that was decoded as Latin-1 or Windows-1252 and encoded as UTF-8 again: "Ã©", "â€™".
_GARBLED = re.compile("[ÂÃ][\u0080-\u00bf]|â€[\u0080-\u00ff\u2000-\u2fff]?")


class RareSymbol(TypedDict):
    """A symbol, as ``Vocabulary.name`` returns it, and the number of its occurrences."""

    char: str
    count: int


class InvisibleSymbol(RareSymbol):
    """A character that nobody sees; ``name`` is Unicode's, with its code point."""

    name: str


def is_list(symbols: AnyInts, newline: int) -> bool:
    """Whether a text is a list, for example of names, judging by its first 2²⁰ symbols."""
    ends = np.flatnonzero(symbols[: 1 << 20] == newline)
    if len(ends) < 10:
        return False
    lengths = np.diff(ends, prepend=-1) - 1
    return bool(np.quantile(lengths, 0.99) < LIST_LINE)


_IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
"""Letters and marks that are drawn as nothing: Unicode's Default_Ignorable_Code_Point, and the
empty Braille pattern."""


def _is_invisible(character: str) -> bool:
    if unicodedata.category(character) in ("Cc", "Cf", "Co", "Zs", "Zl", "Zp"):
        return True
    return _IGNORABLE.match(character) is not None


def _named(point: int) -> str:
    """Returns a code point with its name in Unicode, as in ``U+200B ZERO WIDTH SPACE``."""
    name = unicodedata.name(chr(point), "") or _UNNAMED.get(point, "")
    return f"U+{point:04X} {name}".rstrip()


class LineCensus:
    """Counts lines, and those that occur earlier in the text; empty ones do not count.

    Lines are distinguished by CRC-32, which can be streamed, so a line may have any length. When
    there are more than 2¹⁷ distinct ones, only those in the lower half of the range of mixed
    checksums are kept (Wegman's adaptive sampling, Flajolet 1990). So memory is bounded, and the
    share is exact for small texts and accurate to half a percent for others.
    """

    def __init__(self) -> None:
        self._keys = np.empty(0, dtype=np.uint32)
        self._counts = np.empty(0, dtype=np.int64)
        self._below = 1 << 32
        self._pending: list[NDArray[np.uint32]] = []
        self._pending_lines = 0
        # CRC-32 of the line that continues in the next block.
        self._open = 0

    def add(self, block: bytes) -> None:
        first, *others = block.split(b"\n")
        self._open = zlib.crc32(first, self._open)
        if others:
            whole = others[:-1]
            self._take(np.fromiter(map(zlib.crc32, whole), np.uint32, len(whole)))
            self._end_open_line()
            self._open = zlib.crc32(others[-1])

    def duplicate_share(self) -> float | None:
        """Ends the last line; returns a share from 0 to 1, or None without lines."""
        self._end_open_line()
        self._settle()
        lines = int(self._counts.sum())
        return 1 - len(self._keys) / lines if lines else None

    def _end_open_line(self) -> None:
        self._take(np.array([self._open], dtype=np.uint32))
        self._open = 0

    def _take(self, sums: NDArray[np.uint32]) -> None:
        # Checksums of similar lines have similar low bits; mixing them makes the sample random.
        # The checksum of an empty line is 0, and stays 0.
        mixed = sums * np.uint32(0x9E3779B1)
        kept = mixed[(mixed > 0) & (mixed < self._below)]
        self._pending.append(kept)
        self._pending_lines += len(kept)
        if self._pending_lines > _PENDING:
            self._settle()

    def _settle(self) -> None:
        if self._pending_lines:
            keys, counts = np.unique(np.concatenate(self._pending), return_counts=True)
            places = np.minimum(np.searchsorted(self._keys, keys), max(0, len(self._keys) - 1))
            known = self._keys[places] == keys if len(self._keys) else np.zeros(len(keys), bool)
            self._counts[places[known]] += counts[known]
            merged = np.concatenate([self._keys, keys[~known]])
            order = np.argsort(merged, kind="stable")
            self._keys = merged[order]
            self._counts = np.concatenate([self._counts, counts[~known]])[order]
        self._pending, self._pending_lines = [], 0
        while len(self._keys) > _CENSUS:
            self._below >>= 1
            kept = int(np.searchsorted(self._keys, self._below))
            self._keys, self._counts = self._keys[:kept], self._counts[:kept]


class Examination:
    """Collects a text's symbols and lines, block by block."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.counts = np.zeros(256 if tokens == "bytes" else 0x110000, dtype=np.int64)
        self.is_list = False
        self._census = LineCensus()
        self._garbled = 0
        self._first = True

    def read(self, symbols: AnyInts, block: str | bytes) -> None:
        """Takes a block, as code points or bytes and as text or bytes."""
        counts = np.bincount(symbols)
        self.counts[: len(counts)] += counts
        self._census.add(block.encode() if isinstance(block, str) else block)
        # Searching for the letters first is fast.
        if isinstance(block, str) and ("Ã" in block or "Â" in block or "â" in block):
            self._garbled += sum(1 for _ in _GARBLED.finditer(block))
        if self._first:
            self._first = False
            self.is_list = is_list(symbols, 0x0A)

    @property
    def present(self) -> NDArray[np.intp]:
        """The symbols that occur, in increasing order."""
        return np.flatnonzero(self.counts)

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def duplicate_line_share(self) -> float | None:
        if not self.counts[0x0A]:
            return None
        return self._census.duplicate_share()

    def rare(self, vocabulary: Vocabulary) -> list[RareSymbol]:
        """Returns up to ``MAX_RARE`` symbols seen fewer than ``RARE`` times, rarest first."""
        counts = self.counts[vocabulary.symbols]
        ids = np.flatnonzero(counts < RARE)
        ids = ids[np.argsort(counts[ids], kind="stable")][:MAX_RARE]
        return [{"char": vocabulary.name(int(i)), "count": int(counts[i])} for i in ids]

    def unprintable(self) -> list[str]:
        """Returns the names of control and private-use characters; none for bytes."""
        if self.tokens == "bytes":
            return []
        odd = (chr(p) for p in self.present.tolist())
        return [
            name_character(c)
            for c in odd
            if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Co")
        ]

    def invisible(self) -> list[InvisibleSymbol]:
        """Returns characters that nobody sees, the most frequent first; none for bytes.

        Those are control and format characters, private ones, and spaces and line ends that only
        look like the usual ones. The ideographic space is usual in its scripts.
        """
        if self.tokens == "bytes":
            return []
        odd = [
            point
            for point in self.present.tolist()
            if chr(point) not in "\n\t \u3000" and _is_invisible(chr(point))
        ]
        odd.sort(key=lambda point: -self.counts[point])
        return [
            {"char": chr(p), "name": _named(p), "count": int(self.counts[p])}
            for p in odd[:MAX_INVISIBLE]
        ]

    @property
    def is_binary(self) -> bool:
        """Whether so many characters are control characters that it is not a text."""
        if self.tokens == "bytes":
            return False
        controls = self.counts[:0x20].sum() + self.counts[0x7F:0xA0].sum()
        usual = self.counts[[ord(c) for c in "\b\t\n\v\f\r\x1b\x85"]].sum()
        return bool(controls - usual > BINARY * self.total)

    def warnings(self, duplicate_line_share: float | None) -> list[str]:
        """Returns warnings for people, the most serious first."""
        found = [*self._about_encoding(), *self._about_symbols(), *self._about_size()]
        if duplicate_line_share is not None and duplicate_line_share >= DUPLICATES:
            found.append(
                f"{duplicate_line_share:.0%} of its lines repeat earlier ones: the network will "
                "memorise them, and because they are in the held-out part too, its loss will look "
                "better than it is. Remove the duplicates unless they are intentional"
            )
        return found

    def _about_encoding(self) -> list[str]:
        found = []
        if self._garbled >= 5:
            found.append(
                f'{self._garbled:,} places look like "Ã©" or "â€™": UTF-8 that was read as Latin-1 '
                "or Windows-1252 and saved again. Save it again from its source"
            )
        if self.tokens == "characters" and (lost := int(self.counts[0xFFFD])):
            found.append(
                f"{lost:,} characters are U+FFFD, which replaces lost ones: the text was once read "
                "with the wrong encoding. Save it again from its source"
            )
        return found

    def _about_symbols(self) -> list[str]:
        found = []
        if seen := self.invisible():
            named = ", ".join(f"{one['name']} ({one['count']:,}×)" for one in seen[:10])
            more = f" and {len(seen) - 10} more" if len(seen) > 10 else ""
            found.append(
                f"it contains characters that nobody sees: {named}{more}. Remove them, or replace "
                "them by plain spaces, unless they are intentional"
            )
        if self.tokens == "bytes":
            return found
        distinct = len(self.present)
        rare = int(np.count_nonzero(self.counts[self.present] < RARE))
        if distinct > MANY_SYMBOLS:
            ideographs = int(np.count_nonzero((self.present >= 0x2E80) & (self.present < 0xFB00)))
            if ideographs * 2 > distinct:
                reason = "which is normal for Chinese, Japanese and Korean"
            else:
                reason = "more than any alphabet, often because it was read with the wrong encoding"
            found.append(
                f"it has {distinct:,} distinct characters, {reason}: each makes the network "
                f"larger and slower, and {rare:,} of them occur fewer than {RARE} times. "
                "Pass tokens=bytes to train on at most 256 symbols"
            )
        return found

    def _about_size(self) -> list[str]:
        total = self.total
        if total >= FEW_CHARACTERS:
            return []
        unit = "bytes" if self.tokens == "bytes" else "characters"
        return [
            f"{total:,} {unit} are few: a network needs about 100,000 to learn to spell. A "
            f"twentieth, {max(2, round(total / 20)):,}, is held out, and a loss on fewer than "
            f"{HELD_OUT:,} {unit} says little"
        ]

"""What a person should know of a text before training on it: counted block by block, then said.

Knows symbols, lines and words for what is wrong; no file and no network.
"""

import re
import unicodedata
import zlib
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from models.arrays import AnyInts
from models.text.vocab import Tokens, Vocabulary, name_character

RARE = 10
"""A symbol seen fewer times than this is rare: nothing can be learned of it but that it is."""

MAX_RARE = 100

LIST_LINE = 40
"""A text is a list if 99 of 100 lines have fewer characters than this."""

HELD_OUT = 1000
"""Characters below which a validation part says little."""

FEW_CHARACTERS = 20_000
MANY_SYMBOLS = 400
"""More are no alphabet: it is Chinese, Japanese or Korean, or something went wrong."""

DUPLICATES = 0.5
"""Share of repeated lines from which the held-out part is known from the training part."""

_CENSUS = 1 << 17
_PENDING = 1 << 18


# UTF-8 that was read as Latin-1 or Windows-1252 and written as UTF-8 again: "Ã©", "â€™".
_GARBLED = re.compile("[ÂÃ][\u0080-\u00bf]|â€[\u0080-\u00ff\u2000-\u2fff]?")


class RareSymbol(TypedDict):
    """A symbol as ``Vocabulary.name`` has it, and how often it occurs."""

    char: str
    count: int


def is_list(symbols: AnyInts, newline: int) -> bool:
    """Whether a text is a list, of names say: judged by its first 2²⁰ symbols."""
    ends = np.flatnonzero(symbols[: 1 << 20] == newline)
    if len(ends) < 10:
        return False
    lengths = np.diff(ends, prepend=-1) - 1
    return bool(np.quantile(lengths, 0.99) < LIST_LINE)


class LineCensus:
    """Counts lines and how many of them stand earlier in the text; empty ones do not count.

    Lines are told apart by their CRC-32, which streams, so a line may be of any length. While
    there are more than 2¹⁷ distinct ones, only those whose mixed sums are in the lower half of
    what was kept so far are kept (Wegman's adaptive sampling, Flajolet 1990): memory is bounded,
    the share is exact for small texts and good to half a percent for others.
    """

    def __init__(self) -> None:
        self._keys = np.empty(0, dtype=np.uint32)
        self._counts = np.empty(0, dtype=np.int64)
        self._below = 1 << 32
        self._pending: list[NDArray[np.uint32]] = []
        self._pending_lines = 0
        # CRC-32 of the line that goes on in the next block.
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
        """From 0 to 1; None of no lines. The last line ends here."""
        self._end_open_line()
        self._settle()
        lines = int(self._counts.sum())
        return 1 - len(self._keys) / lines if lines else None

    def _end_open_line(self) -> None:
        self._take(np.array([self._open], dtype=np.uint32))
        self._open = 0

    def _take(self, sums: NDArray[np.uint32]) -> None:
        # The low bits of sums of like lines are alike: mixed, so that which are kept is chance.
        # The sum of an empty line is 0, and stays 0.
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
    """A text's symbols and lines, as they come by."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.counts = np.zeros(256 if tokens == "bytes" else 0x110000, dtype=np.int64)
        self.is_list = False
        self._census = LineCensus()
        self._garbled = 0
        self._first = True

    def read(self, symbols: AnyInts, block: str | bytes) -> None:
        """A block, as its code points or bytes and as it is."""
        counts = np.bincount(symbols)
        self.counts[: len(counts)] += counts
        self._census.add(block.encode() if isinstance(block, str) else block)
        # The letters alone are quickly looked for.
        if isinstance(block, str) and ("Ã" in block or "Â" in block or "â" in block):
            self._garbled += sum(1 for _ in _GARBLED.finditer(block))
        if self._first:
            self._first = False
            self.is_list = is_list(symbols, 0x0A)

    @property
    def present(self) -> NDArray[np.intp]:
        """The symbols that occur, increasing."""
        return np.flatnonzero(self.counts)

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def duplicate_line_share(self) -> float | None:
        if not self.counts[0x0A]:
            return None
        return self._census.duplicate_share()

    def rare(self, vocabulary: Vocabulary) -> list[RareSymbol]:
        """The symbols seen fewer than ``RARE`` times, the rarest first, ``MAX_RARE`` at most."""
        counts = self.counts[vocabulary.symbols]
        ids = np.flatnonzero(counts < RARE)
        ids = ids[np.argsort(counts[ids], kind="stable")][:MAX_RARE]
        return [{"char": vocabulary.name(int(i)), "count": int(counts[i])} for i in ids]

    def unprintable(self) -> list[str]:
        """Control and private-use characters, named; of bytes none."""
        if self.tokens == "bytes":
            return []
        odd = (chr(p) for p in self.present.tolist())
        return [
            name_character(c)
            for c in odd
            if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Co")
        ]

    def warnings(self, duplicate_line_share: float | None) -> list[str]:
        """What a person should know, the worst first; empty for a text with nothing odd."""
        found = [*self._about_encoding(), *self._about_symbols(), *self._about_size()]
        if duplicate_line_share is not None and duplicate_line_share >= DUPLICATES:
            found.append(
                f"{duplicate_line_share:.0%} of its lines repeat earlier ones: the network will "
                "learn these by heart, and since they are in the held-out part too, its loss will "
                "look better than it is. Leave out the repeats, unless they belong to the text"
            )
        return found

    def _about_encoding(self) -> list[str]:
        found = []
        if self.counts[0] * 5 > self.total:
            found.append(
                "every other character is U+0000: this is UTF-16 or a binary file, not UTF-8. "
                "Convert it to UTF-8 first (iconv -f UTF-16LE -t UTF-8)"
            )
        if self._garbled >= 5:
            found.append(
                f'in {self._garbled:,} places it looks like "Ã©" or "â€™": UTF-8 that was read as '
                "Latin-1 or Windows-1252 and saved again. Save it anew from its source"
            )
        if self.tokens == "characters" and (lost := int(self.counts[0xFFFD])):
            found.append(
                f"{lost:,} characters are U+FFFD, which stands where something was lost: the text "
                "was once read in a wrong encoding. Save it anew from its source"
            )
        return found

    def _about_symbols(self) -> list[str]:
        found = []
        names = self.unprintable()
        if names:
            found.append("it holds control characters: " + ", ".join(names[:10]))
        if self.tokens == "bytes":
            return found
        distinct = len(self.present)
        rare = int(np.count_nonzero(self.counts[self.present] < RARE))
        if distinct > MANY_SYMBOLS:
            ideographs = int(np.count_nonzero((self.present >= 0x2E80) & (self.present < 0xFB00)))
            if ideographs * 2 > distinct:
                reason = "as Chinese, Japanese and Korean have"
            else:
                reason = "more than any alphabet has, most often since an encoding was read wrongly"
            found.append(
                f"it has {distinct:,} distinct characters, {reason}: each makes the network "
                f"larger and slower, and {rare:,} of them occur fewer than {RARE} times. "
                "tokens=bytes trains on 256 symbols at most"
            )
        elif rare:
            found.append(
                f"{rare:,} of its {distinct:,} characters occur fewer than {RARE} times: nothing "
                "can be learned of them. Look whether they belong there"
            )
        return found

    def _about_size(self) -> list[str]:
        total = self.total
        if total >= FEW_CHARACTERS:
            return []
        return [
            f"{total:,} characters are few: a network learns to spell from some 100,000. A "
            f"twentieth of them, {max(2, round(total / 20)):,}, is held out: what is measured "
            f"on fewer than {HELD_OUT:,} says little"
        ]

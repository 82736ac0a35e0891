"""Whether a text copies its corpus: which runs of one length the corpus has.

They are kept as hashes of their symbols, which models of several vocabularies share. None is ever
missed; one of 2⁶⁴ pairs of different runs has equal hashes, so a run that is not in the corpus is
about never taken for one that is.

Knows symbols; no network, no stream and no file.
"""

import numpy as np
from numpy.typing import NDArray

from models.arrays import AnyInts, Hashes
from models.text.hashing import Powers, WindowHashes, longer

LONGEST = 1000
"""Most symbols that may be copied."""

MOST_SYMBOLS = 1 << 24
"""Most symbols of a corpus. Its runs take up to 12 times as many bytes of memory."""

_BLOCK = 1 << 20

Found = NDArray[np.bool_]


class Runs:
    """The runs of ``copied + 1`` symbols in a corpus.

    Args:
        corpus: its symbols, [symbols], at most ``MOST_SYMBOLS``.
        copied: the number of symbols that may be copied, from 1 to ``LONGEST``.

    Raises:
        ValueError: one of them is out of range.
    """

    def __init__(self, corpus: AnyInts, copied: int) -> None:
        if not 1 <= copied <= LONGEST:
            raise ValueError(f"copied must be from 1 to {LONGEST}")
        if len(corpus) > MOST_SYMBOLS:
            raise ValueError(f"a corpus must have at most {MOST_SYMBOLS:,} symbols")
        self.copied = copied
        count = max(0, len(corpus) - copied)
        powers = Powers(min(_BLOCK + copied, len(corpus)))
        self._hashes = np.empty(count, np.uint64)
        for begin in range(0, count, _BLOCK):
            block = WindowHashes(np.asarray(corpus[begin : begin + _BLOCK + copied]), powers)
            self._hashes[begin : begin + _BLOCK] = block.all(copied + 1)
        self._hashes.sort()
        # Nearly all lookups fail: a small table tells that faster than a search.
        self._shift = np.uint64(64 - max(8, count.bit_length() + 1))
        self._table = np.zeros(1 << (64 - int(self._shift)), bool)
        self._table[self._hashes >> self._shift] = True
        self._powers = Powers(copied + 1)

    @property
    def bytes(self) -> int:
        return self._hashes.nbytes + self._table.nbytes

    def first(self, text: AnyInts, begin: int) -> int | None:
        """Returns where in a text the first run of the corpus ends that ends at ``begin`` or later;
        None if there is none."""
        start = max(0, begin - self.copied)
        if len(text) - start <= self.copied:
            return None
        text = text[start:]
        if len(text) > len(self._powers.powers):
            self._powers = Powers(2 * len(text))
        found = np.flatnonzero(self._have(WindowHashes(text, self._powers).all(self.copied + 1)))
        return start + int(found[0]) + self.copied if len(found) else None

    def following(self, text: AnyInts, symbols: AnyInts) -> Found:
        """Returns which symbols would complete a run of the corpus at the end of a text."""
        if len(text) < self.copied:
            return np.zeros(len(symbols), bool)
        window = WindowHashes(text[len(text) - self.copied :], self._powers).all(self.copied)[0]
        return self._have(longer(window, symbols, self._powers.powers[self.copied]))

    def _have(self, hashes: Hashes) -> Found:
        """Returns which hashes are those of runs of the corpus."""
        found: Found = self._table[hashes >> self._shift]
        maybe = np.flatnonzero(found)
        if len(maybe):
            wanted = hashes[maybe]
            places = np.minimum(np.searchsorted(self._hashes, wanted), len(self._hashes) - 1)
            found[maybe] = self._hashes[places] == wanted
        return found

"""Hashes of all windows of a text (Karp & Rabin 1987): polynomials modulo 2⁶⁴.

Knows ids, or any other symbols; no text.
"""

import numpy as np
from numpy.typing import NDArray

from models.arrays import AnyInts, Hashes

Places = NDArray[np.intp]

# The multiplier must be odd to have an inverse.
_MULTIPLIER = 0x9E3779B97F4A7C15
_INVERSE = pow(_MULTIPLIER, -1, 1 << 64)


class Powers:
    """What the hashes of texts of up to so many symbols are made with."""

    def __init__(self, count: int) -> None:
        self.powers = _powers(_MULTIPLIER, count + 1)
        self.inverses = _powers(_INVERSE, count + 1)


def _powers(base: int, count: int) -> Hashes:
    powers = np.full(count, base, dtype=np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


class WindowHashes:
    """Prefix sums of a text's hash, from which the hash of any window follows."""

    def __init__(self, ids: AnyInts, powers: Powers) -> None:
        self.ids = ids
        self._inverses = powers.inverses
        terms = ids.astype(np.uint64)
        terms += np.uint64(1)
        terms *= powers.powers[: len(ids)]
        self._sums = np.zeros(len(ids) + 1, dtype=np.uint64)
        np.cumsum(terms, out=self._sums[1:])

    def all(self, length: int) -> Hashes:
        """Returns the hashes of all windows of a length."""
        count = max(0, len(self.ids) - length + 1)
        hashes: Hashes = self._sums[length : length + count] - self._sums[:count]
        hashes *= self._inverses[:count]
        return hashes

    def at(self, starts: Places, length: int) -> Hashes:
        hashes: Hashes = self._sums[starts + length] - self._sums[starts]
        hashes *= self._inverses[starts]
        return hashes


def longer(hash_: np.uint64, symbols: AnyInts, power: np.uint64) -> Hashes:
    """Returns the hashes of a window that has each of some symbols at its end, too.

    Args:
        hash_: of the window.
        symbols: any number of them.
        power: that of the window's length.
    """
    hashes: Hashes = (symbols.astype(np.uint64) + np.uint64(1)) * power + hash_
    return hashes

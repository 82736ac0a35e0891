"""States of primes that were read: the next text with such a prime, or a longer one, begins there.

A state depends on nothing but the model, how it is read and the prime, bit for bit, so texts are
the same with and without. Knows no stream and no client.
"""

import hashlib
import threading
from collections import Counter, OrderedDict
from collections.abc import Container
from dataclasses import dataclass
from functools import partial
from heapq import nlargest
from typing import Literal

import numpy as np

from models.arrays import Ids
from models.decoding.graph import Precision
from models.decoding.priming import Priming
from models.decoding.rows import Rows
from models.styles import Mix

Known = Literal["all", "beginning", "nothing"]
"""How much of a prime was known when it was asked for."""

ENTRY_BYTES = 1_100
"""Memory of a state besides its numbers: 800 as ``tracemalloc`` counts, and what malloc adds."""

_MOST_LENGTHS = 256
"""Beginnings of a prime that are looked for, the longest ones: about a microsecond each."""


@dataclass(frozen=True, slots=True)
class ReadAs:
    """All that decides the state after a prime, besides its ids."""

    digest: str
    precision: Precision
    style: Mix = ()


@dataclass(frozen=True, slots=True)
class _Key:
    """A prime of ``length`` ids, of which it has a cryptographic hash."""

    read_as: ReadAs
    length: int
    hash: bytes


class PrimeStates:
    """States by prime, those used last within a limit. Threads may share it.

    ``bytes`` estimates its memory, ``lookups`` counts how much was known.

    Args:
        limit: most bytes; 0 remembers nothing.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self.lookups: dict[Known, int] = {"all": 0, "beginning": 0, "nothing": 0}
        self._lock = threading.Lock()
        self._rows: OrderedDict[_Key, Rows] = OrderedDict()
        self._lengths: dict[ReadAs, Counter[int]] = {}

    def priming(self, read_as: ReadAs, ids: Ids) -> Priming | None:
        """What is known of a prime, [length]; None if there is nothing to know.

        Takes up to half a millisecond.
        """
        if not len(ids) or not self.limit:
            return None
        with self._lock:
            shorter = (n for n in self._lengths.get(read_as, ()) if n < len(ids))
            lengths = [*sorted(nlargest(_MOST_LENGTHS, shorter)), len(ids)]
        keys = _keys(read_as, ids, lengths)
        remember = partial(self._remember, keys[-1])
        with self._lock:
            found = next((key for key in reversed(keys) if key in self._rows), None)
            if found is None:
                self.lookups["nothing"] += 1
                return Priming(keys[-1], remember)
            self._rows.move_to_end(found)
            self.lookups["all" if found is keys[-1] else "beginning"] += 1
            return Priming(keys[-1], remember, found.length, self._rows[found])

    def _remember(self, key: _Key, rows: Rows) -> None:
        # Else no text could begin with them.
        if not all(np.isfinite(part).all() for part in rows.state):
            return
        with self._lock:
            if key in self._rows:
                return
            self._rows[key] = rows
            self._lengths.setdefault(key.read_as, Counter())[key.length] += 1
            self.bytes += _size(rows)
            while self.bytes > self.limit:
                self._forget(next(iter(self._rows)))

    def keep(self, digests: Container[str]) -> None:
        """Forgets what belongs to other checkpoints."""
        with self._lock:
            if all(read_as.digest in digests for read_as in self._lengths):
                return
            for key in [key for key in self._rows if key.read_as.digest not in digests]:
                self._forget(key)

    def _forget(self, key: _Key) -> None:
        self.bytes -= _size(self._rows.pop(key))
        lengths = self._lengths[key.read_as]
        lengths[key.length] -= 1
        if not lengths[key.length]:
            del lengths[key.length]
        if not lengths:
            del self._lengths[key.read_as]


def _size(rows: Rows) -> int:
    return ENTRY_BYTES + sum(part.nbytes for part in rows.state)


def _keys(read_as: ReadAs, ids: Ids, lengths: list[int]) -> list[_Key]:
    """The keys of the first so many ids, for ascending lengths."""
    hash_, begin, keys = hashlib.blake2b(digest_size=20), 0, []
    for length in lengths:
        hash_.update(ids[begin:length].astype("<u4").tobytes())
        keys.append(_Key(read_as, length, hash_.digest()))
        begin = length
    return keys

"""Sorts the positions of a text by the context before each, length by length.

Knows numpy; no count and no file.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import AnyInts, Ids
from models.ngram_table import each_hash
from models.training.folds import is_new

_MIX = np.uint64(0x9E3779B97F4A7C15)
_AT_BITS, _ID_BITS = np.uint64(24), np.uint64(16)
"""Bits of a position and of an id: 24 are left for the number of a context."""

_AT = np.uint64((1 << 24) - 1)


@dataclass(frozen=True, slots=True)
class Pairs:
    """The contexts of one length that occur more than once, and the pairs with the id that follows.

    Attributes:
        at: positions of the ids, by context and then by id, [positions].
        starts: index among these of each pair's first, [pairs].
        occurrences: [pairs].
        of: index of each pair's context, [pairs].
        first: a pair of each context, [contexts].
        keys: [contexts].
    """

    at: NDArray[np.int32]
    starts: Ids
    occurrences: Ids
    of: NDArray[np.int32]
    first: Ids
    keys: Ids

    def spread(self, of_pairs: NDArray[Any]) -> NDArray[Any]:
        """Returns for each position what its pair has."""
        return np.repeat(of_pairs, self.occurrences)

    def sums(self, of_pairs: NDArray[Any]) -> NDArray[Any]:
        """Returns for each context the sum over its pairs."""
        return np.add.reduceat(of_pairs, self.first)


def sort_beside(
    executor: Executor, ids: AnyInts, vocabulary_size: int, lengths: Sequence[int]
) -> "list[Future[Pairs | None]]":
    """Sorts the contexts of some lengths, the shortest first, while the caller does other things.

    Most of the time goes into sorting, which leaves the interpreter to other threads.

    Args:
        executor: of one thread.
        ids: of the text, at most ``MAX_COUNTED``, [characters].
        vocabulary_size: number of distinct ids.
        lengths: numbers of ids, ascending.
    """
    sorting = _each_pairs(ids, vocabulary_size, lengths)
    return [executor.submit(next, sorting, None) for _ in lengths]


def _each_pairs(ids: AnyInts, vocabulary_size: int, lengths: Sequence[int]) -> Iterator[Pairs]:
    at = np.arange(1, len(ids), dtype=np.int32)
    for keys in each_hash(ids, lengths, vocabulary_size):
        pairs = _pairs(ids, keys, at)
        at = pairs.at
        if not len(at):
            return
        yield pairs


def _pairs(ids: AnyInts, keys: Ids, at: NDArray[np.int32]) -> Pairs:
    """Sorts positions by context and then by id. Contexts whose hashes share 40 bits are one.

    What is sorted has the position in its lowest bits, which takes a fifth of the time of sorting
    indices.
    """
    mixed = keys[at - 1].view(np.uint64) * _MIX
    mixed >>= _AT_BITS
    mixed <<= _AT_BITS
    mixed |= at.astype(np.uint64)
    mixed.sort()
    new = is_new(mixed >> _AT_BITS)
    # A context occurs again if the next one or the one before is the same.
    is_repeated = ~new
    is_repeated[:-1] |= ~new[1:]
    mixed, new = mixed[is_repeated], new[is_repeated]
    at = (mixed & _AT).astype(np.int32)
    mixed = np.cumsum(new, dtype=np.uint64) << _ID_BITS
    mixed |= ids[at].astype(np.uint64)
    mixed <<= _AT_BITS
    mixed |= at.astype(np.uint64)
    mixed.sort()
    at = (mixed & _AT).astype(np.int32)
    mixed >>= _AT_BITS
    starts = np.flatnonzero(is_new(mixed))
    new = is_new(mixed[starts] >> _ID_BITS)
    first = np.flatnonzero(new)
    return Pairs(
        at,
        starts,
        np.diff(np.append(starts, len(at))),
        (np.cumsum(new) - 1).astype(np.int32),
        first,
        keys[at[starts[first]] - 1],
    )

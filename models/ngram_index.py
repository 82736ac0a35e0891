"""The counts of an n-gram model of every order, held as one sorted array of characters.

The characters of the text, which is read as a ring, are sorted by the characters before them,
nearest first, ``order`` characters deep: these are the rows. Each context up to that length is then
a run of rows, the characters in the run are its followers, and the run of the context extended by a
follower is found by counting equal characters further up (the last-to-first map of Burrows &
Wheeler 1994). So one array of one byte per character contains the counts of all orders; everything
else is derived from it. Rows that the order does not tell apart are sorted by character, so the
array depends only on the counts.

Knows numpy; nothing of probabilities.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import AnyIds, AnyInts

RowIds = NDArray[np.int32]


class ContextIndex:
    """The contexts of a text and their followers.

    Args:
        rows: the sorted characters, shape [characters]; see the module's text.
        vocabulary_size: number of distinct ids.
        order: how deep the rows are sorted, the length of the longest context.
    """

    def __init__(self, rows: AnyIds, vocabulary_size: int, order: int) -> None:
        self.rows = rows
        self.vocabulary_size = vocabulary_size
        self.order = order
        counts = np.bincount(rows, minlength=vocabulary_size)
        # Rows whose context ends in id w are _starts[w] up to _starts[w + 1]; row origins[j] is
        # mapped to row j.
        self._starts = np.concatenate(([0], np.cumsum(counts)))
        self.origins: RowIds = np.argsort(rows, kind="stable").astype(np.int32)
        self._depths = _depths(rows, self.origins, self._starts, order)
        self._follower_depths = np.empty_like(self._depths)
        self._follower_depths[self.origins] = self._depths

    @classmethod
    def of(cls, ids: AnyIds, vocabulary_size: int, order: int) -> "ContextIndex":
        """Sorts a non-empty text, shape [characters]."""
        return cls(_sort_by_context(ids, vocabulary_size, order), vocabulary_size, order)

    def with_order(self, order: int) -> "ContextIndex":
        """Returns the index of a lower order, as if the text had been sorted less deep."""
        runs = np.cumsum(self._depths <= order, dtype=np.int32)
        keys = _joined(runs, self.vocabulary_size, self.rows)
        del runs
        keys.sort()
        keys %= self.vocabulary_size
        rows = keys.astype(self.rows.dtype)
        del keys
        return ContextIndex(rows, self.vocabulary_size, order)

    def pairs(self, order: int, *, raw: bool) -> tuple[RowIds, RowIds]:
        """Returns every pair of a context of one length and a follower, with its count.

        At the highest order the count is the number of occurrences of the pair; at a lower one, the
        number of distinct characters before it (Kneser & Ney).

        Returns:
            The rows to which the pairs' first rows are mapped, and the counts; [pairs] each.
        """
        places = np.flatnonzero(self._depths <= order + 1).astype(np.int32)
        if raw:
            counts = places.copy()
            end = len(self.rows)
        else:
            longer = np.cumsum(self._depths <= order + 2, dtype=np.int32)
            counts = longer[places]
            end = int(longer[-1]) + 1
        np.subtract(counts[1:], counts[:-1], out=counts[:-1])
        counts[-1] = end - counts[-1]
        return places, counts

    def followers(self, order: int, first: int, last: int, *, raw: bool) -> AnyIds:
        """Returns the followers of a context, each as often as ``pairs`` counts it."""
        ids = self.rows[first:last]
        return ids if raw else ids[self._follower_depths[first:last] <= order + 2]

    def pairs_before(self, order: int) -> RowIds:
        """Returns the number of pairs before each row, as ``pairs`` counts them at a lower order.

        Shape [characters + 1]: the count of a run is the difference at its ends.
        """
        return _counts_before(self._depths <= order + 2)

    def followers_before(self, order: int) -> RowIds:
        """Returns the number of ``followers`` before each row, in the same way."""
        return _counts_before(self._follower_depths <= order + 2)

    def runs_along(
        self, ids: AnyIds
    ) -> Iterator[tuple[NDArray[np.intp], RowIds, RowIds, RowIds, RowIds]]:
        """Yields, for each order, where in a text the context of that length was seen.

        Yields:
            Positions, the ends of their contexts' runs, and the ends of the runs of the contexts
            extended by the character at the position.
        """
        at = np.arange(len(ids))
        first = np.zeros(len(ids), dtype=np.int32)
        last = np.full(len(ids), len(self.rows), dtype=np.int32)
        for _ in range(self.order + 1):
            next_first, next_last = self._follow(ids[at], first, last)
            yield at, first, last, next_first, next_last
            seen = (next_first < next_last) & (at + 1 < len(ids))
            at, first, last = at[seen] + 1, next_first[seen], next_last[seen]

    def _follow(self, ids: AnyIds, first: RowIds, last: RowIds) -> tuple[RowIds, RowIds]:
        """Returns the runs of many contexts, each extended by the id at its position."""
        next_first, next_last = np.empty_like(first), np.empty_like(last)
        by_id = np.argsort(ids, kind="stable")
        end = 0
        for id_, count in enumerate(np.bincount(ids).tolist()):
            if count:
                group = by_id[end : end + count]
                end += count
                low = int(self._starts[id_])
                origins = self.origins[low : int(self._starts[id_ + 1])]
                next_first[group] = np.searchsorted(origins, first[group]) + low
                next_last[group] = np.searchsorted(origins, last[group]) + low
        return next_first, next_last

    def read(self, context: Sequence[int] | AnyInts) -> RowIds:
        """Returns the ends of the runs of a context's last 0, 1, … order characters.

        Shape [2, order + 1]. A context that was never seen has an empty run.
        """
        runs = np.zeros((2, self.order + 1), dtype=np.int32)
        runs[1, 0] = len(self.rows)
        for id_ in context[max(0, len(context) - self.order) :]:
            runs = self.extend(runs, int(id_))
        return runs

    def extend(self, runs: RowIds, id_: int) -> RowIds:
        """Returns the ends of the runs, as ``read`` does, after one more id."""
        low = int(self._starts[id_])
        origins = self.origins[low : int(self._starts[id_ + 1])]
        extended = np.empty_like(runs)
        extended[:, 0] = 0, len(self.rows)
        extended[:, 1:] = np.searchsorted(origins, runs[:, :-1]) + low
        return extended


def _sort_by_context(ids: AnyIds, vocabulary_size: int, order: int) -> AnyIds:
    """Sorts the characters of a ring by those before them, ``order`` deep, then by id.

    Each round doubles the depth of the contexts' ranks (Manber & Myers 1990), starting from as many
    characters as fit into 63 bits.
    """
    depth = min(order, int(63 / math.log2(max(2, vocabulary_size)) - 1e-9))
    ranks = _ranks(_recent(ids, vocabulary_size, depth))
    while depth < order:
        further = min(depth, order - depth)
        ranks = _ranks(_joined(ranks, len(ids), np.roll(ranks, further)))
        depth += further
    keys = _joined(ranks, vocabulary_size, ids)
    keys.sort()
    keys %= vocabulary_size
    return keys.astype(ids.dtype)


def _recent(ids: AnyIds, vocabulary_size: int, depth: int) -> NDArray[np.int64]:
    """Returns the ids before each position as one number whose first digit is the nearest id."""
    keys = np.zeros(len(ids), dtype=np.int64)
    for distance in range(1, depth + 1):
        keys *= vocabulary_size
        keys += np.roll(ids, distance)
    return keys


def _joined(high: NDArray[np.signedinteger[Any]], base: int, low: AnyInts) -> NDArray[np.int64]:
    keys = high.astype(np.int64)
    keys *= base
    keys += low
    return keys


def _ranks(keys: NDArray[np.int64]) -> RowIds:
    """Returns the rank of each key among the distinct keys, from 0."""
    by_key = np.argsort(keys)
    keys = keys[by_key]
    changes = np.zeros(len(keys), dtype=bool)
    np.not_equal(keys[1:], keys[:-1], out=changes[1:])
    ranks = np.empty(len(keys), dtype=np.int32)
    ranks[by_key] = np.cumsum(changes, dtype=np.int32)
    return ranks


def _depths(
    rows: AnyIds, origins: RowIds, starts: NDArray[np.int64], order: int
) -> NDArray[np.uint8]:
    """Returns, for each row, the least length at which its context differs from the row before's.

    The rows tell lengths up to ``order + 1``; longer ones are given as ``order + 2``. A row's
    context of one more character starts a new run if and only if the row that maps to it is the
    first with its character in the run of its own context (Beller et al. 2013).
    """
    total = len(rows)
    depths = np.full(total, order + 2, dtype=np.uint8)
    # The row above with the same character; −1 where there is none.
    above = np.empty(total, dtype=np.int32)
    above[1:] = origins[:-1]
    begins = starts[:-1][np.diff(starts) > 0]
    above[begins] = -1
    depths[begins] = 1
    depths[0] = 0
    numbers = np.arange(total, dtype=np.int32)
    for depth in range(1, order + 1):
        run_starts = np.where(depths <= depth, numbers, 0)
        np.maximum.accumulate(run_starts, out=run_starts)
        new = run_starts[origins] > above
        new &= depths > depth + 1
        depths[new] = depth + 1
    return depths


def _counts_before(flags: NDArray[np.bool_]) -> RowIds:
    """Returns the number of flags set before each position, shape [positions + 1]."""
    counts = np.zeros(len(flags) + 1, dtype=np.int32)
    np.cumsum(flags, out=counts[1:])
    return counts

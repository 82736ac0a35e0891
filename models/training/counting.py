"""Counts a text for the n-gram features of a network.

The model is interpolated modified Kneser-Ney, as in ``models.ngram`` (Chen & Goodman 1998). Of all
contexts only those are kept that improve most on the next shorter one that is (Stolcke 1998): each
costs a row of the table. Longer contexts cost less and are counted after these
(``models.training.long_contexts``).

A network must not be trained beside counts that have seen the answer: it would trust them too much.
So the text is cut into folds, and each position has, beside the row of its context, the probability
that the other folds alone give to the id that follows.

Knows numpy; no network and no file.
"""

import itertools
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import AnyInts, Doubles, Floats, Ids
from models.ngram import estimated_discounts
from models.ngram_table import (
    LISTS_FROM,
    LOAD,
    STEP,
    NGramTable,
    Rows,
    hash_constants,
    lists_per_row,
    split_lengths,
)
from models.options import MAX_BUCKETS, MAX_COUNTED
from models.training.folds import FOLDS, folds_of, is_new
from models.training.long_contexts import (
    Counted,
    count_lengths,
    count_long,
)
from models.training.ngram_features import NGramFeatures, features_of
from models.training.sorted_contexts import Pairs, sort_beside

LEAST_GAIN = 1.0
"""Nats that a context must save over the text to be kept."""

_PASSES = 8
"""After so many, contexts are dropped faster than is needed."""

_BLOCK = 1 << 20
"""Numbers that are computed with at a time where not all need be."""


def count(
    ids: AnyInts,
    vocabulary_size: int,
    orders: int,
    most_buckets: int,
    newline: int | None = None,
    characters: int | None = None,
    lists_from: int = LISTS_FROM,
) -> NGramFeatures:
    """Counts a text.

    Args:
        ids: the training part, [characters].
        vocabulary_size: number of distinct ids.
        orders: the most ids in a context; fewer if none of so many is worth its place.
        most_buckets: maximum number of rows, at least 1; of lists there are up to
            ``lists_per_row`` times as many.
        newline: the line end of a list, whose lines have nothing to do with each other: no context
            reaches beyond the end of the line before, and all have rows.
        characters: of the text, its first, to count, at most ``MAX_COUNTED``; that if not given.
        lists_from: characters of a text whose long contexts have lists.
    """
    counted = np.asarray(ids[: min(characters or MAX_COUNTED, MAX_COUNTED)])
    # Each length takes a bucket at least.
    orders = min(orders, most_buckets)
    connected = len(counted) if newline is None else 0
    with_row, lengths = split_lengths(orders, vocabulary_size, connected, lists_from)
    folds = folds_of(len(counted))
    beside = ThreadPoolExecutor(1)
    try:
        pairs = sort_beside(beside, counted, vocabulary_size, lengths)
        levels = _Levels(counted, vocabulary_size, with_row, newline, folds)
        return _fitting(ids, levels, pairs, most_buckets)
    finally:
        # After an error nobody wants the rest.
        beside.shutdown(cancel_futures=True)


def _fitting(
    ids: AnyInts,
    levels: "_Levels",
    pairs: Sequence[Future[Pairs | None]],
    most_buckets: int,
) -> NGramFeatures:
    """Returns the features with as large a table as there may be."""
    # Each length has up to two buckets more than its share of the load asks for.
    most_rows = max(0, int((most_buckets - 2 * levels.orders) * LOAD))
    most_long = min(MAX_BUCKETS, lists_per_row(levels.characters) * most_buckets)
    most_lists = max(0, int((most_long - 2 * len(pairs)) * LOAD))
    while True:
        smoothed = levels.worth(most_rows)
        keys, rows = levels.rows(smoothed)
        known = levels.known(smoothed, rows)
        long = count_long(known, count_lengths(pairs, known.folds), most_lists)
        while len(keys) > 1 and not len(keys[-1]) and not long.keys:
            keys.pop()
        table = NGramTable.of(keys, rows, long.keys, long.lists)
        excess = sum(table.sizes) - most_buckets
        long_excess = sum(table.long_sizes) - most_long
        if max(excess, long_excess) <= 0:
            return features_of(ids, known, long, table, keys)
        # A few keys may need more room than many: the hashes decide.
        most_rows = max(0, most_rows - max(0, excess))
        most_lists = max(0, most_lists - max(0, long_excess))


@dataclass(frozen=True, slots=True)
class _Level:
    """The pairs of a context of one length and the id after it, and the contexts.

    Pairs are sorted by a key that has the id after the context as its first digit, then the
    context, the nearest id first. So pairs of one length that begin alike are one pair of the next
    shorter.

    Attributes:
        starts: index of each pair's first among the pairs of the longest contexts, [pairs].
        occurrences: [pairs].
        folds: in which a pair occurs, ``FOLDS`` if in more than one, [pairs].
        counts: of Kneser & Ney: occurrences for the longest contexts, else distinct ids before.
        parents: index of the pair of the next shorter context, [pairs].
        discounts: of counts 0, 1, 2 and more, [4].
        of: index of each pair's context, [pairs].
        first: a pair of each context, [contexts].
        totals: of the counts after each context, [contexts].
        left: the share that discounts leave to shorter contexts, [contexts].
        is_repeated: whether a context occurs twice and has all its ids, [contexts].
    """

    starts: NDArray[np.int32]
    occurrences: NDArray[np.int32]
    folds: NDArray[np.uint8]
    counts: NDArray[np.int32]
    parents: NDArray[np.int32]
    discounts: Doubles
    of: NDArray[np.int32]
    first: NDArray[np.int32]
    totals: NDArray[np.int32]
    left: Doubles
    is_repeated: NDArray[np.bool_]

    def seen(self, pairs: Any = slice(None)) -> Doubles:
        """Returns each pair's own share of its context."""
        counts = self.counts[pairs]
        own: Doubles = counts - self.discounts[np.minimum(counts, 3)]
        own /= self.totals[self.of[pairs]]
        return own


@dataclass(frozen=True, slots=True)
class _Smoothed:
    """What a text's contexts are worth, and which of them have a row.

    Attributes:
        rows: number of the row of each pair of the longest contexts, [pairs].
        kept: which contexts of each length have a row, [contexts].
        gains: of these, in nats, [kept].
        parents: for these, the row of the longest shorter context that has one, [kept].
    """

    rows: NDArray[np.int32]
    kept: list[NDArray[np.bool_]]
    gains: list[Doubles]
    parents: list[NDArray[np.int32]]


class _Levels:
    """The pairs of all lengths in one text.

    All is in the order of the sorted positions: of their pairs' keys.

    Args:
        ids: [characters].
        vocabulary_size: number of distinct ids.
        orders: the most ids in a context.
        newline: as for ``count``.
        folds: part of the text in which each position is, [characters].
    """

    def __init__(
        self,
        ids: AnyInts,
        vocabulary_size: int,
        orders: int,
        newline: int | None,
        folds: NDArray[np.uint8],
    ) -> None:
        self._ids = ids
        self._size = vocabulary_size
        self._base = vocabulary_size + 1
        keys = _pair_keys(ids, self._base, orders, newline)
        self._positions = np.argsort(keys).astype(np.int32)
        keys = keys[self._positions]
        self._every_fold = folds
        self._folds = folds[self._positions]
        begins = np.flatnonzero(is_new(keys))
        self._keys = keys[begins]
        del keys
        self._levels = self._counted(begins, orders)

    def _counted(self, begins: Ids, orders: int) -> list[_Level]:
        """Returns the levels from the shortest contexts, given where the longest ones' pairs begin.

        ``begins`` are indices of sorted positions.
        """
        levels: list[_Level] = []
        occurrences = np.diff(np.append(begins, len(self._ids))).astype(np.int32)
        counts = occurrences
        starts = np.arange(len(begins), dtype=np.int32)
        keys = self._keys
        least = np.minimum.reduceat(self._folds, begins)
        most = np.maximum.reduceat(self._folds, begins)
        for order in range(orders, -1, -1):
            below = keys // self._base
            children = np.flatnonzero(is_new(below)) if order else np.zeros(1, np.int64)
            sizes = np.diff(np.append(children, len(keys)))
            parents = np.repeat(np.arange(len(children), dtype=np.int32), sizes)
            folds = np.where(least == most, least, np.uint8(FOLDS))
            contexts = _contexts(keys, occurrences, counts, self._base, order)
            levels.append(_Level(starts, occurrences, folds, counts, parents, *contexts))
            # Each pair of the next longer contexts adds an id before it; each occurrence counts
            # where there is nothing before.
            adds = np.where(keys % self._base == 0, occurrences, np.int32(1))
            counts = np.add.reduceat(adds, children)
            occurrences = np.add.reduceat(occurrences, children)
            least = np.minimum.reduceat(least, children)
            most = np.maximum.reduceat(most, children)
            starts, keys = starts[children], below[children]
        return levels[::-1]

    def worth(self, most_rows: int) -> _Smoothed:
        """Smooths with the contexts that gain most, at most so many."""
        least = LEAST_GAIN
        for number in itertools.count():
            smoothed = self._smooth(least)
            gains = np.concatenate([[least], *smoothed.gains])
            if len(gains) - 1 <= most_rows:
                return smoothed
            del smoothed
            # What a context gains depends on which shorter ones are kept, so this takes some
            # passes, and might take many to be exact.
            highest = len(gains) - 1 - most_rows
            gains.partition(highest)
            least = float(gains[highest]) * (1.0 if number < _PASSES else 1.1)
        raise AssertionError

    def _smooth(self, least: float) -> _Smoothed:
        """Computes the probabilities of all pairs if contexts that gain more have a row."""
        first = self._levels[0]
        whole = first.seen() + first.left[0] / self._size
        rows = np.zeros(len(whole), np.int32)
        gains: list[Doubles] = []
        every_kept, below = [], []
        count = 1
        for level in self._levels[1:]:
            shorter = whole[level.parents]
            longer = level.left[level.of]
            longer *= shorter
            longer += level.seen()
            saved = longer / shorter
            np.log(saved, out=saved)
            saved *= level.occurrences
            gain: Doubles = np.bincount(level.of, saved).astype(np.float64, copy=False)
            del saved
            kept = (gain > least) & level.is_repeated
            gains.append(gain[kept])
            del gain
            every_kept.append(kept)
            rows = rows[level.parents]
            below.append(rows[level.first[kept]])
            numbers = (count + np.cumsum(kept) - 1).astype(np.int32)
            count += int(np.count_nonzero(kept))
            is_kept = kept[level.of]
            rows = np.where(is_kept, numbers[level.of], rows)
            whole = np.where(is_kept, longer, shorter)
        return _Smoothed(rows, every_kept, gains, below)

    def rows(self, smoothed: _Smoothed) -> tuple[list[Ids], Rows]:
        """Returns the keys of the contexts of each length, and all rows, that of no context first.

        A longer context's row is made of the row below it, in fp32, before either is rounded.
        """
        first = self._levels[0]
        counts = [1, *(int(np.count_nonzero(kept)) for kept in smoothed.kept)]
        rows = np.empty((sum(counts), self._size), np.float32)
        rows[0] = first.left[0] / self._size
        rows[0, self._keys_of(0)] += first.seen().astype(np.float32)
        keys: list[Ids] = []
        begin = 1
        for order, (kept, parents) in enumerate(
            zip(smoothed.kept, smoothed.parents, strict=True), 1
        ):
            level = self._levels[order]
            own = rows[begin : begin + len(parents)]
            np.multiply(rows[parents], level.left[kept, None].astype(np.float32), out=own)
            pairs = np.flatnonzero(kept[level.of])
            numbers = np.cumsum(kept) - 1
            symbols = self._keys_of(order, pairs) // self._base**order
            own[numbers[level.of[pairs]], symbols] += level.seen(pairs).astype(np.float32)
            keys.append(_hashed(self._keys_of(order, level.first[kept]), self._base, order))
            begin += len(parents)
        return keys, _rounded(rows)

    def _keys_of(self, order: int, pairs: Any = slice(None)) -> Ids:
        level = self._levels[order]
        keys: Ids = self._keys[level.starts[pairs]]
        keys //= self._base ** (len(self._levels) - 1 - order)
        return keys

    @property
    def characters(self) -> int:
        """The number of characters counted."""
        return len(self._ids)

    @property
    def orders(self) -> int:
        """The most ids in a context."""
        return len(self._levels) - 1

    def known(self, smoothed: _Smoothed, rows: Rows) -> Counted:
        """Returns what the contexts with the rows say of each position."""
        numbers = np.empty(len(self._ids), np.int32)
        numbers[self._positions] = np.repeat(smoothed.rows, self._levels[-1].occurrences)
        expected = np.empty(len(self._ids), np.float32)
        expected[self._positions] = self._outside(smoothed)
        return Counted(self._ids, self._every_fold, expected, rows, numbers)

    def _outside(self, smoothed: _Smoothed) -> Floats:
        """Returns the probability at each sorted position by the other folds, [characters].

        Only of the contexts that have a row it is counted what is outside each fold: the others
        take no part.
        """
        expected = np.full(len(self._ids), 1 / self._size, np.float32)
        for order, kept in enumerate([np.ones(1, bool), *smoothed.kept]):
            level = self._levels[order]
            pairs = np.flatnonzero(kept[level.of])
            if not len(pairs):
                continue
            slots = np.full(len(level.of), -1, np.int32)
            slots[pairs] = np.arange(len(pairs))
            numbers = np.cumsum(kept) - 1
            contexts = numbers[level.of[pairs]]
            seen, left = _outside_shares(
                level.counts[pairs, None] - self._inside(order, slots, len(pairs)),
                contexts,
                level.discounts,
            )
            at, slot, fold = self._below(slots, level.occurrences)
            expected[at] = expected[at] * left[contexts[slot], fold] + seen[slot, fold]
        return expected

    def _inside(self, order: int, slots: NDArray[np.int32], count: int) -> Ids:
        """Returns how much less some pairs count without each fold, [count, folds].

        Args:
            order: of the contexts.
            slots: which pairs, and where; −1 for others, [pairs].
            count: number of slots.
        """
        if order == len(self._levels) - 1:
            _, slot, fold = self._below(slots, self._levels[order].occurrences)
        else:
            # A distinct id before is missing if it is in one fold only.
            longer = self._levels[order + 1]
            slots = slots[longer.parents]
            is_first = self._keys_of(order + 1) % self._base == 0
            once = np.flatnonzero(~is_first & (slots >= 0) & (longer.folds < FOLDS))
            _, slot, fold = self._below(np.where(is_first, slots, -1), longer.occurrences)
            slot = np.concatenate([slot, slots[once]])
            fold = np.concatenate([fold, longer.folds[once]])
        missing = np.bincount(slot.astype(np.int64) * FOLDS + fold, minlength=count * FOLDS)
        return missing.reshape(count, FOLDS)

    def _below(
        self, slots: NDArray[np.int32], occurrences: NDArray[np.int32]
    ) -> tuple[Ids, NDArray[np.int32], NDArray[np.uint8]]:
        """Returns the sorted positions of the pairs with a slot, these slots, and the folds."""
        every = np.repeat(slots, occurrences)
        at = np.flatnonzero(every >= 0)
        return at, every[at], self._folds[at]


def _pair_keys(ids: AnyInts, base: int, orders: int, newline: int | None) -> Ids:
    """Returns the key of each position's pair, with a context of ``orders`` ids, [characters].

    A digit is an id plus 1; 0 is nothing, before the text or before the line of a list.
    """
    keys = ids.astype(np.int64)
    open_ = np.ones(len(ids), bool)
    for distance in range(1, orders + 1):
        digits = np.zeros(len(ids), np.int64)
        digits[distance:] = ids[:-distance]
        digits[distance:] += 1
        if newline is not None:
            digits *= open_
            open_ &= digits != newline + 1
        keys *= base
        keys += digits
    return keys


def _hashed(keys: Ids, base: int, order: int) -> Ids:
    """Returns contexts, given in pairs' keys, as a table's keys."""
    numbers, factors = hash_constants(base - 1, order)
    contexts = keys % base**order
    hashed: Ids = np.zeros_like(contexts)
    for age in reversed(range(order)):
        hashed += numbers[contexts % base - 1] * factors[age]
        contexts //= base
    return hashed


def _contexts(
    keys: Ids, occurrences: NDArray[np.int32], counts: NDArray[np.int32], base: int, order: int
) -> tuple[
    Doubles,
    NDArray[np.int32],
    NDArray[np.int32],
    NDArray[np.int32],
    Doubles,
    NDArray[np.bool_],
]:
    """Returns the discounts, and the contexts of pairs: from ``of`` on what a level has."""
    contexts = keys % base**order
    by_context = np.argsort(contexts, kind="stable")
    contexts = contexts[by_context]
    new = is_new(contexts)
    starts = np.flatnonzero(new)
    of = np.empty(len(contexts), np.int32)
    of[by_context] = np.cumsum(new) - 1
    discounts = estimated_discounts(counts)
    taken = discounts[np.minimum(counts, 3)]
    totals = np.add.reduceat(counts[by_context], starts)
    return (
        discounts,
        of,
        by_context[starts].astype(np.int32),
        totals,
        np.add.reduceat(taken[by_context], starts) / totals,
        (np.add.reduceat(occurrences[by_context], starts) > 1) & (contexts[starts] % base > 0),
    )


def _outside_shares(outside: Ids, contexts: Ids, discounts: Doubles) -> tuple[Floats, Floats]:
    """Returns what is seen of pairs without each fold, and what their contexts leave.

    Args:
        outside: counts, [pairs, folds].
        contexts: of the pairs, from 0 without gaps, [pairs].
        discounts: [4].

    Returns:
        Shares, [pairs, folds] and [contexts, folds].
    """
    by_context = np.argsort(contexts, kind="stable")
    starts = np.flatnonzero(is_new(contexts[by_context]))
    taken = discounts.astype(np.float32)[np.minimum(outside, 3)]
    totals = np.add.reduceat(outside[by_context], starts, axis=0)
    # Outside a fold a context may not occur at all: then all is left to shorter ones.
    left = np.where(totals, np.add.reduceat(taken[by_context], starts, axis=0), 1)
    totals = np.maximum(totals, 1).astype(np.float32)
    seen = (outside - taken) / totals[contexts]
    return seen.astype(np.float32), (left / totals).astype(np.float32)


def _rounded(rows: Floats) -> Rows:
    """Returns probabilities as a table has them, [contexts, vocabulary]."""
    rounded = np.empty(rows.shape, np.uint8)
    block = max(1, _BLOCK // rows.shape[1])
    for begin in range(0, len(rows), block):
        steps = np.rint(-np.log(rows[begin : begin + block]) / STEP)
        rounded[begin : begin + block] = np.clip(steps, 0, 255)
    return rounded

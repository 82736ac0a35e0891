"""Counts a text for the n-gram features of a network.

The model is interpolated modified Kneser-Ney, as in ``models.ngram`` (Chen & Goodman 1998). Of all
contexts only those are kept that improve most on the next shorter one that is (Stolcke 1998): each
costs a row of the table.

A network must not be trained beside counts that have seen the answer: it would trust them too much.
So the text is cut into folds, and each position has, beside the row of its context, the probability
that the other folds alone give to the id that follows.

Knows numpy; no network and no file.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import AnyInts, Doubles, Floats, Ids
from models.ngram_table import LOAD, STEP, NGramTable, Rows, highest_order

FOLDS = 8

MAX_COUNTED = 1 << 24
"""Characters of a text, its first, that are counted."""

LEAST_GAIN = 1.0
"""Nats that a context must save over the text to be kept."""

_FALLBACK_DISCOUNTS = (0.0, 0.5, 1.0, 1.5)

_SUREST = 1e-4
"""Least probability that all other ids have together."""

_PASSES = 8

Counts = NDArray[np.signedinteger[Any]]


@dataclass(frozen=True, slots=True)
class NGramFeatures:
    """A table, and what each position of the text it was counted from may know of it.

    Attributes:
        table: of the whole text.
        ids: of the text, [characters].
        buckets: of the context before each position that was counted, [counted].
        answers: log-probability of the id at each of these by the other folds, to stand in its row
            in place of the one there, [counted].
    """

    table: NGramTable
    ids: AnyInts
    buckets: Counts
    answers: NDArray[np.float16]

    def log_probabilities(self, positions: Ids) -> Floats:
        """Returns what counting expects at some positions, without having seen their folds.

        Args:
            positions: of any shape.

        Returns:
            Log-probabilities, not normalised, with one more axis, [vocabulary].
        """
        counted = positions < len(self.buckets)
        if counted.all():
            rows = self.table.log_probabilities(self.buckets[positions])
        else:
            rows = self.table.log_probabilities(self._find(positions))
        at = positions[counted]
        rows[counted, self.ids[at]] = self.answers[at]
        return rows

    def _find(self, positions: Ids) -> Ids:
        code = np.zeros(positions.shape, np.int64)
        power = 1
        for distance in range(1, self.table.orders + 1):
            before = positions - distance
            digits = np.where(before >= 0, self.ids[before].astype(np.int64) + 1, 0)
            code += digits * power
            power *= self.table.vocabulary_size + 1
        return self.table.find(code)


def count(
    ids: AnyInts,
    vocabulary_size: int,
    orders: int,
    most_buckets: int,
    newline: int | None = None,
) -> NGramFeatures:
    """Counts a text.

    Args:
        ids: the training part, [characters].
        vocabulary_size: number of distinct ids.
        orders: the most ids in a context; fewer if so many do not fit into a key.
        most_buckets: maximum size of the table.
        newline: the line end of a list, whose lines have nothing to do with each other: no context
            reaches beyond the end of the line before.
    """
    counted = np.asarray(ids[:MAX_COUNTED]).astype(np.int64)
    orders = min(orders, highest_order(vocabulary_size))
    levels = _Levels(counted, vocabulary_size, orders, newline)
    most_rows = max(1, int(most_buckets * LOAD))
    return levels.features(ids, _least_gain(levels, most_rows))


def _least_gain(levels: "_Levels", most_rows: int) -> float:
    """Returns what a context must gain so that no more rows than these are kept."""
    least = LEAST_GAIN
    for _ in range(_PASSES):
        # What a context gains depends on which shorter ones are kept, so this takes some passes.
        gains = np.concatenate([[0.0], *levels.smooth(least).gains])
        if np.count_nonzero(gains > least) < most_rows:
            break
        least = float(np.partition(gains, len(gains) - most_rows)[len(gains) - most_rows])
    return least


@dataclass(frozen=True, slots=True)
class _Level:
    """The pairs of a context of one length and the id after it, sorted, and sums over contexts.

    The key of a pair has the id after the context as its first digit, then the context, the nearest
    id first. What is ``outside`` is counted without each fold, [.., folds].

    Attributes:
        keys: of the pairs, [pairs].
        starts: of the pairs among the sorted positions, [pairs].
        occurrences: [pairs].
        in_folds: occurrences in each fold, [pairs, folds].
        counts: of Kneser & Ney: occurrences for the longest contexts, else distinct ids before.
        outside: the same, [pairs, folds].
    """

    keys: Ids
    starts: Ids
    occurrences: Counts
    in_folds: Counts
    counts: Counts
    outside: Counts


@dataclass(frozen=True, slots=True)
class _Contexts:
    """The contexts of a level of pairs.

    Attributes:
        of: index of each pair's context, [pairs].
        first: a pair of each context, [contexts].
        left: the share that discounts leave to shorter contexts, [contexts].
        left_outside: the same, [contexts, folds].
        seen: each pair's own share, [pairs].
        seen_outside: the same, [pairs, folds].
        is_repeated: whether a context occurs twice and has all its ids, [contexts].
    """

    of: Ids
    first: Ids
    left: Doubles
    left_outside: Floats
    seen: Doubles
    seen_outside: Floats
    is_repeated: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Smoothed:
    """What a text's contexts are worth, and which of them have a row.

    Attributes:
        rows: number of the row of each pair of the longest contexts, [pairs].
        gains: of the contexts of each length, in nats, [contexts].
        kept: which of them have a row, [contexts].
        parents: for these, the row of the longest shorter context that has one, [kept].
    """

    rows: Counts
    gains: list[Doubles]
    kept: list[NDArray[np.bool_]]
    parents: list[Counts]


class _Levels:
    """The pairs of all lengths in one text."""

    def __init__(self, ids: Ids, vocabulary_size: int, orders: int, newline: int | None) -> None:
        self._ids = ids
        self._size = vocabulary_size
        self._base = vocabulary_size + 1
        keys = _pair_keys(ids, self._base, orders, newline)
        self._sorted = np.argsort(keys)
        self._folds = self._sorted * FOLDS // len(ids)
        self._pairs = self._counted(keys[self._sorted], orders)
        self._contexts = [
            _contexts(level, order, self._base) for order, level in enumerate(self._pairs)
        ]
        self._parents = [
            np.searchsorted(shorter.starts, level.starts, side="right") - 1
            for shorter, level in zip(self._pairs, self._pairs[1:], strict=False)
        ]

    def _counted(self, keys: Ids, orders: int) -> list[_Level]:
        """Returns the levels from the shortest contexts, given every position's key, sorted."""
        levels: list[_Level] = []
        for order in range(orders, -1, -1):
            own = keys // self._base ** (orders - order)
            new = np.append(True, own[1:] != own[:-1])
            starts = np.flatnonzero(new)
            pairs = np.cumsum(new) - 1
            in_folds = np.bincount(pairs * FOLDS + self._folds, minlength=len(starts) * FOLDS)
            in_folds = in_folds.reshape(-1, FOLDS).astype(np.int32)
            occurrences = np.diff(np.append(starts, len(keys))).astype(np.int32)
            counts, outside = occurrences, occurrences[:, None] - in_folds
            if levels:
                # Each pair of the next longer contexts adds an id before it; each occurrence counts
                # where there is nothing before.
                longer = levels[-1]
                children = np.searchsorted(longer.starts, starts)
                is_first = longer.keys % self._base == 0
                adds = np.where(is_first, longer.occurrences, np.int32(1))
                counts = np.add.reduceat(adds, children)
                remains = longer.occurrences[:, None] - longer.in_folds
                np.minimum(remains, adds[:, None], out=remains)
                outside = np.add.reduceat(remains, children, axis=0)
            levels.append(_Level(own[starts], starts, occurrences, in_folds, counts, outside))
        return levels[::-1]

    def smooth(self, least: float) -> _Smoothed:
        """Returns the probabilities of all pairs if contexts that gain more have a row."""
        first = self._contexts[0]
        whole = first.seen + first.left[first.of] / self._size
        rows = np.zeros(len(whole), np.int32)
        gains: list[Doubles] = []
        every_kept, below = [], []
        count = 1
        for level, contexts, parents in zip(
            self._pairs[1:], self._contexts[1:], self._parents, strict=True
        ):
            shorter = whole[parents]
            longer = contexts.seen + contexts.left[contexts.of] * shorter
            saved = level.occurrences * np.log(longer / shorter)
            gain = np.bincount(contexts.of, saved) * contexts.is_repeated
            gains.append(gain.astype(np.float64))
            kept = gains[-1] > least
            every_kept.append(kept)
            rows = rows[parents]
            below.append(rows[contexts.first[kept]])
            is_kept = kept[contexts.of]
            numbers = count + np.cumsum(kept) - 1
            count += int(np.count_nonzero(kept))
            rows = np.where(is_kept, numbers[contexts.of], rows).astype(np.int32)
            whole = np.where(is_kept, longer, shorter)
        return _Smoothed(rows, gains, every_kept, below)

    def _outside(self, smoothed: _Smoothed) -> Floats:
        """Returns the probabilities of the pairs of the longest contexts without each fold.

        Shape [pairs, folds].
        """
        first = self._contexts[0]
        outside = first.seen_outside + first.left_outside[first.of] / np.float32(self._size)
        for contexts, parents, kept in zip(
            self._contexts[1:], self._parents, smoothed.kept, strict=True
        ):
            outside = outside[parents]
            at = np.flatnonzero(kept[contexts.of])
            outside[at] *= contexts.left_outside[contexts.of[at]]
            outside[at] += contexts.seen_outside[at]
        return outside

    def features(self, ids: AnyInts, least: float) -> NGramFeatures:
        """Returns the features with the contexts that gain more than ``least``."""
        smoothed = self.smooth(least)
        keys, rows = self._table(smoothed)
        table = NGramTable.of(self._size, keys, rows[1:], rows[0])
        top = self._pairs[-1]
        pairs = np.repeat(np.arange(len(top.keys)), top.occurrences)
        numbers = np.empty(len(self._ids), np.int32)
        numbers[self._sorted] = smoothed.rows[pairs]
        expected = np.empty(len(self._ids), np.float32)
        expected[self._sorted] = self._outside(smoothed)[pairs, self._folds]
        found = np.concatenate([[0], *(table.find(own) for own in keys)]).astype(np.int32)
        answers = _answers(rows, numbers, self._ids, expected)
        return NGramFeatures(table, ids, found[numbers], answers)

    def _table(self, smoothed: _Smoothed) -> tuple[list[Ids], Rows]:
        """Returns the keys of the contexts of each length, and all rows, that of no context first.

        A longer context's row is made of the row below it, in fp32, before either is rounded.
        """
        first = self._contexts[0]
        root = np.full(self._size, first.left[0] / self._size, np.float32)
        root[self._pairs[0].keys] += first.seen.astype(np.float32)
        rows, keys = root[None], []
        for order, kept in enumerate(smoothed.kept, 1):
            level, contexts = self._pairs[order], self._contexts[order]
            own = rows[smoothed.parents[order - 1]] * contexts.left[kept][:, None].astype(
                np.float32
            )
            is_kept = kept[contexts.of]
            numbers = np.cumsum(kept) - 1
            symbols = level.keys[is_kept] // self._base**order
            own[numbers[contexts.of[is_kept]], symbols] += contexts.seen[is_kept].astype(np.float32)
            rows = np.concatenate([rows, own])
            keys.append(_by_recency(level.keys[contexts.first[kept]], self._base, order))
        return keys, np.clip(np.rint(-np.log(rows) / STEP), 0, 255).astype(np.uint8)


def _pair_keys(ids: Ids, base: int, orders: int, newline: int | None) -> Ids:
    """Returns the key of each position's pair, with a context of ``orders`` ids, [characters].

    A digit is an id plus 1; 0 is nothing, before the text or before the line of a list.
    """
    keys = ids.copy()
    open_ = np.ones(len(ids), bool)
    for distance in range(1, orders + 1):
        digits = np.zeros(len(ids), np.int64)
        digits[distance:] = ids[:-distance] + 1
        if newline is not None:
            digits *= open_
            open_ &= digits != newline + 1
        keys = keys * base + digits
    return keys


def _by_recency(keys: Ids, base: int, order: int) -> Ids:
    """Returns contexts, given in pairs' keys, as codes: their last id in the lowest place."""
    contexts = keys % base**order
    turned: Ids = np.zeros_like(contexts)
    for _ in range(order):
        turned = turned * base + contexts % base
        contexts //= base
    return turned


def _contexts(level: _Level, order: int, base: int) -> _Contexts:
    context_keys = level.keys % base**order
    by_context = np.argsort(context_keys, kind="stable")
    ordered = context_keys[by_context]
    new = np.append(True, ordered[1:] != ordered[:-1])
    starts = np.flatnonzero(new)
    of = np.empty(len(ordered), np.int64)
    of[by_context] = np.cumsum(new) - 1

    def summed(values: NDArray[np.float64] | Floats | Counts) -> NDArray[np.float64]:
        sums: Doubles = np.add.reduceat(values[by_context], starts, axis=0)
        return sums

    discounts = _discounts(level.counts)
    taken = discounts[np.minimum(level.counts, 3)]
    taken_outside = discounts.astype(np.float32)[np.minimum(level.outside, 3)]
    total = summed(level.counts).astype(np.float64)
    # Outside a fold a context may not occur at all: then all is left to shorter ones.
    total_outside = summed(level.outside).astype(np.float32)
    left_outside = np.where(
        total_outside > 0, summed(taken_outside) / np.maximum(total_outside, 1), 1
    ).astype(np.float32)
    return _Contexts(
        of=of,
        first=by_context[starts],
        left=summed(taken) / total,
        left_outside=left_outside,
        seen=(level.counts - taken) / total[of],
        seen_outside=((level.outside - taken_outside) / np.maximum(total_outside, 1)[of]).astype(
            np.float32
        ),
        is_repeated=(summed(level.occurrences) > 1) & (ordered[starts] % base > 0),
    )


def _discounts(counts: Counts) -> Doubles:
    """Returns the discounts of counts 0, 1, 2 and more, shape [4] (Chen & Goodman 1998, eq. 26)."""
    n = [int(np.count_nonzero(counts == count)) for count in range(5)]
    discounts = list(_FALLBACK_DISCOUNTS)
    for count in (1, 2, 3):
        if n[1] and n[count] and n[count + 1]:
            y = n[1] / (n[1] + 2 * n[2])
            estimate = count - (count + 1) * y * n[count + 1] / n[count]
            discounts[count] = min(max(estimate, 0.01), count - 0.001)
    return np.array(discounts, np.float64)


def _answers(rows: Rows, numbers: Counts, ids: Ids, expected: Floats) -> NDArray[np.float16]:
    """Returns the log-probability that makes an id's share of its row the expected one, [n]."""
    shares = np.exp(rows.astype(np.float32) * np.float32(-STEP))
    others = shares.sum(axis=1)[numbers] - shares[numbers, ids]
    share = np.clip(expected, _SUREST**2, 1 - _SUREST)
    answers = np.log(share / (1 - share) * np.maximum(others, _SUREST))
    halves: NDArray[np.float16] = answers.astype(np.float16)
    return halves

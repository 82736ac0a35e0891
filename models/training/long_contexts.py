"""Counts the contexts of a text that are too long for rows of the n-gram table.

Most have few followers, so each has a list of these: ids, and by how much each is likelier after
it than the row of the longest short context says. The estimate is modified Kneser-Ney, as for short
contexts (``models.training.counting``), over lengths with gaps between them, and of a list's
followers only: what it leaves, the ids share as after the next shorter context.

A context is worth a list if it predicts what follows it in parts of the text that it was not
counted in. Of many contexts, some seem to by chance, so it must by some standard deviations.

Knows numpy; no network and no file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import AnyInts, Doubles, Floats, Ids
from models.ngram import estimated_discounts
from models.ngram_table import FOLLOWERS, STEP, Lists, Rows, each_hash
from models.training.folds import FOLDS, is_new

LEAST_GAIN = 1.0
"""Nats that a list must save over the text."""

DEVIATIONS = 0.7
"""Standard deviations of what a list saves that it must save besides.

Without them kernel source lost 0.002 nats more, prose 0.003, with 30 % more lists (docs/log.md).
"""

_MIX = np.uint64(0x9E3779B97F4A7C15)
_ID_BITS = np.uint64(16)
_RAREST, _SUREST = 1e-7, 1e-4
"""Least probability of a follower, and of all ids that are none."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What is known of each position before long contexts are counted.

    Attributes:
        ids: of the text, [characters].
        vocabulary_size: number of distinct ids.
        folds: part of the text in which each position is, [characters].
        expected: probability of the id there by the other folds, [characters].
        rows: log-probabilities in units of −``STEP``, [rows, vocabulary].
        numbers: row of the context before each position, [characters].
    """

    ids: AnyInts
    vocabulary_size: int
    folds: NDArray[np.uint8]
    expected: Floats
    rows: Rows
    numbers: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class LongContexts:
    """The long contexts that have lists, the shortest first.

    Attributes:
        keys: of the contexts of each length, [contexts].
        lists: theirs, in the same order.
        numbers: list of the longest context before each position, from 1; 0 is none, [characters].
        expected: probability of the id at each position by the other folds, [characters].
    """

    keys: list[Ids]
    lists: Lists
    numbers: NDArray[np.int32]
    expected: Floats


def count_long(
    counted: Counted, repeated: Ids, lengths: Sequence[int], most_lists: int
) -> LongContexts:
    """Counts the contexts of some lengths.

    Args:
        counted: what is known without them.
        repeated: positions, above 0, at which the longest of the short contexts is no new one.
        lengths: numbers of ids, ascending.
        most_lists: maximum number of lists.
    """
    lengths_counted = _counted_lengths(counted, repeated, lengths)
    least = LEAST_GAIN
    while True:
        choice = _Choice(counted)
        for length in lengths_counted:
            choice.extend(length, least)
        gains = np.concatenate([np.zeros(0), *choice.gains])
        if len(gains) <= most_lists:
            return choice.done()
        # What a list saves depends on which shorter contexts have one.
        surplus = len(gains) - most_lists
        least = float(max(np.partition(gains, surplus)[surplus], 1.01 * least))


@dataclass(frozen=True, slots=True)
class _Pairs:
    """The contexts of one length at some positions, and their pairs with the id that follows.

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
    of: Ids
    first: Ids
    keys: Ids

    def spread(self, of_pairs: NDArray[Any]) -> NDArray[Any]:
        """Returns for each position what its pair has."""
        return np.repeat(of_pairs, self.occurrences)

    def sums(self, of_pairs: NDArray[Any]) -> NDArray[Any]:
        """Returns for each context the sum over its pairs."""
        return np.add.reduceat(of_pairs, self.first)

    def repeated(self) -> Ids:
        """Returns the positions whose context occurs more than once, ascending."""
        is_repeated = (self.sums(self.occurrences) > 1)[self.of]
        return np.sort(self.at[self.spread(is_repeated)]).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Length:
    """Pairs, and what each counts: the ids before it, or for the longest contexts how often it is.

    Attributes:
        pairs: of one length.
        counted: pair that each of these counts for, [units].
        folds: the fold it is in, ``FOLDS`` if it is in several, [units].
    """

    pairs: _Pairs
    counted: Ids
    folds: NDArray[np.uint8]

    def counts(self) -> Ids:
        """Returns what each pair counts, [pairs]."""
        return np.bincount(self.counted, minlength=len(self.pairs.of))

    def outside(self, cells: Ids, count: int) -> Ids:
        """Returns what some pairs count without each fold, [count, FOLDS].

        Args:
            cells: which pairs, and where; −1 for others, [pairs].
            count: number of cells.
        """
        at = cells[self.counted]
        whole = np.bincount(at[at >= 0], minlength=count)
        once = (at >= 0) & (self.folds < FOLDS)
        inside = np.bincount(at[once] * FOLDS + self.folds[once], minlength=count * FOLDS)
        return whole[:, None] - inside.reshape(count, FOLDS)


def _counted_lengths(counted: Counted, repeated: Ids, lengths: Sequence[int]) -> list[_Length]:
    if not len(repeated):
        return []
    groups = []
    for keys in each_hash(counted.ids, lengths, counted.vocabulary_size):
        groups.append(_pairs(counted.ids, keys, repeated))
        repeated = groups[-1].repeated()
        if not len(repeated):
            break
    followed = zip(groups, [*groups[1:], None], strict=True)
    return [_length(group, longer, counted.folds) for group, longer in followed]


def _pairs(ids: AnyInts, keys: Ids, at: Ids) -> _Pairs:
    """Sorts positions by context and then by id. Contexts whose hashes share 48 bits are one."""
    before = keys[at - 1]
    mixed = (before.view(np.uint64) * _MIX) >> _ID_BITS << _ID_BITS
    mixed |= ids[at].astype(np.uint64)
    order = np.argsort(mixed)
    mixed = mixed[order]
    starts = np.flatnonzero(is_new(mixed))
    occurrences = np.diff(np.append(starts, len(mixed)))
    new = is_new(mixed[starts] >> _ID_BITS)
    first = np.flatnonzero(new)
    own = before[order[starts[first]]]
    return _Pairs(at[order].astype(np.int32), starts, occurrences, np.cumsum(new) - 1, first, own)


def _length(pairs: _Pairs, longer: _Pairs | None, folds: NDArray[np.uint8]) -> _Length:
    numbers = pairs.spread(np.arange(len(pairs.of)))
    if longer is None:
        return _Length(pairs, numbers, folds[pairs.at])
    of_position = np.full(len(folds), -1, np.int32)
    of_position[pairs.at] = numbers
    theirs = of_position[longer.at[longer.starts]].astype(np.int64)
    in_folds = folds[longer.at]
    least = np.minimum.reduceat(in_folds, longer.starts)
    most = np.maximum.reduceat(in_folds, longer.starts)
    # A context that occurs once is not among the longer ones: it is one more id before.
    of_position[longer.at] = -1
    alone = pairs.at[of_position[pairs.at] >= 0]
    return _Length(
        pairs,
        np.concatenate([theirs, of_position[alone].astype(np.int64)]),
        np.concatenate([np.where(least == most, least, np.uint8(FOLDS)), folds[alone]]),
    )


class _Choice:
    """The contexts that have a list, length after length."""

    def __init__(self, counted: Counted) -> None:
        self._counted = counted
        self._expected = counted.expected.copy()
        self._numbers = np.zeros(len(counted.ids), np.int32)
        self.gains: list[Doubles] = []
        self._keys: list[Ids] = []
        # The empty list comes first: what it says of no context is what its row says.
        self._followers = np.zeros((1, FOLLOWERS), np.int64)
        self._shares = np.zeros((1, FOLLOWERS))
        self._others = np.ones(1)
        self._boosts = np.zeros((1, FOLLOWERS), np.uint8)

    def done(self) -> LongContexts:
        while self._keys and not len(self._keys[-1]):
            self._keys.pop()
        lists = self._followers[1:].astype(np.uint16), self._boosts[1:]
        return LongContexts(self._keys, lists, self._numbers, self._expected)

    def extend(self, length: _Length, least: float) -> None:
        """Adds the contexts of one length that save more than so many nats."""
        pairs = length.pairs
        counts = length.counts()
        discounts = estimated_discounts(counts)
        shares = (counts - discounts[np.minimum(counts, 3)]) / pairs.sums(counts)[pairs.of]
        slots = _slots(counts, pairs)
        shares[slots < 0] = 0
        expected = self._expected[pairs.at]
        left = 1 - pairs.sums(shares)
        saved = np.log(pairs.spread(shares) / expected + pairs.spread(left[pairs.of]))
        # This is too good, since each position was counted, but spares looking closer at most.
        hopeful = np.bincount(pairs.spread(pairs.of), saved) > least
        hopeful &= pairs.sums(pairs.occurrences) > 1
        if not hopeful.any():
            self._keys.append(np.zeros(0, np.int64))
            return
        proof = self._proof(length, hopeful, slots, discounts, expected)
        good = proof.gains > least + DEVIATIONS * proof.deviations
        chosen = np.flatnonzero(hopeful)[good]
        self._add_lists(pairs, chosen, slots, shares)
        self._keys.append(pairs.keys[chosen])
        self.gains.append(proof.gains[good])
        kept = good[proof.of]
        at = pairs.at[proof.at[kept]]
        numbers = len(self._followers) - len(chosen) + np.cumsum(good) - 1
        self._numbers[at] = numbers[proof.of[kept]]
        self._expected[at] = proof.expected[kept]

    def _proof(
        self,
        length: _Length,
        hopeful: NDArray[np.bool_],
        slots: Ids,
        discounts: Doubles,
        before: Floats,
    ) -> "_Proof":
        """Returns what lists for some contexts save where they were not counted.

        Args:
            length: all contexts.
            hopeful: which of them, [contexts].
            slots: of each pair in a list; −1 in none, [pairs].
            discounts: of counts 0, 1, 2 and more, [4].
            before: the expected probabilities without these lists, [positions].
        """
        pairs = length.pairs
        own = np.flatnonzero(hopeful[pairs.of])
        of = (np.cumsum(hopeful) - 1)[pairs.of[own]]
        cells = np.full(len(pairs.of), -1)
        cells[own] = np.arange(len(own))
        # Pairs whose contexts' hashes are the same may count less than nothing.
        counts = np.maximum(length.outside(cells, len(own)), 0)
        starts = np.flatnonzero(is_new(of))
        totals = np.maximum(np.add.reduceat(counts, starts, axis=0), 1)
        shares = (counts - discounts[np.minimum(counts, 3)]) / totals[of]
        shares[slots[own] < 0] = 0
        left = 1 - np.add.reduceat(shares, starts, axis=0)
        every = pairs.spread(cells)
        at = np.flatnonzero(every >= 0)
        cell, before = every[at], before[at]
        fold = self._counted.folds[pairs.at[at]]
        expected = shares[cell, fold] + left[of[cell], fold] * before
        saved = np.log(expected / before)
        gains: Doubles = np.bincount(of[cell], saved).astype(np.float64)
        squares = np.bincount(of[cell], saved * saved)
        return _Proof(at, of[cell], expected, gains, np.sqrt(squares))

    def _add_lists(self, pairs: _Pairs, chosen: Ids, slots: Ids, shares: Doubles) -> None:
        """Adds the lists of some contexts.

        Args:
            pairs: of all contexts of the length.
            chosen: which contexts.
            slots: of each pair in a list; −1 in none, [pairs].
            shares: each pair's own share of its context, [pairs].
        """
        counted = self._counted
        rank = np.full(len(pairs.first), -1)
        rank[chosen] = np.arange(len(chosen))
        listed = np.flatnonzero((rank[pairs.of] >= 0) & (slots >= 0))
        place = rank[pairs.of[listed]], slots[listed]
        followers = np.zeros((len(chosen), FOLLOWERS), np.int64)
        followers[place] = counted.ids[pairs.at[pairs.starts[listed]]]
        own = np.zeros(followers.shape)
        own[place] = shares[listed]
        is_used = own > 0
        some = pairs.at[pairs.starts[pairs.first[chosen]]]
        in_row = np.exp(-STEP * counted.rows[counted.numbers[some][:, None], followers]) * is_used
        below = self._below(self._numbers[some], followers, in_row) * is_used
        left = 1 - own.sum(axis=1)
        whole = own + left[:, None] * below
        others = left * np.maximum(1 - below.sum(axis=1), _SUREST)
        others_in_row = np.maximum(1 - in_row.sum(axis=1), _SUREST)
        odds = np.log(np.maximum(whole, _RAREST) / others[:, None])
        odds_in_row = np.log(np.maximum(in_row, _RAREST) / others_in_row[:, None])
        boosts = np.clip(np.rint((odds - odds_in_row) / STEP), 0, 255) * is_used
        self._followers = np.concatenate([self._followers, followers])
        self._boosts = np.concatenate([self._boosts, boosts.astype(np.uint8)])
        self._shares = np.concatenate([self._shares, whole])
        self._others = np.concatenate([self._others, others / others_in_row])

    def _below(self, lists: AnyInts, followers: Ids, in_row: Doubles) -> Doubles:
        """Returns the probabilities of followers after the next shorter contexts with lists."""
        below = in_row * self._others[lists, None]
        for column in range(FOLLOWERS):
            shares = self._shares[lists, column, None]
            same = (followers == self._followers[lists, column, None]) & (shares > 0)
            below = np.where(same, shares, below)
        return below


@dataclass(frozen=True, slots=True)
class _Proof:
    """What lists for some contexts save where they were not counted.

    Attributes:
        at: index of each position with such a context, among all of the length, [n].
        of: the context, [n].
        expected: probability of the id there by the other folds, [n].
        gains: in nats, [contexts].
        deviations: standard deviations of these, [contexts].
    """

    at: Ids
    of: Ids
    expected: Doubles
    gains: Doubles
    deviations: Doubles


def _slots(counts: Ids, pairs: _Pairs) -> Ids:
    """Returns each pair's place in its context's list, −1 if it has none; [pairs]."""
    order = np.lexsort((-counts, pairs.of))
    rank = np.empty(len(counts), np.int64)
    rank[order] = np.arange(len(counts)) - pairs.first[pairs.of]
    return np.where(rank < FOLLOWERS, rank, -1)

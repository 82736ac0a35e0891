"""Counts the contexts of a text that are too long for rows of the n-gram table.

Most have few followers, so each has a list of these: ids, and by how much each is likelier after
it than the row of the longest short context says. The estimate is modified Kneser-Ney, as for short
contexts (``models.training.counting``), over lengths with gaps between them, and of a list's
followers only: what it leaves, the ids share as after the next shorter context.

A context is worth a list if it predicts what follows it in parts of the text that it was not
counted in. Of many contexts, some seem to by chance, so it must by some standard deviations.

Knows numpy; no network and no file.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.arrays import AnyInts, Doubles, Floats, Ids
from models.ngram import estimated_discounts
from models.ngram_table import FOLLOWERS, STEP, Lists, Rows
from models.training.folds import FOLDS, is_new
from models.training.sorted_contexts import Pairs

LEAST_GAIN = 1.0
"""Nats that a list must save over the text."""

DEVIATIONS = 0.7
"""Standard deviations of what a list saves that it must save besides.

With 0.6 instead of none, kernel source lost 0.002 nats less, prose 0.003, with a quarter fewer
lists; 1 did no better (docs/log.md).
"""

_RAREST, _SUREST = 1e-7, 1e-4
"""Least probability of a follower, and of all ids that are none."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What is known of each position before long contexts are counted.

    Attributes:
        ids: of the text, [characters].
        folds: part of the text in which each position is, [characters].
        expected: probability of the id there by the other folds, [characters].
        rows: log-probabilities in units of −``STEP``, [rows, vocabulary].
        numbers: row of the context before each position, [characters].
    """

    ids: AnyInts
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
        shown: likewise, but none that only the position's own fold makes worth it, [characters].
        expected: probability of the id at each position by the other folds, [characters].
    """

    keys: list[Ids]
    lists: Lists
    numbers: NDArray[np.int32]
    shown: NDArray[np.int32]
    expected: Floats


def count_long(
    counted: Counted, lengths: "Iterable[CountedLength]", most_lists: int
) -> LongContexts:
    """Chooses the contexts that have lists.

    Args:
        counted: what is known without them.
        lengths: as ``count_lengths`` yields them.
        most_lists: maximum number of lists.
    """
    choice = _Choice(counted)
    every = []
    for length in lengths:
        choice.extend(length, np.ones(len(length.pairs.first), bool))
        every.append(length)
    gains = np.concatenate([np.zeros(0), *choice.gains])
    while len(gains) > most_lists:
        least = 1.01 * np.sort(gains)[-most_lists - 1]
        # What a list saves depends on which shorter contexts have one.
        again = _Choice(counted)
        for length, contexts, best in zip(every, choice.considered, choice.best, strict=True):
            among = np.zeros(len(length.pairs.first), bool)
            among[contexts[best >= least]] = True
            again.extend(length, among, least)
        choice = again
        gains = np.concatenate(choice.gains)
    return choice.done()


@dataclass(frozen=True, slots=True)
class CountedLength:
    """The contexts of one length, and what their pairs count.

    A pair of the longest contexts counts as often as it occurs. Another counts once for each fold
    of each distinct longer context, where Kneser & Ney's counts once for each: most longer contexts
    get no list, so what they would have told must not be missing. Text that is repeated nearby
    counts once.

    Attributes:
        pairs: of one length.
        counting: pair that each of these counts for, [units].
        folds: the fold it is in, [units].
        counts: [pairs].
        discounts: of counts 0, 1, 2 and more, [4].
        slots: each pair's place in its context's list, −1 if it has none, [pairs].
        shares: each pair's own share of its context; 0 without a place, [pairs].
    """

    pairs: Pairs
    counting: NDArray[np.int32]
    folds: NDArray[np.uint8]
    counts: Ids
    discounts: Doubles
    slots: Ids
    shares: Floats

    @classmethod
    def of(
        cls, pairs: Pairs, counting: NDArray[np.int32], folds: NDArray[np.uint8]
    ) -> "CountedLength":
        counts = np.bincount(counting, minlength=len(pairs.of))
        discounts = estimated_discounts(counts)
        slots = _slots(counts, pairs)
        shares = (counts - discounts[np.minimum(counts, 3)]) / pairs.sums(counts)[pairs.of]
        shares[slots < 0] = 0
        return cls(pairs, counting, folds, counts, discounts, slots, shares.astype(np.float32))

    def outside(self, cells: Ids, count: int) -> Ids:
        """Returns what some pairs count without each fold, [count, FOLDS].

        Args:
            cells: which pairs, and where; −1 for others, [pairs].
            count: number of cells.
        """
        at = cells[self.counting]
        own = np.flatnonzero(at >= 0)
        inside = np.bincount(at[own] * FOLDS + self.folds[own], minlength=count * FOLDS)
        inside = inside.reshape(count, FOLDS)
        outside: Ids = inside.sum(axis=1, keepdims=True) - inside
        return outside


def count_lengths(
    pairs: "Sequence[Future[Pairs | None]]", folds: NDArray[np.uint8]
) -> Iterator[CountedLength]:
    """Yields what contexts count, length by length.

    Args:
        pairs: what ``sort_beside`` returned.
        folds: part of the text in which each position is, [characters].
    """
    own = pairs[0].result() if pairs else None
    for after in [*pairs[1:], None]:
        if own is None:
            return
        longer = after.result() if after else None
        yield _counted(own, longer, folds)
        own = longer


def _counted(pairs: Pairs, longer: Pairs | None, folds: NDArray[np.uint8]) -> CountedLength:
    numbers = pairs.spread(np.arange(len(pairs.of), dtype=np.int32))
    if longer is None:
        return CountedLength.of(pairs, numbers, folds[pairs.at])
    of_position = np.full(len(folds), -1, np.int32)
    of_position[pairs.at] = numbers
    theirs = of_position[longer.at[longer.starts]]
    in_folds = np.bitwise_or.reduceat(np.uint8(1) << folds[longer.at], longer.starts)
    # A context that occurs once is not among the longer ones, and is in one fold.
    of_position[longer.at] = -1
    alone = pairs.at[of_position[pairs.at] >= 0]
    units = [theirs[in_folds >> fold & 1 > 0] for fold in range(FOLDS)]
    of_units = np.repeat(np.arange(FOLDS, dtype=np.uint8), [len(each) for each in units])
    return CountedLength.of(
        pairs,
        np.concatenate([*units, of_position[alone]]),
        np.concatenate([of_units, folds[alone]]),
    )


class _Choice:
    """The contexts that have a list, length after length."""

    def __init__(self, counted: Counted) -> None:
        self._counted = counted
        self._expected = counted.expected.copy()
        self._numbers = np.zeros(len(counted.ids), np.int32)
        # What the folds are shown: their probabilities and their lists.
        self._shown = counted.expected.copy()
        self._listed = np.zeros(len(counted.ids), np.int32)
        self.considered: list[Ids] = []
        self.best: list[Doubles] = []
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
        return LongContexts(self._keys, lists, self._numbers, self._listed, self._shown)

    def extend(
        self, length: CountedLength, among: NDArray[np.bool_], least: float = LEAST_GAIN
    ) -> None:
        """Adds the contexts of one length that save enough.

        Args:
            length: all contexts.
            among: which to choose from, [contexts].
            least: nats that each must save.
        """
        proof = self._proof(length, self._hopeful(length, among))
        good = proof.is_worth(least)
        chosen = proof.contexts[good]
        self._add_lists(length, chosen)
        self.gains.append(proof.gains[good])
        self._keys.append(length.pairs.keys[chosen])
        numbers = len(self._followers) - len(chosen) + np.cumsum(good) - 1
        kept = good[proof.of]
        at = proof.at[kept]
        self._numbers[at] = numbers[proof.of[kept]]
        self._expected[at] = proof.expected[kept]
        # What a fold is shown must not depend on how well a list did in it, or lists would seem
        # better than they are: each was chosen because it did well.
        by_others = proof.is_worth_without_fold(least)
        self.considered.append(proof.contexts[good | by_others.any(axis=1)])
        self.best.append(proof.best(by_others)[good | by_others.any(axis=1)])
        shown = by_others.take(proof.of * FOLDS + proof.folds)
        at = proof.at[shown]
        self._shown[at] = proof.shares[shown] + proof.left[shown] * self._shown[at]
        both = shown & kept
        self._listed[proof.at[both]] = numbers[proof.of[both]]

    def _hopeful(self, length: CountedLength, among: NDArray[np.bool_]) -> Ids:
        """Returns the contexts that save so much where each position was counted itself.

        That is too good to be true, but few others are worth a closer look.
        """
        pairs = length.pairs
        if not among.all():
            return np.flatnonzero(among)
        left = (1 - pairs.sums(length.shares))[pairs.of]
        saved = pairs.spread(length.shares)
        saved /= self._expected[pairs.at]
        saved += pairs.spread(left)
        np.log(saved, out=saved)
        return np.flatnonzero(pairs.sums(np.add.reduceat(saved, pairs.starts)) > LEAST_GAIN)

    def _proof(self, length: CountedLength, contexts: Ids) -> "_Proof":
        """Returns what lists for some contexts save where they were not counted."""
        pairs = length.pairs
        if not len(contexts):
            return _Proof.nothing()
        rank = np.full(len(pairs.first), -1)
        rank[contexts] = np.arange(len(contexts))
        of = rank[pairs.of]
        own = np.flatnonzero(of >= 0)
        of = of[own]
        cells = np.full(len(pairs.of), -1)
        cells[own] = np.arange(len(own))
        counts = length.outside(cells, len(own))
        starts = np.flatnonzero(is_new(of))
        totals = np.maximum(np.add.reduceat(counts, starts, axis=0), 1)
        shares = (counts - length.discounts[np.minimum(counts, 3)]) / totals[of]
        shares[length.slots[own] < 0] = 0
        left = 1 - np.add.reduceat(shares, starts, axis=0)
        every = pairs.spread(cells)
        among = np.flatnonzero(every >= 0)
        cell, at = every[among], pairs.at[among]
        of_at = of[cell]
        fold = self._counted.folds[at]
        before = self._expected[at]
        left_at = left.astype(np.float32).take(of_at * FOLDS + fold)
        shares_at = shares.astype(np.float32).take(cell * FOLDS + fold)
        expected = left_at * before + shares_at
        saved = np.log(expected / before)
        count = len(contexts) * FOLDS
        gains, squares = (
            np.bincount(of_at * FOLDS + fold, values, count).astype(np.float64).reshape(-1, FOLDS)
            for values in (saved, saved * saved)
        )
        return _Proof(contexts, gains, squares, at, of_at, fold, expected, shares_at, left_at)

    def _add_lists(self, length: CountedLength, chosen: Ids) -> None:
        """Adds the lists of some contexts."""
        pairs, slots = length.pairs, length.slots
        counted = self._counted
        rank = np.full(len(pairs.first), -1)
        rank[chosen] = np.arange(len(chosen))
        listed = np.flatnonzero((rank[pairs.of] >= 0) & (slots >= 0))
        place = rank[pairs.of[listed]], slots[listed]
        followers = np.zeros((len(chosen), FOLLOWERS), np.int64)
        followers[place] = counted.ids[pairs.at[pairs.starts[listed]]]
        own = np.zeros(followers.shape)
        own[place] = length.shares[listed]
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
        contexts: which, [contexts].
        gains_in_folds: in nats, [contexts, FOLDS].
        squares: sums of the squares of these at each position, [contexts, FOLDS].
        at: positions with such a context, [positions].
        of: which of them, [positions].
        folds: of the positions, [positions].
        expected: probability of the id there by the other folds, [positions].
        shares, left: a summand and a factor that make it of the one without the list, [positions].
    """

    contexts: Ids
    gains_in_folds: Doubles
    squares: Doubles
    at: AnyInts
    of: Ids
    folds: NDArray[np.uint8]
    expected: Floats
    shares: Floats
    left: Floats

    @classmethod
    def nothing(cls) -> "_Proof":
        ids, figures = np.zeros(0, np.int64), np.zeros((0, FOLDS))
        floats = np.zeros(0, np.float32)
        return cls(ids, figures, figures, ids, ids, ids.astype(np.uint8), floats, floats, floats)

    @property
    def gains(self) -> Doubles:
        """In nats, [contexts]."""
        gains: Doubles = self.gains_in_folds.sum(axis=1)
        return gains

    def is_worth(self, least: float) -> NDArray[np.bool_]:
        """Whether each context is worth a list, [contexts]."""
        return _is_certain(self.gains, self.squares.sum(axis=1), least)

    def is_worth_without_fold(self, least: float) -> NDArray[np.bool_]:
        """Whether each would be by the other folds only, [contexts, FOLDS]."""
        squares = self.squares.sum(axis=1, keepdims=True) - self.squares
        return _is_certain(self._gains_of_others(), np.maximum(squares, 0), least)

    def best(self, by_others: NDArray[np.bool_]) -> Doubles:
        """Returns the most that each gains, of all folds or of those but one, [contexts]."""
        others = np.where(by_others, self._gains_of_others(), -np.inf)
        best: Doubles = np.maximum(self.gains, others.max(axis=1, initial=-np.inf))
        return best

    def _gains_of_others(self) -> Doubles:
        others: Doubles = self.gains[:, None] - self.gains_in_folds
        return others


def _is_certain(gains: Doubles, squares: Doubles, least: float) -> NDArray[np.bool_]:
    """Whether gains are at least so many nats, and exceed ``LEAST_GAIN`` by ``DEVIATIONS``."""
    certain = gains > LEAST_GAIN + DEVIATIONS * np.sqrt(squares)
    certain &= gains >= least
    return certain


def _slots(counts: Ids, pairs: Pairs) -> Ids:
    """Returns each pair's place in its context's list, −1 if it has none; [pairs]."""
    order = np.lexsort((-counts, pairs.of))
    rank = np.empty(len(counts), np.int64)
    rank[order] = np.arange(len(counts)) - pairs.first[pairs.of]
    return np.where(rank < FOLLOWERS, rank, -1)

"""What each position of a training text may know of the n-gram table counted from it.

Not what the table says of what follows it: it was counted from that, too
(``models.training.counting``). Knows numpy; no network and no file.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.arrays import AnyInts, Floats, Ids
from models.ngram_table import NOTHING, STEP, NGramTable, last_hashes
from models.training.long_contexts import Counted, LongContexts

_SUREST = 1e-4
"""Least probability that all other ids have together."""

_BLOCK = 1 << 20
"""Numbers that are computed with at a time where not all need be."""


@dataclass(frozen=True, slots=True)
class NGramFeatures:
    """A table, and what each position of the text it was counted from may know of it.

    Attributes:
        table: of the whole text.
        ids: of the text, [characters].
        rows: that of the context before each position that was counted, [counted].
        lists: likewise; None if the table has none.
        answers: log-probability of the id at each of these by the other folds, to stand in its row
            in place of the one there, [counted].
    """

    table: NGramTable
    ids: AnyInts
    rows: NDArray[np.int32]
    lists: NDArray[np.int32] | None
    answers: NDArray[np.float16]

    def log_probabilities(self, positions: Ids) -> Floats:
        """Returns what counting expects at some positions, without having seen their folds.

        Args:
            positions: of any shape.

        Returns:
            Log-probabilities, not normalised, with one more axis, [vocabulary].
        """
        logs = self.table.log_probabilities(self.found(positions))
        counted, ids, answers = self.own(positions)
        logs[counted, ids] = answers
        return logs

    def found(self, positions: Ids) -> Ids:
        """Returns the rows and lists of the contexts before positions, [..., 2]."""
        counted = positions < len(self.rows)
        found = np.zeros((*positions.shape, 2), np.int64)
        at = positions[counted]
        found[counted, 0] = self.rows[at]
        if self.lists is not None:
            found[counted, 1] = self.lists[at]
        if not counted.all():
            found[~counted] = self._find(positions[~counted])
        return found

    def own(self, positions: Ids) -> tuple[NDArray[np.bool_], AnyInts, NDArray[np.float16]]:
        """Returns which positions were counted, the ids at these, and what the others say of them.

        The last two are [counted].
        """
        counted = positions < len(self.rows)
        at = positions[counted]
        return counted, self.ids[at], self.answers[at]

    def _find(self, positions: Ids) -> Ids:
        """Returns what the table has of the contexts before positions, [positions, 2]."""
        ages = np.arange(self.table.orders, 0, -1)[:, None]
        before = positions - ages
        ids = np.where(before >= 0, self.ids[before].astype(np.int64), NOTHING)
        table = self.table
        return table.find(last_hashes(ids, table.lengths, table.vocabulary_size))


def features_of(
    ids: AnyInts, known: Counted, long: LongContexts, table: NGramTable, keys: list[Ids]
) -> NGramFeatures:
    """Returns the features with a table of what was counted."""
    lists = [np.zeros(1, np.int64)]
    rows = [np.zeros(1, np.int64)]
    for index, own in enumerate([*keys, *long.keys]):
        (rows if index < len(keys) else lists).append(table.numbers(index, own))
    return NGramFeatures(
        table,
        ids,
        np.concatenate(rows).astype(np.int32)[known.numbers],
        np.concatenate(lists).astype(np.int32)[long.shown] if long.keys else None,
        _answers(known, long),
    )


def _answers(known: Counted, long: LongContexts) -> NDArray[np.float16]:
    """Returns the log-probability that makes an id's share of its row the expected one, [n]."""
    shares = np.exp(np.arange(256, dtype=np.float32) * np.float32(-STEP))
    sums = np.empty(len(known.rows), np.float32)
    block = max(1, _BLOCK // known.rows.shape[1])
    for begin in range(0, len(sums), block):
        sums[begin : begin + block] = shares[known.rows[begin : begin + block]].sum(axis=1)
    answers = np.empty(len(known.ids), np.float16)
    for begin in range(0, len(answers), _BLOCK):
        part = slice(begin, begin + _BLOCK)
        own = shares[known.rows[known.numbers[part], known.ids[part]]]
        others = sums[known.numbers[part]] - own + _boosted(known, long, shares, part)
        others = np.maximum(others, _SUREST)
        share = np.clip(long.expected[part], _SUREST**2, 1 - _SUREST)
        answers[part] = np.log(share / (1 - share) * others)
    return answers


def _boosted(known: Counted, long: LongContexts, shares: Floats, part: slice) -> Floats:
    """Returns what lists add to the shares of the ids that do not follow, [positions]."""
    at = np.flatnonzero(long.shown[part])
    added = np.zeros(len(long.shown[part]), np.float32)
    followers, boosts = (values[long.shown[part][at] - 1] for values in long.lists)
    in_row = shares[known.rows[known.numbers[part][at][:, None], followers]]
    more = in_row * np.expm1(boosts * np.float32(STEP))
    more[followers == known.ids[part][at][:, None]] = 0
    added[at] = more.sum(axis=1)
    return added

"""What each position of a training text may know of the n-gram table counted from it.

Not what the table says of what follows it: it was counted from that, too
(``models.training.counting``). Knows numpy; no network and no file.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.arrays import AnyInts, Floats, Ids
from models.ngram_table import NOTHING, NGramTable


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
        counted = positions < len(self.rows)
        found = np.zeros((*positions.shape, 2), np.int64)
        at = positions[counted]
        found[counted, 0] = self.rows[at]
        if self.lists is not None:
            found[counted, 1] = self.lists[at]
        if not counted.all():
            found[~counted] = self._find(positions[~counted])
        logs = self.table.log_probabilities(found)
        logs[counted, self.ids[at]] = self.answers[at]
        return logs

    def _find(self, positions: Ids) -> Ids:
        """Returns what the table has of the contexts before positions, [positions, 2]."""
        ages = np.arange(self.table.orders, 0, -1)[:, None]
        before = positions - ages
        ids = np.where(before >= 0, self.ids[before].astype(np.int64), NOTHING)
        return self.table.find(self.table.hashes(ids)[-1])

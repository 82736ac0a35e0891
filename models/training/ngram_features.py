"""What each position of a training text may know of the n-gram table counted from it.

Not what the table says of what follows it: it was counted from that, too
(``models.training.counting``). Knows numpy; no network and no file.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.arrays import AnyInts, Floats, Ids
from models.ngram_table import NGramTable


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
    buckets: NDArray[np.int32]
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

"""Cuts a corpus into batches, in an order. Knows no network."""

import numpy as np

from models.arrays import AnyIds, AnyInts, Ids
from models.text.corpus import ListLines
from models.text.spans import Spans

_ONE_WITHOUT, _STEPS_WITHOUT = 8, 16
"""Of so many rows one reads its text without a style, for so many steps.

So a network learns to go without: of three texts, no style lost 0.10 nats less for it, and each
text in its own style no more than before (docs/log.md).
"""


class Batches:
    """Endless contiguous batches: row b continues at step t + 1 where it stopped at step t.

    The text is a ring on which the rows start at equal distances, so the carried state always fits
    the text that follows; row b continues into the part where row b + 1 began. A batch is a pure
    function of its step: there is no position to save.

    Args:
        ids: shape [characters].
        batch_size, sequence_length: the shape of a batch.
    """

    def __init__(self, ids: AnyInts, batch_size: int, sequence_length: int) -> None:
        self.ids = ids
        self.sequence_length = sequence_length
        self.starts = np.arange(batch_size) * len(ids) // batch_size
        self.characters = batch_size * sequence_length

    def positions(self, step: int) -> Ids:
        """Returns where in ``ids`` the characters of a step stand, [time + 1, batch].

        The first row is read, the last one only predicted.
        """
        begins = self.starts + step * self.sequence_length
        return (begins + np.arange(self.sequence_length + 1)[:, None]) % len(self.ids)

    def batch(self, step: int) -> tuple[Ids, Ids]:
        """Returns the inputs and targets of a step, counted from 0; [time, batch] each."""
        return _inputs_and_targets(self.ids, self.positions(step))

    def epoch(self, step: int) -> float:
        """Returns the passes over the text after a number of steps."""
        return step * self.characters / len(self.ids)


class ShuffledLines:
    """Batches of a list, with its lines in a different order in each pass.

    So a line does not predict the next, and none is memorised for the one before it. Within a pass
    the batches are those of ``Batches``; a batch is a pure function of its step and the seed.
    """

    def __init__(
        self, ids: AnyIds, newline: int, batch_size: int, sequence_length: int, seed: int
    ) -> None:
        self.characters = batch_size * sequence_length
        self._lines = ListLines(ids, newline)
        self.ids = self._lines.ids
        self._shape = batch_size, sequence_length
        self._seed = seed
        self._steps = max(1, len(self.ids) // self.characters)
        self._pass = -1
        self._batches: Batches | None = None

    def positions(self, step: int) -> Ids:
        """Returns where in ``ids`` the characters of a step stand, [time + 1, batch]."""
        number, within = divmod(step, self._steps)
        if self._batches is None or number != self._pass:
            # Order 0 is that in which the corpus was split.
            places = self._lines.places(1 + (self._seed << 32) + number)
            self._batches, self._pass = Batches(places, *self._shape), number
        return self._batches.ids[self._batches.positions(within)].astype(np.int64)

    def batch(self, step: int) -> tuple[Ids, Ids]:
        """Returns the inputs and targets of a step, counted from 0; [time, batch] each."""
        return _inputs_and_targets(self.ids, self.positions(step))

    def epoch(self, step: int) -> float:
        """Returns the passes over the text after a number of steps."""
        return step / self._steps


def styles_at(styles: Spans, places: Ids, step: int, first: int = 0) -> Ids:
    """Returns the numbers of the styles that a step's rows predict in, [time, batch].

    An eighth of the rows have none, −1, in turn.

    Args:
        styles: of the text.
        places: of what is predicted, [time, batch].
        step: counted from 0.
        first: the number of the first of these rows.
    """
    rows = first + np.arange(places.shape[1])
    is_without = (rows + step // _STEPS_WITHOUT) % _ONE_WITHOUT == 0
    found: Ids = np.where(is_without, -1, styles.at(places))
    return found


def _inputs_and_targets(ids: AnyInts, positions: Ids) -> tuple[Ids, Ids]:
    window = ids[positions].astype(np.int64)
    return window[:-1], window[1:]

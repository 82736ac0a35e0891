"""Where a text has been, so that its state can be taken from the middle of a tick.

A text ends where its length or a stop string says, but rows advance in ticks, and text is held back
while it may begin a stop string. So the end may lie before the rows. A trail keeps the latest ids,
and rows along them to replay the rest from. Knows no decoder and no thread.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.arrays import Ids
from models.decoding.rows import Rows
from models.text.vocab import TextDecoder, Vocabulary

APART = 64
"""Least number of ids between two anchors: a replay is no longer than this and a tick."""


@dataclass(frozen=True, slots=True)
class _Anchor:
    """Rows that have read the ids before ``index``, and what had been decoded by then.

    ``produced`` counts characters, said or held back; ``pending`` has the bytes of an incomplete
    one.
    """

    rows: Rows
    index: int
    pending: bytes
    produced: int


@dataclass(slots=True)
class Replay:
    """Rows, and the ids that they have yet to read to be where a text stopped.

    There ``position`` ids have been chosen since the trail's beginning, ``pending`` has the bytes
    of an incomplete character, and ``unsaid`` text that was decoded but does not belong to the
    text.
    """

    rows: Rows
    ids: Ids
    position: int
    pending: bytes
    unsaid: str


class Trail:
    """The way of one text.

    Args:
        vocabulary: of the model.
        rows: where it begins.
        primed: number of ids that are read before the first is chosen.
        pending: bytes of an incomplete character at the beginning.
        unsaid: text that was decoded before the beginning but not said.
    """

    def __init__(
        self, vocabulary: Vocabulary, rows: Rows, primed: int, pending: bytes, unsaid: str
    ) -> None:
        self._vocabulary = vocabulary
        self._primed = primed
        self._unsaid = unsaid
        self._ids: Ids = np.zeros(0, np.int64)
        self._begin = 0
        self._anchors = [_Anchor(rows, 0, pending, len(unsaid))]

    def extend(
        self,
        ids: Ids,
        rows: Callable[[], Rows] | None,
        *,
        pending: bytes,
        produced: int,
        said: int,
        ended: bool,
    ) -> None:
        """Adds a tick, and forgets what no end can need any more.

        Args:
            ids: those taken, [steps].
            rows: returns the rows after them; None if the rows are elsewhere.
            pending: bytes of an incomplete character after them.
            produced: number of characters decoded, those of ``unsaid`` among them.
            said: number of these that belong to the text for certain.
            ended: whether it is the last tick. Most texts end where it ends.
        """
        self._ids = np.concatenate([self._ids, ids])
        end = self._begin + len(self._ids)
        if rows and (ended or end - self._anchors[-1].index >= APART):
            self._anchors.append(_Anchor(rows(), end, pending, produced))
        first = self._latest(said)
        if first:
            del self._anchors[:first]
            begin = self._anchors[0].index
            self._ids = self._ids[begin - self._begin :].copy()
            self._begin = begin

    def _latest(self, said: int) -> int:
        """The last anchor from which the end of a text of so many characters can be reached."""
        # While priming, all that has been decoded is the unsaid text. Bytes of an incomplete
        # character are beyond the end: the ids of a state must not depend on where ticks ended.
        return max(
            index
            for index, anchor in enumerate(self._anchors)
            if not index
            or anchor.index <= self._primed
            or anchor.produced + bool(anchor.pending) <= said
        )

    def replay(self, said: int) -> Replay:
        """Returns the way to the end of a text of so many characters, primed completely."""
        anchor = self._anchors[self._latest(said)]
        index, produced, text = anchor.index, anchor.produced, ""
        if index <= self._primed:
            index, produced, text = self._primed, 0, self._unsaid
        decoder = TextDecoder(self._vocabulary, anchor.pending)
        while produced + len(text) < said:
            at = index - self._begin
            text += decoder.decode(self._ids[at : at + 1])
            index += 1
        return Replay(
            anchor.rows,
            self._ids[anchor.index - self._begin : index - self._begin],
            index - self._primed,
            decoder.pending,
            text[said - produced :],
        )

"""Continuous batching: the streams of one model share a decoder, tick by tick.

A tick advances some streams together by some characters and gives each its text. What a stream
says depends on nobody else, and not on how the ticks fall.
Pure data: knows no thread, no clock and no client.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.decoder import NOT_FINITE, Decoder, Rows
from models.sampling import SampleOptions, uniforms
from models.vocab import Vocabulary

FinishReason = Literal["length", "error", "shutdown"]


class Stream:
    """One text on its way.

    Args:
        vocabulary: of the model.
        prime: ids to read first, [length].
        options: what decides the text.
    """

    def __init__(
        self, vocabulary: Vocabulary, prime: NDArray[np.int64], options: SampleOptions
    ) -> None:
        self.options = options
        self.start_id = vocabulary.start_id
        self.characters = 0
        self.finish_reason: FinishReason | None = None
        self._prime = prime
        self._read = 0
        self._chosen = 0
        self._text = vocabulary.decoder()
        # Where it stands, when it is not among the rows of the last tick.
        self.rows: Rows | None = None

    @property
    def position(self) -> int:
        """Position in the stream's random numbers of the next id; negative while priming."""
        return self._chosen - (len(self._prime) - self._read)

    @property
    def steps_left(self) -> int:
        """Steps after which the text may be complete."""
        return len(self._prime) - self._read + self.options.length - self.characters

    def forced(self, steps: int) -> NDArray[np.int64]:
        """What is left of the prime, then −1, [steps]."""
        row = np.full(steps, -1, dtype=np.int64)
        rest = self._prime[self._read : self._read + steps]
        row[: len(rest)] = rest
        return row

    def take(self, ids: NDArray[np.int64]) -> str:
        """The text of a tick's ids, [steps]; sets ``finish_reason`` when it is the last."""
        primed = min(len(ids), len(self._prime) - self._read)
        self._read += primed
        ids = ids[primed:]
        broken = np.flatnonzero(ids == NOT_FINITE)
        if len(broken):
            ids = ids[: broken[0]]
            self.finish_reason = "error"
        self._chosen += len(ids)
        text = self._text.decode(ids)
        left = self.options.length - self.characters
        if len(text) >= left:
            text = text[:left]
            self.finish_reason = "length"
        self.characters += len(text)
        return text


class Batch:
    """A decoder and the rows it advanced last."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self._gathered: list[Stream] = []
        self._rows: Rows | None = None

    def tick(self, streams: list[Stream], steps: int) -> tuple[list[str], int]:
        """Advances streams together; a stream joins by being among them and leaves by not being.

        Args:
            streams: unfinished ones, in any order.
            steps: characters to advance at most.

        Returns:
            Each stream's text and the steps taken.
        """
        rows = self._gather(streams)
        steps = min(steps, max(stream.steps_left for stream in streams))
        # Counters wrap around: a negative position is never drawn from, its id is forced.
        positions = np.array([stream.position for stream in streams]).astype(np.uint64)
        seeds = np.array([stream.options.seed for stream in streams], dtype=np.uint64)
        temperatures = np.array([s.options.temperature for s in streams], dtype=np.float32)
        forced = np.stack([stream.forced(steps) for stream in streams], axis=1)
        chosen, self._rows = self.decoder.advance(
            rows, forced, uniforms(seeds, positions, steps), temperatures
        )
        columns = np.ascontiguousarray(chosen.T)
        return [stream.take(ids) for stream, ids in zip(streams, columns, strict=True)], steps

    def _gather(self, streams: list[Stream]) -> Rows:
        """The rows of some streams, side by side. Nothing moves while the same ones go on."""
        if self._rows is not None and self._gathered == streams:
            return self._rows
        if self._rows is not None:
            for index, stream in enumerate(self._gathered):
                stream.rows = _row(self._rows, index)
        for stream in streams:
            if stream.rows is None:
                stream.rows = self.decoder.start(np.array([stream.start_id]))
        self._gathered = list(streams)
        return _side_by_side([stream.rows for stream in streams if stream.rows is not None])


def _side_by_side(rows: list[Rows]) -> Rows:
    parts = zip(*(row.state for row in rows), strict=True)
    return Rows(
        np.concatenate([row.ids for row in rows]),
        tuple(np.concatenate(part, axis=1) for part in parts),
    )


def _row(rows: Rows, index: int) -> Rows:
    cut = slice(index, index + 1)
    return Rows(rows.ids[cut].copy(), tuple(part[:, cut].copy() for part in rows.state))

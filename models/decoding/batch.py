"""Continuous batching: the streams of one model share a decoder, tick by tick.

A tick advances some streams together by some characters and returns each one's text. The text of a
stream depends neither on other streams nor on the length of ticks. Knows no thread, no clock and no
client.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.arrays import Floats, Ids
from models.decoding.characters import Piece
from models.decoding.decoder import RowDecoder
from models.decoding.priming import Priming
from models.decoding.rows import Choices, Rows
from models.decoding.sampling import uniforms
from models.decoding.stream import Stream


@dataclass(frozen=True, slots=True)
class _Advance:
    """Streams that advanced together: the ids they took, the logits, their rows before and now."""

    streams: list[Stream]
    ids: Ids
    logits: Floats
    before: Rows
    rows: Rows

    def back_up(self, index: int) -> None:
        """Puts the row of a stream back to where it was before."""
        self.rows.ids[index] = self.before.ids[index]
        for now, before in zip(self.rows.state, self.before.state, strict=True):
            now[:, index] = before[:, index]


class Batch:
    """A decoder and the rows that it advanced last.

    What one row causes ends that row only. A tick computes first and changes streams after, so a
    part that failed is repeated without the rows that made it fail, with the same result.
    """

    def __init__(self, decoder: RowDecoder) -> None:
        self.decoder = decoder
        self._gathered: list[Stream] = []
        self._rows: Rows | None = None

    def tick(self, streams: list[Stream], steps: int) -> tuple[list[Piece], int]:
        """Advances streams together; streams may join and leave between ticks.

        A tick ends where a prime does that is to be remembered. A stream waits for another one that
        is reading its prime, and continues from there. Texts that have ended are replayed to where
        they stopped, by as many steps at most, so a tick takes at most twice as long because of
        them.

        Args:
            streams: unfinished ones, in any order.
            steps: maximum number of characters to advance.

        Returns:
            The text of each stream, and the number of steps taken.
        """
        pieces = {stream: Piece() for stream in streams}
        writing, waiting = _readers([stream for stream in streams if stream.is_writing])
        advances = self._apart(writing, steps, self._advance)
        for advance in advances:
            pieces |= self._take(advance, waiting)
        self._keep(advances)
        self._settle([stream for stream in streams if stream.is_settling], steps)
        taken = max((len(advance.ids) for advance in advances), default=steps)
        return list(pieces.values()), taken

    def _apart(
        self,
        streams: list[Stream],
        steps: int,
        advance: Callable[[list[Stream], int], _Advance],
    ) -> list[_Advance]:
        """Advances streams together, or in parts if that fails; one that fails alone ends."""
        if not streams:
            return []
        try:
            return [advance(streams, steps)]
        except Exception as error:
            if len(streams) == 1:
                streams[0].fail(error)
                return []
        middle = len(streams) // 2
        halves = streams[:middle], streams[middle:]
        return [one for half in halves for one in self._apart(half, steps, advance)]

    def _advance(self, streams: list[Stream], steps: int) -> _Advance:
        """Computes a tick of writing streams, and leaves them as they are."""
        rows = self._gather(streams)
        steps = max(1, min(steps, max(stream.steps_left for stream in streams)))
        steps = min([steps, *(len(stream.ahead) for stream in streams if stream.reads)])
        # Counters wrap around: at a negative position the id is forced, not drawn.
        positions = [stream.position % (1 << 64) for stream in streams]
        options = [stream.options for stream in streams]
        forced = np.stack([stream.forced(steps) for stream in streams], axis=1)
        seeds = np.array([option.seed for option in options], dtype=np.uint64)
        choices = Choices(
            _temperatures(streams, steps),
            np.array([option.top_k for option in options], dtype=np.int64),
            np.array([option.top_p for option in options], dtype=np.float32),
            np.array([stream.tells_prime for stream in streams]),
            _styles(streams),
        )
        draws = uniforms(seeds, np.array(positions, dtype=np.uint64), steps)
        return self._computed(streams, rows, forced, draws, choices)

    def _computed(
        self, streams: list[Stream], rows: Rows, forced: Ids, draws: Floats, choices: Choices
    ) -> _Advance:
        ids, logits, after = self.decoder.advance(rows, forced, draws, choices)
        if ids.shape != forced.shape or logits.shape[:2] != ids.shape:
            raise ValueError("the decoder advanced another number of rows")
        return _Advance(streams, ids, logits, rows, after)

    def _keep(self, advances: list[_Advance]) -> None:
        """Remembers rows: together where all advanced together, otherwise in each stream."""
        if len(advances) == 1:
            self._gathered, self._rows = advances[0].streams, advances[0].rows
            return
        for advance in advances:
            self._gathered, self._rows = [], None
            for index, stream in enumerate(advance.streams):
                try:
                    if stream.is_writing:
                        stream.rows = _row(advance.rows, index)
                except Exception as error:
                    stream.fail(error)

    def _take(self, advance: _Advance, waiting: list[Stream]) -> dict[Stream, Piece]:
        pieces = {}
        for index, stream in enumerate(advance.streams):
            ids = advance.ids[:, index]
            try:
                priming = stream.reads
                pieces[stream] = stream.take(ids, advance.logits[:, index])
                if priming and not stream.reads:
                    _tell(priming, _row(advance.rows, index), waiting)
                if stream.backed_up:
                    advance.back_up(index)
                if stream.keep_state and stream.finish_reason is None:
                    stream.mark(functools.partial(_row, advance.rows, index))
            except Exception as error:
                stream.fail(error)
        return pieces

    def _settle(self, streams: list[Stream], steps: int) -> None:
        """Replays texts that have ended, together, until each is where it stopped."""
        while streams and steps > 0:
            step = min(steps, min(len(stream.replay.ids) for stream in streams))
            for advance in self._apart(streams, step, self._replay):
                for index, stream in enumerate(advance.streams):
                    try:
                        stream.replayed(step, _row(advance.rows, index))
                    except Exception as error:
                        stream.fail(error)
            steps -= step
            streams = [stream for stream in streams if stream.is_settling]

    def _replay(self, streams: list[Stream], steps: int) -> _Advance:
        """Computes a part of the replay of ended texts, and leaves them as they are."""
        replays = [stream.replay for stream in streams]
        count = len(replays)
        forced = np.stack([replay.ids[:steps] for replay in replays], axis=1)
        nothing = np.zeros(count, np.float32)
        choices = Choices(nothing, np.zeros(count, np.int64), nothing, None, _styles(streams))
        rows = _side_by_side([replay.rows for replay in replays])
        return self._computed(streams, rows, forced, np.zeros(forced.shape, np.float32), choices)

    def _gather(self, streams: list[Stream]) -> Rows:
        """Returns the rows of streams side by side; copies nothing if they are as before."""
        if self._rows is not None:
            if self._gathered == streams:
                return self._rows
            for index, stream in enumerate(self._gathered):
                if stream.is_writing:
                    stream.rows = _row(self._rows, index)
            self._gathered, self._rows = [], None
        for stream in streams:
            if stream.rows is None:
                stream.rows = self.decoder.start(np.array([stream.vocabulary.start_id]))
        return _side_by_side([stream.rows for stream in streams if stream.rows is not None])


def _readers(streams: list[Stream]) -> tuple[list[Stream], list[Stream]]:
    """Splits streams: those that advance, and those that wait for one that reads the same prime."""
    reading = {priming.key for s in streams if (priming := s.reads) and not s.may_skip}
    writing, waiting = [], []
    for stream in streams:
        priming = stream.reads
        if priming and stream.may_skip and priming.key in reading:
            waiting.append(stream)
            continue
        if priming:
            reading.add(priming.key)
        writing.append(stream)
    return writing, waiting


def _tell(priming: Priming, row: Rows, waiting: list[Stream]) -> None:
    """Tells whoever wants to know the row that has read a prime."""
    row.ids.setflags(write=False)
    for part in row.state:
        part.setflags(write=False)
    priming.remember(row)
    for stream in waiting:
        if stream.reads and stream.reads.key == priming.key:
            stream.skip(len(stream.ahead), row)


def _temperatures(streams: list[Stream], steps: int) -> Floats:
    """Returns the temperatures of a tick, [rows], or [steps, rows] if some of them change."""
    if all(len(stream.options.temperatures) == 1 for stream in streams):
        temperatures = [stream.options.temperatures[0] for stream in streams]
        return np.array(temperatures, dtype=np.float32)
    return np.stack([stream.temperatures(steps) for stream in streams], axis=1)


def _styles(streams: list[Stream]) -> Floats | None:
    """Returns the weights of styles, [rows, styles], if any stream has a style."""
    sizes = [len(stream.options.style) for stream in streams]
    if not any(sizes):
        return None
    none = (0.0,) * max(sizes)
    return np.array([stream.options.style or none for stream in streams], dtype=np.float32)


def _side_by_side(rows: list[Rows]) -> Rows:
    parts = zip(*(row.state for row in rows), strict=True)
    return Rows(
        np.concatenate([row.ids for row in rows]),
        tuple(np.concatenate(part, axis=1) for part in parts),
    )


def _row(rows: Rows, index: int) -> Rows:
    cut = slice(index, index + 1)
    return Rows(rows.ids[cut].copy(), tuple(part[:, cut].copy() for part in rows.state))

"""Streams between decoder threads and the event loop.

A lane is a thread with a batch for each decoder that it serves; a server has one lane per core and
assigns a stream to the least loaded. A reader is the event loop's end of a stream: it buffers text
up to a bound, beyond which its row pauses, so a client that does not read slows nobody. Knows no
HTTP.
"""

import asyncio
import bisect
import os
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress

from app.engine.callers import NOBODY, Caller
from app.engine.fairness import Sharing
from app.engine.niceness import WRITING, give_way
from models.decoding.batch import Batch
from models.decoding.characters import Piece
from models.decoding.decoder import RowDecoder
from models.decoding.stream import FinishReason, Stream
from models.errors import TooMany, Unavailable
from worker import logs

TICK_SECONDS, TICK_SECONDS_A_ROW = 0.02, 0.0004
"""Target duration of a tick: short enough to feel immediate, long enough that the work per row
between ticks is small beside it."""

FIRST_STEPS, FEW_ROWS = 8, 8
"""Steps of a tick of which the duration is not known, or in which a text begins beside few others:
short ticks of many rows keep the event loop from beginning the next ones."""

MAX_STEPS = 1024

PENDING_CHARACTERS = 4096
"""Unread text of a reader beyond which its row pauses. Each alternative to a character counts as
another one: with 20 of them a character takes about 2 KB."""

LEAST_PACE, PATIENCE_SECONDS = 1000, 10.0
"""Characters that a reader must take per second, counted so, and how far behind it may fall. Then
its row gives way to a new text if the server is full."""

TICK_BOUNDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5)
FIRST_TEXT_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds of the histograms, in seconds."""

log = logs.logger(__name__)


class ServerFull(Unavailable):
    """As many streams are running as the server allows."""

    code = "server_full"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the server is writing {limit} texts already, the limit: try again in a moment"
        )


class TooManyStreams(TooMany):
    """As many streams of one caller are running as it may have."""

    code = "too_many_streams"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the server is writing {limit} texts for you already, the limit of a key or an IP "
            "address: try again in a moment"
        )


class Tally:
    """Counts durations between bounds, and sums them.

    One thread adds and any may read: without a lock, a reader may miss the latest duration.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect.bisect_left(self.bounds, seconds)] += 1
        self.seconds += seconds


class StreamReader:
    """One client's end of a stream; used only on the event loop, except ``wants_more``.

    Its row is free once the text has ended, even if it has not been read.
    """

    def __init__(
        self, lane: "Lane", decoder: RowDecoder, stream: Stream, caller: Caller = NOBODY
    ) -> None:
        self.lane = lane
        self.decoder = decoder
        self.stream = stream
        self.caller = caller
        self.finish_reason: FinishReason | None = None
        self.gave_way = False
        self._pieces: list[Piece] = []
        self._pending = 0
        self._closed = False
        self._news = asyncio.Event()
        self._opened = time.perf_counter()
        self._has_text = False
        self._paused_at: float | None = None
        self._behind = 0.0

    def wants_more(self) -> bool:
        return self._pending < PENDING_CHARACTERS

    @property
    def seconds_behind(self) -> float:
        """How far a paused reader is behind the least pace; 0 for one that waits for text."""
        if self._paused_at is None:
            return 0.0
        return self._behind + time.perf_counter() - self._paused_at

    def deliver(self, piece: Piece, finish_reason: FinishReason | None) -> None:
        """Takes what a tick wrote; nothing after the end, which may have come from elsewhere."""
        if self._closed:
            return
        self._pieces.append(piece)
        self._pending += len(piece.text) * weight(self.stream)
        if not self.wants_more() and self._paused_at is None:
            self._paused_at = time.perf_counter()
        if piece.text and not self._has_text:
            self._has_text = True
            self.lane.first_texts.add(time.perf_counter() - self._opened)
        if finish_reason:
            self._end(finish_reason)
        self._news.set()

    def give_way(self) -> None:
        """Ends the text with an error, because its reader does not keep the least pace."""
        if not self._closed:
            self.gave_way = True
            self.lane.leave(self)
            self._end("error")
            self._news.set()

    def close(self) -> None:
        """Frees the row; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self.lane.leave(self)

    def _end(self, finish_reason: FinishReason) -> None:
        self._closed = True
        self.finish_reason = finish_reason
        self.lane.readers.discard(self)

    async def __aiter__(self) -> AsyncIterator[Piece]:
        """Yields text until the stream ends; all that has been buffered comes as one piece."""
        while True:
            await self._news.wait()
            self._news.clear()
            pieces = self._taken()
            ended = self.finish_reason is not None
            text = "".join(piece.text for piece in pieces)
            if text:
                yield Piece(text, [char for piece in pieces for char in piece.characters])
            if ended:
                return

    def _taken(self) -> list[Piece]:
        """Empties the buffer, and lets a paused row go on."""
        pieces, self._pieces = self._pieces, []
        behind = self.seconds_behind or self._behind
        self._behind = max(0.0, behind - self._pending / LEAST_PACE)
        paused, self._paused_at = self._paused_at is not None, None
        self._pending = 0
        if paused and self.finish_reason is None:
            self.lane.wake()
        return pieces


def weight(stream: Stream) -> int:
    """What a character of a stream counts while it is unread."""
    return 1 + stream.probabilities


News = list[tuple[StreamReader, Piece, FinishReason | None]]


class Lane:
    """A decoder thread that ticks its batches, and between ticks adds and removes streams.

    ``readers`` are those of its streams; ``ticking`` counts the rows of the last tick,
    ``characters`` all characters written, ``failures`` the streams that ended with an error.
    """

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self.readers: set[StreamReader] = set()
        self.ticking = 0
        self.characters = 0
        self.failures = 0
        self.ticks = Tally(TICK_BOUNDS)
        self.first_texts = Tally(FIRST_TEXT_BOUNDS)
        self._loop = loop
        self._changed = threading.Condition()
        self._arrived: list[StreamReader] = []
        self._left: list[StreamReader] = []
        self._stopping = False
        self._batches: dict[RowDecoder, _LiveBatch] = {}
        self._sharing = Sharing(lambda batch: batch.spare_rows)
        self._thread = threading.Thread(target=self._run, name=f"lane-{number}", daemon=True)
        self._thread.start()

    @property
    def load(self) -> tuple[int, int]:
        """Rows that run, and all rows: paused ones cost nothing until they are read."""
        return sum(reader.wants_more() for reader in self.readers), len(self.readers)

    def join(self, reader: StreamReader) -> None:
        self.readers.add(reader)
        with self._changed:
            self._arrived.append(reader)
            self._changed.notify()

    def leave(self, reader: StreamReader) -> None:
        self.readers.discard(reader)
        with self._changed:
            self._left.append(reader)
            self._changed.notify()

    def wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def stop(self) -> None:
        """Tells the thread to end every stream with ``shutdown``, and itself."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def wait(self) -> None:
        """Waits for the end of the thread."""
        self._thread.join()

    def _run(self) -> None:
        give_way(WRITING)
        while not self._stopping:
            try:
                self._turn()
            except Exception:
                # What a tick cannot lay to a row: its streams end, those to come are served.
                log.exception("a decoder thread failed; its texts end")
                self._end_all("error")
        try:
            self._break_off()
        except Exception:
            log.exception("texts end without a state to continue them from")
        self._end_all("shutdown")

    def _break_off(self) -> None:
        """Ends texts where they are; ticks take those that keep a state back to just there."""
        with self._changed:
            self._settle()
        for batch in self._batches.values():
            for reader in batch.readers:
                reader.stream.break_off("shutdown")
            while left := [r for r in batch.readers if r.stream.finish_reason is None]:
                self._tick(batch, left)

    def _turn(self) -> None:
        """Waits for something to do, and ticks each batch once, as far as callers' shares go."""
        with self._changed:
            while not (self._stopping or self._arrived or self._left or self._runnable()):
                self.ticking = 0
                self._changed.wait()
            self._settle()
        if not self._stopping:
            active = {batch: batch.active() for batch in self._batches.values()}
            self.ticking = sum(
                self._tick(batch, rows) for batch, rows in self._sharing.turn(active)
            )

    def _runnable(self) -> bool:
        return any(reader.wants_more() for b in self._batches.values() for reader in b.readers)

    def _settle(self) -> None:
        for reader in self._arrived:
            try:
                if reader.decoder not in self._batches:
                    self._batches[reader.decoder] = _LiveBatch(reader.decoder)
                self._batches[reader.decoder].readers.append(reader)
            except Exception as error:
                self._report([error])
                self._post([(reader, Piece(), "error")])
        for reader in self._left:
            for batch in self._batches.values():
                if reader in batch.readers:
                    batch.readers.remove(reader)
        self._arrived.clear()
        self._left.clear()
        self._batches = {d: batch for d, batch in self._batches.items() if batch.readers}

    def _tick(self, batch: "_LiveBatch", active: list[StreamReader]) -> int:
        """Advances rows whose readers want more; returns their number."""
        began = time.perf_counter()
        try:
            pieces = batch.tick(active)
        except Exception as error:
            # The batch ends what single rows cause; this is more. Other models go on.
            for reader in active:
                reader.stream.fail(error)
            pieces = [Piece() for _ in active]
        self.ticks.add(time.perf_counter() - began)
        self.characters += sum(len(piece.text) for piece in pieces)
        news: News = [
            (reader, piece, reader.stream.finish_reason)
            for reader, piece in zip(active, pieces, strict=True)
            if piece.text or reader.stream.finish_reason
        ]
        self._report([r.stream.error for r in active if r.stream.error is not None])
        batch.ticked(active)
        self._post(news)
        return len(active)

    def _report(self, errors: list[Exception]) -> None:
        """Logs the reasons why texts of a tick failed, each once."""
        self.failures += len(errors)
        for reason, error in {repr(error): error for error in errors}.items():
            count = sum(repr(other) == reason for other in errors)
            log.error("texts that failed: %d, with %s", count, reason, exc_info=error)

    def _end_all(self, reason: FinishReason) -> None:
        """Ends every stream, those that have not begun too."""
        with self._changed:
            readers = [*self._arrived, *(r for b in self._batches.values() for r in b.readers)]
            self._arrived, self._left, self._batches = [], [], {}
        self.failures += len(readers) if reason == "error" else 0
        self._post([(reader, Piece(), reason) for reader in readers])

    def _post(self, news: News) -> None:
        # One call per tick: waking the loop costs more than the deliveries.
        if news:
            # An event loop that is closed has nobody left who reads.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_deliver, news)


def _deliver(news: News) -> None:
    for reader, piece, finish_reason in news:
        reader.deliver(piece, finish_reason)


class _LiveBatch:
    """A decoder's batch, with its readers and its pace."""

    def __init__(self, decoder: RowDecoder) -> None:
        self.readers: list[StreamReader] = []
        self.spare_rows = decoder.spare_rows
        self._batch = Batch(decoder)
        self._step_seconds = 0.0
        self._rows = 1

    def active(self) -> list[StreamReader]:
        """Those that want more; who waited longest comes first."""
        return [reader for reader in self.readers if reader.wants_more()]

    def ticked(self, active: list[StreamReader]) -> None:
        """Drops those whose texts have ended, and puts the others that advanced to the end."""
        if len(active) < len(self.readers):
            advanced = set(active)
            self.readers = [reader for reader in self.readers if reader not in advanced] + active
        self.readers = [r for r in self.readers if r.stream.finish_reason is None]

    def tick(self, active: list[StreamReader]) -> list[Piece]:
        began = time.perf_counter()
        steps = min(self._steps(len(active)), self._bound(active))
        pieces, taken = self._batch.tick([reader.stream for reader in active], steps)
        seconds = (time.perf_counter() - began) / taken
        # Other processes make single ticks slow: follow half way.
        if len(active) == self._rows and self._step_seconds:
            seconds = (seconds + self._step_seconds) / 2
        self._step_seconds, self._rows = seconds, len(active)
        return pieces

    def _steps(self, rows: int) -> int:
        """Steps that fit into a tick, from the time per step of the last one."""
        if not self._step_seconds:
            return FIRST_STEPS
        expected = self._step_seconds * max(1.0, rows / self._rows)
        tick = TICK_SECONDS + TICK_SECONDS_A_ROW * rows
        return max(1, min(MAX_STEPS, int(tick / expected)))

    def _bound(self, active: list[StreamReader]) -> int:
        """Steps that write no more than a reader may have unread.

        Among few rows they are little more than the first text of one who waits for it. If all may
        have to back up, they are no more than will not be lost.
        """
        streams = [reader.stream for reader in active]
        most = PENDING_CHARACTERS // max(map(weight, streams))
        if len(streams) <= FEW_ROWS:
            unread = [len(stream.ahead) for stream in streams if not stream.characters]
            most = min([most, *(FIRST_STEPS + ids for ids in unread)])
        if all(stream.is_guarded for stream in streams):
            most = min(most, max(stream.stride for stream in streams))
        return most


class Streams:
    """All streams of a server, at most ``limit`` at once. Made on the event loop that reads.

    ``refused`` counts the streams beyond the limit, ``gave_way`` those that ended to make room.
    Once ``stopped``, none is opened.
    """

    def __init__(self, limit: int, lanes: int | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.limit = limit
        self.refused = 0
        self.gave_way = 0
        self.stopped = False
        self.lanes = [Lane(number, loop) for number in range(lanes or os.cpu_count() or 1)]

    @property
    def running(self) -> int:
        return sum(len(lane.readers) for lane in self.lanes)

    def held(self, caller: Caller) -> int:
        """The number of streams that a caller has."""
        return sum(reader.caller == caller for lane in self.lanes for reader in lane.readers)

    def most(self, caller: Caller) -> int:
        """The number of streams that a caller may have now."""
        return caller.most(self.limit, self.running - self.held(caller))

    def open(
        self,
        decoder: RowDecoder,
        stream: Stream,
        caller: Caller = NOBODY,
        *,
        ahead: bool = False,
    ) -> StreamReader:
        """Opens a reader in the least loaded lane; the caller closes it.

        Args:
            decoder: of the model.
            stream: not begun yet.
            caller: for whom.
            ahead: whether it can wait. Such a stream takes no place of the second half, neither of
                the server's nor of the caller's.

        Raises:
            ServerFull: as many streams are running as the server allows.
            TooManyStreams: as many of this caller.
            ValueError: the decoder cannot have reached the position at which the stream begins.
        """
        if stream.rows is not None:
            decoder.check(stream.rows)
        most = self.most(caller)
        if most < self.limit and self.held(caller) >= _most(most, ahead):
            raise TooManyStreams(most)
        if self.stopped or not self._has_room(ahead):
            self.refused += not ahead
            raise ServerFull(self.limit)
        lane = min(self.lanes, key=lambda lane: lane.load)
        reader = StreamReader(lane, decoder, stream, caller)
        lane.join(reader)
        return reader

    def _has_room(self, ahead: bool) -> bool:
        """Whether there is a place for one more; a reader too slow may have to make it."""
        if self.running < _most(self.limit, ahead):
            return True
        if ahead:
            return False
        readers = [reader for lane in self.lanes for reader in lane.readers]
        slowest = max(readers, key=lambda reader: reader.seconds_behind, default=None)
        if slowest is None or slowest.seconds_behind < PATIENCE_SECONDS:
            return False
        log.warning("a text ends unread to make room: its reader is too slow")
        self.gave_way += 1
        slowest.give_way()
        return True

    def stop(self) -> None:
        """Ends every stream with ``shutdown``, and the threads."""
        self.stopped = True
        for lane in self.lanes:
            lane.stop()
        for lane in self.lanes:
            lane.wait()


def _most(limit: int, ahead: bool) -> int:
    return limit // 2 if ahead else limit

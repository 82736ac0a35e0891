"""Streams share decoder threads, and no reader and no failure of one touches the others' texts."""

import asyncio
import concurrent.futures
import itertools
import json
import socket
import struct
import threading
from pathlib import Path
from typing import cast

import httpx2
import pytest

from app.engine import streams as streams_module
from app.engine.streams import (
    LEAST_PACE,
    PENDING_CHARACTERS,
    Lane,
    StreamReader,
    Streams,
    Tally,
)
from app.server import sockets
from models.arrays import Floats, Ids
from models.decoding.characters import Character, Piece
from models.decoding.decoder import Decoder
from models.decoding.rows import Choices, Rows
from models.decoding.sampling import SampleOptions
from models.decoding.stream import Stream
from tests.serving import Query, eventually, problem, serve
from tests.streaming import Clock, read, running, stream_of, text_alone
from tests.toys import ALPHABET, toy_checkpoint, toy_decoder

EVENTS = {"Accept": "text/event-stream"}
UNLUCKY = 13


# A reader


class StillLane:
    """A lane that does not run, and what readers told it."""

    def __init__(self) -> None:
        self.first_texts = Tally((60.0,))
        self.woken = 0
        self.readers: set[StreamReader] = set()
        self.left: list[StreamReader] = []

    def wake(self) -> None:
        self.woken += 1

    def leave(self, reader: StreamReader) -> None:
        self.left.append(reader)

    def reader(self, probabilities: int = 0) -> StreamReader:
        prime, options = ALPHABET.encode(""), SampleOptions(1, 1.0, 10)
        stream = Stream(ALPHABET, prime, options, probabilities=probabilities)
        return StreamReader(cast(Lane, self), toy_decoder(toy_checkpoint()), stream)


def test_what_waits_for_a_reader_comes_in_one_piece() -> None:
    async def check() -> None:
        lane = StillLane()
        reader = lane.reader()
        a, b = (Character(char, 0.5, []) for char in "ab")
        reader.deliver(Piece("a", [a]), None)
        reader.deliver(Piece("b", [b]), None)
        pieces = aiter(reader)
        assert await anext(pieces) == Piece("ab", [a, b])
        reader.deliver(Piece("c"), "length")
        assert await anext(pieces) == Piece("c")
        with pytest.raises(StopAsyncIteration):
            await anext(pieces)
        assert reader.finish_reason == "length"
        assert sum(lane.first_texts.counts) == 1

    asyncio.run(check())


def test_a_reader_that_has_enough_wakes_its_lane_when_it_reads_on() -> None:
    async def check() -> None:
        lane = StillLane()
        reader = lane.reader()
        reader.deliver(Piece("a" * (PENDING_CHARACTERS - 1)), None)
        assert reader.wants_more()
        reader.deliver(Piece("a"), None)
        assert not reader.wants_more()
        pieces = aiter(reader)
        await anext(pieces)
        assert reader.wants_more() and lane.woken == 1
        reader.deliver(Piece("a"), None)
        await anext(pieces)
        assert lane.woken == 1

    asyncio.run(check())


def test_alternatives_count_as_unread_too() -> None:
    """Each takes the memory of many characters."""

    async def check() -> None:
        reader = StillLane().reader(probabilities=20)
        for _ in range(PENDING_CHARACTERS // 21):
            assert reader.wants_more()
            reader.deliver(Piece("a", [Character("a", 0.5, [])]), None)
        reader.deliver(Piece("a", [Character("a", 0.5, [])]), None)
        assert not reader.wants_more()

    asyncio.run(check())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(streams_module, "time", clock)
    return clock


def test_how_far_a_reader_is_behind(clock: Clock) -> None:
    """Only while its row waits for it, and as long as it takes less than the least pace."""

    async def check() -> None:
        reader = StillLane().reader()
        pieces = aiter(reader)
        full = Piece("a" * PENDING_CHARACTERS)

        async def fills_up_and_waits(seconds: float) -> float:
            reader.deliver(full, None)
            clock.now += seconds
            return reader.seconds_behind

        worth = PENDING_CHARACTERS / LEAST_PACE
        clock.now += 50
        assert reader.seconds_behind == 0
        assert await fills_up_and_waits(3) == 3
        await anext(pieces)
        assert reader.seconds_behind == 0
        clock.now += 50
        # What a reader takes faster is not saved up for later.
        assert await fills_up_and_waits(9) == 9
        await anext(pieces)
        assert await fills_up_and_waits(9) == pytest.approx(18 - worth)
        await anext(pieces)
        assert await fills_up_and_waits(0) == pytest.approx(18 - 2 * worth)

    asyncio.run(check())


def test_a_text_that_has_ended_needs_no_row() -> None:
    async def check() -> None:
        lane = StillLane()
        reader = lane.reader()
        lane.readers.add(reader)
        reader.deliver(Piece("a"), "length")
        assert lane.readers == set()
        assert [piece.text async for piece in reader] == ["a"]
        reader.close()
        assert lane.left == []

    asyncio.run(check())


def test_a_reader_leaves_once() -> None:
    lane = StillLane()
    reader = lane.reader()
    reader.close()
    reader.close()
    assert lane.left == [reader]


# Lanes


def test_texts_come_out_as_alone_whatever_else_runs() -> None:
    async def check() -> None:
        decoders = toy_decoder(toy_checkpoint()), toy_decoder(toy_checkpoint("gru", seed=1))
        async with running(lanes=2) as streams:
            readers = [streams.open(decoders[seed % 2], stream_of(seed, 3000)) for seed in range(8)]
            texts = await asyncio.gather(*map(read, readers))
            for reader in readers:
                reader.close()
            assert streams.running == 0
        assert texts == [text_alone(decoders[seed % 2], seed, 3000) for seed in range(8)]

    asyncio.run(check())


class Fragile(Decoder):
    """A decoder that fails where a row has one ``top_k``; beside others, or in any case."""

    def __init__(self, beside_others: bool = False) -> None:
        checkpoint = toy_checkpoint()
        super().__init__(checkpoint.config, checkpoint.weights)
        self._least = 2 if beside_others else 1

    def advance(
        self, rows: Rows, forced: Ids, uniforms: Floats, choices: Choices
    ) -> tuple[Ids, Floats, Rows]:
        if UNLUCKY in choices.top_k and len(rows.ids) >= self._least:
            raise OverflowError("an unlucky row")
        return super().advance(rows, forced, uniforms, choices)


def test_a_tick_that_fails_ends_the_row_that_caused_it(caplog: pytest.LogCaptureFixture) -> None:
    """Its neighbours go on as if it had never been there, and the reason is logged once."""

    async def check() -> None:
        fragile = Fragile()
        async with running() as streams:
            readers = [streams.open(fragile, stream_of(seed, 5000)) for seed in range(8)]
            unlucky = streams.open(fragile, stream_of(9, 1000, UNLUCKY))
            texts = await asyncio.gather(*map(read, readers), read(unlucky))
            assert unlucky.finish_reason == "error"
            assert {reader.finish_reason for reader in readers} == {"length"}
            assert texts[:-1] == [text_alone(fragile, seed, 5000) for seed in range(8)]
            assert sum(lane.failures for lane in streams.lanes) == 1
            assert streams.running == 0

    asyncio.run(check())
    assert caplog.text.count("texts that failed: 1, with OverflowError('an unlucky row')") == 1


def test_a_row_that_fails_beside_others_goes_on_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        fragile = Fragile(beside_others=True)
        async with running() as streams:
            readers = [streams.open(fragile, stream_of(seed, 5000)) for seed in range(3)]
            readers.append(streams.open(fragile, stream_of(9, 5000, UNLUCKY)))
            texts = await asyncio.gather(*map(read, readers))
            assert texts[:-1] == [text_alone(fragile, seed, 5000) for seed in range(3)]
            assert texts[-1] == text_alone(fragile, 9, 5000, UNLUCKY)

    asyncio.run(check())
    assert not caplog.records


class Broken(Decoder):
    """A decoder that fails, and if it is told to, cannot even be looked up."""

    def __init__(self, *, is_lost: bool = False) -> None:
        checkpoint = toy_checkpoint()
        super().__init__(checkpoint.config, checkpoint.weights)
        self.is_lost = is_lost

    def __hash__(self) -> int:
        if self.is_lost:
            raise MemoryError("lost")
        return id(self)

    def advance(
        self, rows: Rows, forced: Ids, uniforms: Floats, choices: Choices
    ) -> tuple[Ids, Floats, Rows]:
        raise MemoryError("broken")


def test_a_broken_decoder_ends_its_texts_and_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        broken, sound = Broken(), toy_decoder(toy_checkpoint())
        async with running() as streams:
            neighbour = streams.open(sound, stream_of(1, 20_000))
            failing = [streams.open(broken, stream_of(seed, 100)) for seed in range(4)]
            failing.append(streams.open(Broken(is_lost=True), stream_of(1, 10)))
            await asyncio.gather(*map(read, failing))
            assert {reader.finish_reason for reader in failing} == {"error"}
            assert await read(neighbour) == text_alone(sound, 1, 20_000)
            for reader in failing:
                reader.close()
            assert await read(streams.open(sound, stream_of(2, 500))) == text_alone(sound, 2, 500)

    asyncio.run(check())
    assert "with MemoryError('broken')" in caplog.text
    assert "texts that failed: 1, with MemoryError('lost')" in caplog.text


def test_a_lane_outlives_what_nobody_expects(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be laid to a row ends the texts of its thread, which serves those to come."""

    async def check() -> None:
        decoder = toy_decoder(toy_checkpoint())
        async with running() as streams:
            reader = streams.open(decoder, stream_of(1, 1_000_000))
            pieces = aiter(reader)
            await anext(pieces)
            with monkeypatch.context() as patched:
                patched.setattr(Lane, "_tick", lambda *_: 1 // 0)
                async for _ in pieces:
                    pass
            assert reader.finish_reason == "error"
            assert await read(streams.open(decoder, stream_of(2, 500))) == text_alone(
                decoder, 2, 500
            )

    asyncio.run(check())
    assert "a decoder thread failed; its texts end" in caplog.text


def test_a_stop_ends_every_stream_and_thread() -> None:
    async def check() -> None:
        decoder, begun = toy_decoder(toy_checkpoint()), asyncio.Event()

        async def follow(reader: StreamReader) -> None:
            async for _ in reader:
                begun.set()

        async with running(lanes=2) as streams:
            readers = [streams.open(decoder, stream_of(seed, 1_000_000)) for seed in range(4)]
            following = [asyncio.ensure_future(follow(reader)) for reader in readers]
            await begun.wait()
            await asyncio.to_thread(streams.stop)
            await asyncio.gather(*following)
            assert {reader.finish_reason for reader in readers} == {"shutdown"}

    asyncio.run(check())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lane-")]


def test_rows_that_pause_count_for_nothing_when_streams_are_dealt() -> None:
    async def deal() -> None:
        streams, decoder = Streams(limit=10, lanes=2), toy_decoder(toy_checkpoint())

        def opened() -> StreamReader:
            options = SampleOptions(seed=1, length=1_000_000)
            return streams.open(decoder, Stream(ALPHABET, ALPHABET.encode(""), options))

        stalled, closed, stalled_too = opened(), opened(), opened()
        assert stalled.lane is stalled_too.lane is not closed.lane
        while stalled.wants_more() or stalled_too.wants_more():
            await asyncio.sleep(0)
        closed.close()
        assert opened().lane is closed.lane
        # One row that goes on there, two that pause here.
        assert opened().lane is stalled.lane
        await asyncio.to_thread(streams.stop)

    asyncio.run(deal())


# The pace


def test_a_tally_counts_between_bounds() -> None:
    tally = Tally((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 1.0, 7.0):
        tally.add(seconds)
    assert tally.counts == [2, 2, 1]
    assert tally.seconds == pytest.approx(8.65)


# Over HTTP


def test_broken_off_streams_leave_no_row(toys: Path) -> None:
    """500 of them, in the middle or before the first character, some with a reset."""
    reset = struct.pack("ii", 1, 0)
    with serve(toys, max_streams=8) as client:
        port = client.base_url.port
        request = b"GET /sample?model=toy&length=1000000 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for round_ in range(50):
            sockets = [socket.create_connection(("127.0.0.1", port or 0)) for _ in range(10)]
            for one in sockets:
                one.sendall(request)
            for one in sockets:
                if round_ % 2:
                    one.recv(1000)
                if round_ % 4 > 1:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                one.close()
        eventually(lambda: _all_rows_are_free(client))


def _all_rows_are_free(client: httpx2.Client) -> bool:
    """Whether as many streams as there are rows can be opened at once."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        fields: Query = {"model": "toy", "length": 20_000}
        answers = pool.map(lambda _: client.get("/sample", params=fields).status_code, range(8))
        return set(answers) == {200}


def test_a_stalled_reader_pauses_alone(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row is held, not dropped, and what it gets when it reads on is what follows."""
    # On a busy machine this takes longer than a reader may stall.
    monkeypatch.setattr(sockets, "STALLED_MILLISECONDS", 300_000)
    fields: Query = {"model": "toy", "seed": 8, "length": 150_000}
    small_buffer = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)]
    with (
        serve(toys, max_streams=2) as client,
        httpx2.Client(
            base_url=client.base_url,
            timeout=60,
            transport=httpx2.HTTPTransport(socket_options=small_buffer),
        ) as slow,
        slow.stream("GET", "/sample", params=fields) as stalled,
    ):
        chunks = stalled.iter_text()
        text = next(chunks)
        # As long as it would have taken to its end, and it still has its row.
        whole = client.get("/sample", params=fields).text
        with client.stream("GET", "/sample", params=fields) as other:
            rest = other.iter_text()
            next(rest)
            problem(client.get("/sample?model=toy"), 503)
        text += "".join(itertools.islice(chunks, 20))
    assert len(text) > 1000 and whole.startswith(text)


def test_shutdown_ends_streams_with_a_reason(toys: Path) -> None:
    ended: list[str] = []
    started = threading.Event()

    def follow(url: httpx2.URL) -> None:
        fields: Query = {"model": "toy", "length": 1_000_000}
        with (
            httpx2.Client(base_url=url, timeout=60) as client,
            client.stream("GET", "/sample", params=fields, headers=EVENTS) as response,
        ):
            lines = response.iter_lines()
            next(lines)
            started.set()
            ended.extend(line for line in lines if line)

    with serve(toys) as client:
        thread = threading.Thread(target=follow, args=(client.base_url,))
        thread.start()
        assert started.wait(60)
    thread.join(60)
    assert ended[-2] == "event: end"
    assert json.loads(ended[-1].removeprefix("data: "))["finish_reason"] == "shutdown"

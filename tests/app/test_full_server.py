"""A full server serves those who read, and no caller holds more than its share."""

import asyncio
import concurrent.futures
import contextlib
import json
import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from app.engine import streams as streams_module
from app.engine.background import MAX_WAITING, Background
from app.engine.callers import NOBODY, Caller
from app.engine.streams import (
    LEAST_PACE,
    PATIENCE_SECONDS,
    PENDING_CHARACTERS,
    ServerFull,
    StreamReader,
    Streams,
    TooManyStreams,
)
from app.routes import inside
from app.routes.dialects.common import failure
from app.routes.texts import Opened
from app.server import sockets
from models.checkpoints.format import Checkpoint
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.decoding.sampling import SampleOptions
from models.decoding.stream import Stream, StreamState
from models.inside.reader import Trace, trace
from models.text.corpus import Corpus
from models.text.novelty import line_hashes
from tests.serving import Query, eventually, problem, serve
from tests.streaming import Clock, read, running, stream_of, text_alone
from tests.toys import ALPHABET, toy_checkpoint, toy_decoder


@pytest.fixture(autouse=True)
def patience() -> None:
    """As it is."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(streams_module, "time", clock)
    return clock


def test_as_many_streams_as_there_may_be() -> None:
    async def check() -> None:
        decoder = toy_decoder(toy_checkpoint())
        async with running(limit=2) as streams:
            one, two = (streams.open(decoder, stream_of(seed, 1_000_000)) for seed in (1, 2))
            with pytest.raises(ServerFull) as full:
                streams.open(decoder, stream_of(3, 10))
            assert "writing 2 texts" in str(full.value)
            assert (streams.running, streams.refused) == (2, 1)
            one.close()
            three = streams.open(decoder, stream_of(3, 10))
            assert await read(three) == text_alone(decoder, 3, 10)
            two.close()
        assert streams.stopped
        with pytest.raises(ServerFull):
            streams.open(decoder, stream_of(4, 10))
        assert streams.refused == 2

    asyncio.run(check())


async def stalled(streams: Streams, count: int, caller: Caller = NOBODY) -> list[StreamReader]:
    """Texts whose readers take nothing, once all have paused."""
    decoder = toy_decoder(toy_checkpoint())
    readers = [streams.open(decoder, stream_of(seed, 1_000_000), caller) for seed in range(count)]
    while any(reader.wants_more() for reader in readers):
        await asyncio.sleep(0)
    return readers


def test_a_text_that_nobody_reads_gives_way_to_a_new_one(clock: Clock) -> None:
    """Only when the server is full, only after some seconds, and the one that waits longest."""

    async def check() -> None:
        decoder = toy_decoder(toy_checkpoint())
        async with running(limit=3) as streams:
            first, *others = await stalled(streams, 3)
            pieces = aiter(others[0])
            clock.now += PATIENCE_SECONDS - 0.1
            with pytest.raises(ServerFull):
                streams.open(decoder, stream_of(3, 10))
            assert (streams.refused, streams.gave_way) == (1, 0)
            await anext(pieces)
            while others[0].wants_more():
                await asyncio.sleep(0)
            clock.now += 0.2
            with pytest.raises(ServerFull):
                streams.open(decoder, stream_of(3, 10), ahead=True)
            late = streams.open(decoder, stream_of(3, 10))
            gone = [reader for reader in (first, others[1]) if reader.finish_reason]
            assert [reader.finish_reason for reader in gone] == ["error"]
            assert (streams.running, streams.refused, streams.gave_way) == (3, 1, 1)
            assert await read(late) == text_alone(decoder, 3, 10)
            # What it had unread still comes, and then its end.
            text = await read(gone[0])
            assert len(text) >= PENDING_CHARACTERS
            assert text_alone(decoder, gone[0].stream.options.seed, len(text)) == text
            gone[0].close()
            assert others[0].finish_reason is None
            # A dialect, which has no word for it, tells it from a network that failed.
            opened = Opened(Reference("toy"), None, "exact", 1, gone[0], "", 0.0)  # type: ignore[arg-type]
            why = failure(opened)
            assert why and (why.status_code, why.code) == (503, "server_full")

    asyncio.run(check())


def test_a_reader_that_takes_a_trickle_gives_way_too(clock: Clock) -> None:
    async def check() -> None:
        decoder = toy_decoder(toy_checkpoint())
        async with running(limit=1) as streams:
            (slow,) = await stalled(streams, 1)
            pieces = aiter(slow)
            # Half of the least pace.
            for _ in range(6):
                clock.now += 2 * PENDING_CHARACTERS / LEAST_PACE
                await anext(pieces)
                while slow.wants_more():
                    await asyncio.sleep(0)
            late = streams.open(decoder, stream_of(3, 10))
            assert slow.finish_reason == "error"
            late.close()

    asyncio.run(check())


def test_a_caller_may_be_limited_in_its_texts() -> None:
    async def check() -> None:
        decoder = toy_decoder(toy_checkpoint())
        one, other, key = Caller("one", 4), Caller("other", 4), Caller("key")
        async with running(limit=20) as streams:
            for caller in (one, other):
                for seed in range(2):
                    streams.open(decoder, stream_of(seed, 1_000_000), caller, ahead=True)
                with pytest.raises(TooManyStreams):
                    streams.open(decoder, stream_of(3, 10), caller, ahead=True)
                last = [
                    streams.open(decoder, stream_of(seed, 1_000_000), caller) for seed in (3, 4)
                ]
                with pytest.raises(TooManyStreams):
                    streams.open(decoder, stream_of(5, 10), caller)
                last[0].close()
                streams.open(decoder, stream_of(5, 1_000_000), caller)
                assert streams.held(caller) == 4
            for seed in range(12):
                streams.open(decoder, stream_of(seed, 1_000_000), key)
            with pytest.raises(ServerFull):
                streams.open(decoder, stream_of(1, 10), key)
            assert streams.refused == 1

    asyncio.run(check())


def test_a_text_begins_where_its_decoder_can_be() -> None:
    async def check() -> None:
        decoder = toy_decoder(toy_checkpoint())
        other = toy_decoder(toy_checkpoint(hidden_size=25)).start(np.array([1]))
        outside = decoder.start(np.array([1]))
        outside.state[0][0, 0, 0] = 1.5
        async with running() as streams:
            for rows in (other, outside):
                begin = StreamState(rows, 0, 1)
                stream = Stream(ALPHABET, ALPHABET.encode("a"), SampleOptions(), begin=begin)
                with pytest.raises(ValueError, match="a state"):
                    streams.open(decoder, stream)
            assert streams.running == 0

    asyncio.run(check())


# Over HTTP

ADMIN = "admin-key-of-the-test"


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with one model, as if it had been trained on a list."""
    data = tmp_path_factory.mktemp("data")
    ids = ALPHABET.encode("some name\n" * 50).astype(np.uint8)
    lines = line_hashes(Corpus(ALPHABET, ids[:-2], ids[-2:]), limit=10)
    Registry(data / "models").publish(Reference("toy"), replace(toy_checkpoint(), lines=lines))
    return data


def test_a_full_server_says_so_and_recovers(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Neither text is read meanwhile, which may take long on a busy machine.
    monkeypatch.setattr(streams_module, "PATIENCE_SECONDS", 300.0)
    with serve(toys, max_streams=2) as client:
        fields: Query = {"model": "toy", "length": 1_000_000}
        with (
            client.stream("GET", "/sample", params=fields) as one,
            client.stream("GET", "/sample", params=fields) as two,
        ):
            chunks = one.iter_text(), two.iter_text()
            assert all(next(text) for text in chunks)
            refused = client.get("/sample", params={"model": "toy"})
            problem(refused, 503, "server_full")
            assert int(refused.headers["retry-after"]) > 0
        # Both clients left in the middle: their rows are free again.
        answer = eventually(lambda: client.get("/sample?model=toy").status_code == 200)
        assert answer


def figure(client: httpx2.Client, name: str, key: str = "") -> float:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    lines = client.get("/metrics", headers=headers).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"charloom_{name} "))


def test_a_text_that_is_not_read_ends_with_an_error_and_makes_room(
    toys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams_module, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(sockets, "STALLED_MILLISECONDS", 300_000)
    fields: Query = {"model": "toy", "seed": 8, "length": 1_000_000}
    small_buffer = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)]
    with (
        serve(toys, max_streams=1) as client,
        httpx2.Client(
            base_url=client.base_url,
            timeout=60,
            transport=httpx2.HTTPTransport(socket_options=small_buffer),
        ) as slow,
        slow.stream(
            "GET", "/sample", params=fields, headers={"Accept": "text/event-stream"}
        ) as unread,
    ):
        assert figure(client, "streams_open") == 1
        late: Query = {"model": "toy", "length": 10}
        eventually(lambda: client.get("/sample", params=late).status_code == 200, 30)
        assert figure(client, "streams_gave_way_total") == 1
        last = unread.read().decode().strip().rpartition("\n")[2]
        end = json.loads(last.removeprefix("data: "))
        assert end["finish_reason"] == "error" and 0 < end["characters"] < 1_000_000
        assert end["state"] is None


def test_an_address_without_a_key_has_so_many_texts(listed: Path) -> None:
    """Whatever their requests are: names are drawn fewer at a time, and leave room for others."""
    headers = {"Authorization": f"Bearer {ADMIN}"}
    limits: dict[str, Any] = {"public": "sample", "public_streams": 4, "public_rate": "1000/minute"}
    endless: Query = {"count": 1000, "min_length": 199, "max_length": 200, "starts_with": "a" * 150}
    text: Query = {"length": 1_000_000}
    with serve(listed, api_keys=f"{ADMIN}:admin", **limits) as client:
        few: Query = {"count": 20, "seed": 3}
        names = client.get("/names", params=few).json()["names"]
        assert len(names) == 20

        def most_open() -> float:
            return max(figure(client, "streams_open", ADMIN) for _ in range(20))

        with client.stream("GET", "/names", params=endless, headers={"Accept": "text/plain"}):
            assert 1 <= most_open() <= 2
            with contextlib.ExitStack() as open_texts:
                for _ in range(3):
                    running = open_texts.enter_context(client.stream("GET", "/sample", params=text))
                    assert running.status_code == 200
                problem(client.get("/sample", params=text), 429, "too_many_streams")
                assert 3 <= most_open() <= 4
                others = client.get("/names", params=few, headers=headers)
                assert others.json()["names"] == names


def test_a_key_that_sends_many_texts_to_read_leaves_room(
    toys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the turn of another key comes before all of them have been read."""
    go, read, asked = threading.Event(), list[str](), list[object]()
    join = Background.read

    async def counted(self: Background, *work: Any) -> Any:
        asked.append(work)
        return await join(self, *work)

    monkeypatch.setattr(Background, "read", counted)

    def held(checkpoint: Checkpoint, text: str, **options: Any) -> Trace:
        read.append(text)
        go.wait(20)
        return trace(checkpoint, text, **options)

    monkeypatch.setattr(inside, "trace", held)
    keys = "the-key-of-many-texts:sample,the-key-of-one-text:sample"
    with (
        serve(toys, api_keys=keys) as client,
        concurrent.futures.ThreadPoolExecutor(MAX_WAITING + 1) as pool,
    ):

        def score(key: str, text: str) -> int:
            body = {"text": text, "models": ["toy", "gru"]}
            headers = {"Authorization": f"Bearer {key}"}
            return client.post("/score", json=body, headers=headers, timeout=60).status_code

        many = [pool.submit(score, "the-key-of-many-texts", "many") for _ in range(MAX_WAITING)]
        eventually(lambda: sum(one.done() for one in many) == MAX_WAITING // 2)
        assert {one.result() for one in many if one.done()} == {503}
        one = pool.submit(score, "the-key-of-one-text", "one")
        eventually(lambda: len(asked) == MAX_WAITING + 1)
        go.set()
        assert one.result() == 200
        assert [future.result() for future in many].count(200) == MAX_WAITING // 2
    assert read.index("one") < 4

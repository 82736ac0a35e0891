"""Texts are read one at a time, in threads that give way, and nobody waits for them to end."""

import asyncio
import concurrent.futures
import http.client
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from app.engine import background
from app.engine.background import (
    MAX_SEARCHES,
    MAX_WAITING,
    Background,
    ServerBusy,
)
from app.engine.callers import SCOPE_KEY, Caller
from app.engine.niceness import READING, SEARCHING
from app.routes import inside
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.inside.reader import Stopped, Trace, trace
from tests.serving import eventually, problem, serve
from tests.toys import toy_checkpoint


def a_client(name: str = "", *, leaves: bool = False) -> Request:
    async def receive() -> Message:
        if leaves:
            return {"type": "http.disconnect"}
        return await asyncio.Future()

    return Request({"type": "http", SCOPE_KEY: Caller(name)}, receive)


def run(registry: Registry, work: Callable[[Background], Any]) -> None:
    """Runs a coroutine with a background that is closed after it."""

    async def running() -> None:
        threads = Background(registry)
        try:
            await work(threads)
        finally:
            await asyncio.to_thread(threads.close)

    asyncio.run(running())


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no niceness elsewhere")
def test_its_threads_give_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)

    def niceness(*_: Any) -> Any:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    monkeypatch.setattr(background, "analyse", niceness)

    async def check(threads: Background) -> None:
        assert await threads.read(a_client(), niceness) == max(own, READING)
        searched: Any = None
        while searched is None:
            await asyncio.sleep(0)
            searched = threads.search("", "toy", "d")
        assert searched == max(own, SEARCHING)
        assert niceness() == own

    run(Registry(tmp_path), check)


def waiting_for(threads: Background, go: threading.Event, name: str) -> "asyncio.Future[bool]":
    """A text that is read until the event."""
    return asyncio.ensure_future(threads.read(a_client(name), lambda _: go.wait(20)))


def test_so_many_may_wait_and_no_more(tmp_path: Path) -> None:
    go = threading.Event()

    async def check(threads: Background) -> None:
        waiting = [waiting_for(threads, go, str(name)) for name in range(MAX_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(ServerBusy):
            await threads.read(a_client("one more"), lambda _: None)
        go.set()
        assert all(await asyncio.gather(*waiting))
        assert await threads.read(a_client(), lambda _: "read") == "read"

    run(Registry(tmp_path), check)


def test_a_caller_has_half_of_what_the_others_leave(tmp_path: Path) -> None:
    """So whoever comes finds a place, however many texts the others send."""
    go = threading.Event()

    async def check(threads: Background) -> None:
        shares = {}
        for name in "abcde":
            many = [waiting_for(threads, go, name) for _ in range(MAX_WAITING)]
            await asyncio.sleep(0)
            busy = [one for one in many if one.done()]
            assert all(isinstance(one.exception(), ServerBusy) for one in busy)
            shares[name] = len(many) - len(busy)
        assert shares == {"a": 8, "b": 4, "c": 2, "d": 1, "e": 1}
        go.set()

    run(Registry(tmp_path), check)


def test_callers_take_turns(tmp_path: Path) -> None:
    read: list[str] = []
    go = threading.Event()

    async def check(threads: Background) -> None:
        first = waiting_for(threads, go, "first")
        await asyncio.sleep(0)
        others = [
            asyncio.ensure_future(threads.read(a_client(name[0]), lambda _, n=name: read.append(n)))  # type: ignore[misc]
            for name in ("a1", "a2", "a3", "b1", "b2", "c1")
        ]
        gone = asyncio.ensure_future(threads.read(a_client("d"), lambda _: read.append("d1")))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        go.set()
        await asyncio.gather(first, *others)

    run(Registry(tmp_path), check)
    assert read == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_work_is_told_when_its_client_leaves(tmp_path: Path) -> None:
    told = threading.Event()

    def work(stopped: background.ShouldStop) -> None:
        while not stopped():
            time.sleep(0.001)
        told.set()

    async def check(threads: Background) -> None:
        with pytest.raises(ClientDisconnect):
            await threads.read(a_client(leaves=True), work)
        assert await asyncio.to_thread(told.wait, 10)

    run(Registry(tmp_path), check)


def test_a_search_runs_once_and_again_where_it_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches: list[str] = []

    def analyse(_registry: Registry, _name: str, digest: str, _stopped: Any) -> str:
        searches.append(digest)
        if len(searches) == 1:
            raise FloatingPointError
        return "found"

    monkeypatch.setattr(background, "analyse", analyse)

    async def outcome(threads: Background) -> Any:
        while (found := threads.search("", "toy", "d")) is None:
            await asyncio.sleep(0)
        return found

    async def check(threads: Background) -> None:
        assert threads.search("", "toy", "d") is None
        with pytest.raises(FloatingPointError):
            await outcome(threads)
        assert await outcome(threads) == "found"

    run(Registry(tmp_path), check)
    assert searches == ["d", "d"]


# Over HTTP


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What has been given to be read."""
    works: list[object] = []
    read = Background.read

    async def counted(self: Background, *work: Any) -> Any:
        works.append(work)
        return await read(self, *work)

    monkeypatch.setattr(Background, "read", counted)
    return works


def test_texts_wait_their_turn_and_samples_do_not(
    toys: Path, asked: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One text is read at a time, so many may wait, and the others are told when to come again."""
    release = threading.Event()
    entered: list[int] = []

    def held(*args: Any, **options: Any) -> Trace:
        entered.append(threading.get_ident())
        release.wait(20)
        return trace(*args, **options)

    monkeypatch.setattr(inside, "trace", held)
    # All of them come from one IP address.
    count = MAX_WAITING // 2
    with serve(toys) as client, concurrent.futures.ThreadPoolExecutor(count) as pool:

        def inspect() -> httpx2.Response:
            return client.post("/models/toy/inspect", json={"text": "abc"})

        waiting = [pool.submit(inspect) for _ in range(count)]
        try:
            eventually(lambda: len(asked) == count and entered)
            refused = inspect()
            assert int(refused.headers["retry-after"]) > 0
            assert "try again" in problem(refused, 503, "server_busy")["detail"]
            sampled = client.get("/sample", params={"model": "toy", "length": 50})
            assert sampled.status_code == 200
            assert client.get("/models/toy/cells").status_code in (200, 202)
            assert len(entered) == 1
        finally:
            release.set()
        assert {future.result().status_code for future in waiting} == {200}
        assert inspect().status_code == 200
    assert len(set(entered)) == 1


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Reading and searching go on until they should end; names what has begun."""
    begun: list[str] = []

    def until(name: str, stopped: Callable[[], bool]) -> Any:
        begun.append(name)
        while not stopped():
            time.sleep(0.005)
        raise Stopped

    def endless_trace(*_: Any, stopped: Callable[[], bool], **__: Any) -> Trace:
        found: Trace = until("trace", stopped)
        return found

    monkeypatch.setattr(inside, "trace", endless_trace)
    monkeypatch.setattr(background, "analyse", lambda *asked: until("analyse", asked[-1]))
    return begun


def test_nobody_reads_on_for_a_client_who_left(toys: Path, endless: list[str]) -> None:
    """When one has left, the next one's turn comes."""
    with serve(toys) as client:
        for count in (1, 2):
            leaving = http.client.HTTPConnection("127.0.0.1", client.base_url.port)
            leaving.request("POST", "/models/toy/inspect", '{"text": "abc"}')
            eventually(partial(_are_begun, endless, count))
            leaving.close()


def _are_begun(begun: list[str], count: int) -> bool:
    return len(begun) == count


def test_a_server_that_stops_waits_for_nobody(
    toys: Path, endless: list[str], asked: list[object]
) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        with serve(toys) as client:
            url = client.base_url.join("/models/toy/inspect")
            waiting = [
                pool.submit(httpx2.post, url, json={"text": "abc"}, timeout=60) for _ in range(2)
            ]
            assert client.get("/models/gru/cells").status_code == 202
            assert client.get("/models/gru/cells").status_code == 202
            eventually(lambda: len(endless) == len(asked) == 2)
            assert set(endless) == {"trace", "analyse"}
        for future in waiting:
            detail = problem(future.result(), 503, "shutting_down")["detail"]
            assert "the server is shutting down" in detail


def test_what_takes_too_long_is_given_up(
    toys: Path, endless: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time that a text waits for its turn does not count, nor does that of another request."""
    monkeypatch.setattr(inside, "READ_SECONDS", 0.1)
    monkeypatch.setattr(background, "SEARCH_SECONDS", 0.1)
    with serve(toys) as client, concurrent.futures.ThreadPoolExecutor(3) as pool:
        url = client.base_url.join("/models/toy/inspect")
        late = [pool.submit(httpx2.post, url, json={"text": "a"}, timeout=60) for _ in range(3)]
        for future in late:
            assert int(future.result().headers["retry-after"]) > 0
            problem(future.result(), 503, "out_of_time")
        asked = {"text": "abc", "models": ["toy", "gru"]}
        assert "shorter text" in problem(client.post("/score", json=asked), 503)["detail"]

        def answered() -> httpx2.Response | None:
            response = client.get("/models/toy:rough/cells")
            return None if response.status_code == 202 else response

        assert problem(eventually(answered), 503, "out_of_time")
        # It is not tried for ever: only if somebody asks again.
        assert endless.count("analyse") == 1
        assert client.get("/models/toy:rough/cells").status_code == 202


def test_so_many_searches_wait_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for the cells of a hundred models is told to come again; others go on."""
    go = threading.Event()
    begun: list[str] = []

    def held(_registry: Registry, name: str, *_: Any) -> None:
        begun.append(name)
        go.wait(60)

    monkeypatch.setattr(background, "analyse", held)
    registry = Registry(tmp_path / "models")
    names = [f"m{number}" for number in range(MAX_SEARCHES + 2)]
    for seed, name in enumerate(names):
        registry.publish(Reference(name), toy_checkpoint(seed=seed))
    with serve(tmp_path) as client:
        try:
            asked = [client.get(f"/models/{name}/cells") for name in names]
            most = MAX_SEARCHES // 2
            assert [one.status_code for one in asked] == [202] * most + [503] * (10 - most)
            assert all(int(one.headers["retry-after"]) > 0 for one in asked)
            assert "cells of too many" in problem(asked[-1], 503, "server_busy")["detail"]
            assert client.get("/models/m0/cells").status_code == 202
            assert client.get("/sample?model=m9&length=5").status_code == 200
            assert begun == ["m0"]
        finally:
            go.set()
        # Once some have ended, though nobody came for what they found, there is room.
        eventually(lambda: client.get("/models/m9/cells").status_code == 202)


def test_a_caller_has_half_of_the_searches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(background, "analyse", lambda *_: go.wait(60))

    async def check(threads: Background) -> None:
        half = MAX_SEARCHES // 2
        for caller in ("a", "b"):
            for number in range(half):
                assert threads.search(caller, caller, str(number)) is None
            with pytest.raises(ServerBusy):
                threads.search(caller, caller, "more")
        with pytest.raises(ServerBusy):
            threads.search("c", "c", "1")
        # What another caller began may be asked for by anybody.
        assert threads.search("c", "a", "0") is None
        go.set()

    run(Registry(tmp_path), check)

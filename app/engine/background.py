"""Work beside the streams, in threads that give way to those that decode.

One thread reads a text at a time; a nicer one searches the cells of models not yet analysed. Knows
no route.
"""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from models.checkpoints.registry import Registry
from models.errors import Unavailable
from models.inside.cells import Findings
from models.inside.reader import Stopped
from models.inside.results import analyse

MAX_WAITING = 16
"""Most texts that wait to be read."""

MAX_SEARCHES = 8
"""Most models whose cells are searched or wait for it."""

SEARCH_SECONDS = 600.0
"""After which a search is given up."""

READING, SEARCHING = 5, 19
"""Niceness of the threads. Decoder threads have the server's own."""

_LOOK_SECONDS = 0.5
"""Between two checks that a client is still connected."""

Result = TypeVar("Result")
ShouldStop = Callable[[], bool]


class ServerBusy(Unavailable):
    """As many texts wait to be read as the server allows."""

    code = "server_busy"

    def __init__(self, what: str = f"{MAX_WAITING} texts are waiting to be read") -> None:
        super().__init__(f"{what} already: try again in a moment")


class OutOfTime(Unavailable):
    """The work was given up because it took longer than it may."""

    code = "out_of_time"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the server did not finish within {seconds:.0f} seconds and has stopped: try again "
            "when it is less busy, with a shorter text or a smaller model"
        )


class Background:
    """The threads, and the searches in progress. Used on the event loop."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._reading = _threads("read", READING)
        self._searching = _threads("search", SEARCHING)
        self._searches: dict[tuple[str, str], Future[Findings | None]] = {}
        self._waiting = 0
        self._stopping = threading.Event()

    async def read(self, request: Request, work: Callable[[ShouldStop], Result]) -> Result:
        """Runs work when its turn comes; its argument tells it when to give up.

        Raises:
            ServerBusy: too many texts are waiting.
            ClientDisconnect: the client has disconnected.
            Exception: as the work raises it, also after ``stop``.
        """
        if self._waiting >= MAX_WAITING:
            raise ServerBusy
        self._waiting += 1
        left = threading.Event()
        future = asyncio.get_running_loop().run_in_executor(
            self._reading, work, lambda: left.is_set() or self._stopping.is_set()
        )
        future.add_done_callback(self._done)
        try:
            while not future.done():
                await asyncio.wait([future], timeout=_LOOK_SECONDS)
                if await request.is_disconnected():
                    raise ClientDisconnect
            return future.result()
        finally:
            left.set()
            future.cancel()

    def _done(self, future: "asyncio.Future[Any]") -> None:
        self._waiting -= 1
        if not future.cancelled():
            # Retrieved, or asyncio would log it as lost where the client has disconnected.
            future.exception()

    def search(self, name: str, digest: str) -> Findings | None:
        """The findings of a search of a checkpoint's cells; None while it runs. Starts the search.

        Raises:
            ServerBusy: as many searches as there may be run and wait.
            CheckpointError, FloatingPointError, OSError, OutOfTime, Stopped: the search failed;
                the next call starts another one.
        """
        future = self._searches.get((name, digest))
        if future is None:
            self._forget_ended()
            if len(self._searches) >= MAX_SEARCHES:
                raise ServerBusy(f"the cells of {MAX_SEARCHES} models are being searched")
            self._searches[name, digest] = self._searching.submit(self._search, name, digest)
        elif future.done():
            del self._searches[name, digest]
            return future.result()
        return None

    def _forget_ended(self) -> None:
        """Makes room: what was found is with the checkpoint, and nobody came for what failed."""
        if len(self._searches) >= MAX_SEARCHES:
            self._searches = {k: one for k, one in self._searches.items() if not one.done()}

    def _search(self, name: str, digest: str) -> Findings | None:
        end = time.monotonic() + SEARCH_SECONDS
        try:
            return analyse(
                self._registry,
                name,
                digest,
                lambda: self._stopping.is_set() or time.monotonic() > end,
            )
        except Stopped:
            if self._stopping.is_set():
                raise
            raise OutOfTime(SEARCH_SECONDS) from None

    def stop(self) -> None:
        """Tells all work to give up."""
        self._stopping.set()

    def close(self) -> None:
        """Waits for work in progress to end, and drops waiting work."""
        self.stop()
        for threads in (self._reading, self._searching):
            threads.shutdown(cancel_futures=True)


def _threads(name: str, niceness: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, name, initializer=_give_way, initargs=(niceness,))


def _give_way(niceness: int) -> None:
    """Lowers the priority of this thread and of those that it starts, on Linux."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        now = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, max(now, niceness))

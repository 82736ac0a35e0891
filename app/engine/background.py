"""Work beside the streams: in threads of its own, which give way to those that decode.

One text is read at a time, and behind all others cells are searched where nobody has done it yet.
Knows no route.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from models.checkpoints.registry import Registry
from models.errors import Unavailable
from models.inside.cells import Findings
from models.inside.results import analyse

MAX_WAITING = 16
"""Texts that wait to be read; more of them are sent away."""

READING, SEARCHING = 5, 19
"""Niceness of the threads. Those that decode have the server's own."""

_LOOK_SECONDS = 0.5
"""Between two looks at whether a client is still there."""

Result = TypeVar("Result")
ShouldStop = Callable[[], bool]


class ServerBusy(Unavailable):
    """As many texts wait to be read as may."""

    code = "server_busy"

    def __init__(self) -> None:
        super().__init__(f"{MAX_WAITING} texts wait to be read already: try again in a moment")


class Background:
    """The threads, and the searches under way. Used on the event loop."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._reading = _threads("read", READING)
        self._searching = _threads("search", SEARCHING)
        self._searches: dict[str, Future[Findings]] = {}
        self._waiting = 0
        self._stopping = threading.Event()

    async def read(self, request: Request, work: Callable[[ShouldStop], Result]) -> Result:
        """Runs work when its turn comes; its argument says when it should end for nothing.

        Raises:
            ServerBusy: too many texts wait.
            ClientDisconnect: whoever asked has left, so that nobody wants it any more.
            Exception: the work's own; what it raises when it should end, after ``stop``.
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
            # Looked at, so that nobody complains of one whose client has left.
            future.exception()

    def search(self, name: str, digest: str) -> Findings | None:
        """What a search of a checkpoint's cells found; None while it goes on. Begins it at first.

        Raises:
            CheckpointError, FloatingPointError, OSError, Stopped: it came to nothing; the next
                call tries it again.
        """
        future = self._searches.get(digest)
        if future is None:
            self._searches[digest] = self._searching.submit(
                analyse, self._registry, name, digest, self._stopping.is_set
            )
        elif future.done():
            del self._searches[digest]
            return future.result()
        return None

    def stop(self) -> None:
        """Work should end, for nothing, from now on."""
        self._stopping.set()

    def close(self) -> None:
        """Waits for the end of what is under way, and drops what waits."""
        self.stop()
        for threads in (self._reading, self._searching):
            threads.shutdown(cancel_futures=True)


def _threads(name: str, niceness: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, name, initializer=_give_way, initargs=(niceness,))


def _give_way(niceness: int) -> None:
    """Makes this thread, and those that it starts, nicer; where threads have such a thing."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        now = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, max(now, niceness))

"""Work beside the streams, in threads that give way to those that decode.

One thread reads a text at a time; a nicer one searches the cells of models not yet analysed. Knows
no route.
"""

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from app.engine.callers import caller_of
from app.engine.niceness import READING, SEARCHING, give_way
from models.checkpoints.registry import Registry
from models.errors import Unavailable
from models.inside.cells import Findings
from models.inside.reader import Stopped
from models.inside.results import analyse

MAX_WAITING = 16
"""Most texts that wait to be read, the one that is being read among them. A caller may have half of
the places that the others leave, so that there is one for whoever comes next."""

MAX_SEARCHES = 8
"""Most models whose cells are searched or wait for it. A caller may have half of the places."""

SEARCH_SECONDS = 600.0
"""After which a search is given up."""

_WAS_READ = "charloom.was_read"
"""In the ASGI scope of a request of which something has been read."""

_LOOK_SECONDS = 0.5
"""Between two checks that a client is still connected."""

Result = TypeVar("Result")
ShouldStop = Callable[[], bool]


class ServerBusy(Unavailable):
    """As many texts wait to be read as the server allows, in all or of one caller."""

    code = "server_busy"

    def __init__(self, what: str = "too many texts are waiting to be read") -> None:
        super().__init__(f"{what} already: try again in a moment")


class OutOfTime(Unavailable):
    """The work was given up because it took longer than it may."""

    code = "out_of_time"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the server did not finish within {seconds:.0f} seconds and has stopped: try again "
            "when it is less busy, with a shorter text or a smaller model"
        )


@dataclass(eq=False, slots=True)
class _Place:
    """A place in the line: whose it is, and what is done when its turn comes."""

    caller: str
    turn: asyncio.Future[None]


class _Line:
    """Who may read now, and who waits: callers in turn, the places of each in order."""

    def __init__(self) -> None:
        self._now: _Place | None = None
        self._waiting: dict[str, deque[_Place]] = {}

    def join(self, caller: str, *, returns: bool) -> _Place:
        """Takes a place; who returns for more is not turned away half way.

        Raises:
            ServerBusy: the caller has its share of the places, or none is left.
        """
        held = Counter({name: len(places) for name, places in self._waiting.items()})
        if self._now:
            held[self._now.caller] += 1
        left = MAX_WAITING - held.total() + held[caller]
        is_full = held.total() >= MAX_WAITING or held[caller] >= max(1, left // 2)
        if is_full and not returns:
            raise ServerBusy
        place = _Place(caller, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(caller, deque()).append(place)
        self._go_on()
        return place

    def leave(self, place: _Place) -> None:
        """Gives up a place, or ends a turn."""
        if place is self._now:
            self._now = None
            self._go_on()
            return
        waiting = self._waiting[place.caller]
        waiting.remove(place)
        if not waiting:
            del self._waiting[place.caller]

    def _go_on(self) -> None:
        if self._now or not self._waiting:
            return
        caller = next(iter(self._waiting))
        waiting = self._waiting.pop(caller)
        self._now = waiting.popleft()
        if waiting:
            # Behind the others.
            self._waiting[caller] = waiting
        self._now.turn.set_result(None)


@dataclass(frozen=True, slots=True)
class _Search:
    """A search for cells: who asked for it first, and what comes of it."""

    caller: str
    future: "Future[Findings | None]"


class Background:
    """The threads, and the searches in progress. Used on the event loop."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._reading = _threads("read", READING)
        self._searching = _threads("search", SEARCHING)
        self._searches: dict[tuple[str, str], _Search] = {}
        self._line = _Line()
        self._stopping = threading.Event()

    async def read(self, request: Request, work: Callable[[ShouldStop], Result]) -> Result:
        """Runs work when its turn comes; its argument tells it when to give up.

        Raises:
            ServerBusy: too many texts are waiting, of this caller or in all.
            ClientDisconnect: the client has disconnected.
            Exception: as the work raises it, also after ``stop``.
        """
        returns = request.scope.get(_WAS_READ, False)
        place = self._line.join(caller_of(request.scope).name, returns=returns)
        request.scope[_WAS_READ] = True
        left = threading.Event()
        try:
            await _connected(request, place.turn)
            future = asyncio.get_running_loop().run_in_executor(
                self._reading, work, lambda: left.is_set() or self._stopping.is_set()
            )
            future.add_done_callback(_retrieve)
            try:
                return await _connected(request, future)
            finally:
                left.set()
                future.cancel()
        finally:
            self._line.leave(place)

    def search(self, caller: str, name: str, digest: str) -> Findings | None:
        """The findings of a search of a checkpoint's cells; None while it runs. Starts the search.

        Raises:
            ServerBusy: as many searches as there may be run and wait, of this caller or in all.
            CheckpointError, FloatingPointError, OSError, OutOfTime, Stopped: the search failed;
                the next call starts another one.
        """
        found = self._searches.get((name, digest))
        if found is None:
            self._make_room(caller)
            future = self._searching.submit(self._search, name, digest)
            self._searches[name, digest] = _Search(caller, future)
        elif found.future.done():
            del self._searches[name, digest]
            return found.future.result()
        return None

    def _make_room(self, caller: str) -> None:
        """Forgets ended searches if places run out: what was found is with the checkpoint, and
        nobody came for what failed. Raises ServerBusy."""
        if len(self._searches) >= MAX_SEARCHES // 2:
            self._searches = {k: one for k, one in self._searches.items() if not one.future.done()}
        own = sum(one.caller == caller for one in self._searches.values())
        if len(self._searches) >= MAX_SEARCHES or own >= MAX_SEARCHES // 2:
            raise ServerBusy("the cells of too many models are being searched")

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


async def _connected(request: Request, future: "asyncio.Future[Result]") -> Result:
    """Awaits a future while the client is connected. Raises ClientDisconnect."""
    while not future.done():
        await asyncio.wait([future], timeout=_LOOK_SECONDS)
        if await request.is_disconnected():
            raise ClientDisconnect
    return future.result()


def _retrieve(future: "asyncio.Future[Any]") -> None:
    """Or asyncio would log an error as lost where the client has disconnected."""
    if not future.cancelled():
        future.exception()


def _threads(name: str, niceness: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, name, initializer=give_way, initargs=(niceness,))

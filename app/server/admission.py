"""Accepts connections, and decides which one to drop when there are too many.

A connection is an open file, and without a free one nothing works: no model loads, no job is
written. Connections that wait for a request are dropped first, the oldest before others. Knows no
HTTP.
"""

import asyncio
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from app.access.hosts import counted, is_among
from app.server.connection import Connection
from app.supervisor.loopback import is_loopback
from worker import logs

MOST = 10_000
"""Connections, where the limit for open files allows more."""

RESERVED = 256
"""Open files that connections leave to models, jobs and Redis; at most three eighths of all."""

SHARE = 4
"""One IP address may have a quarter of the connections, unless it is loopback or a proxy."""

BATCH = 16
"""Connections that are accepted in one turn of the event loop; fewer than are reserved."""

PAUSE_SECONDS = 0.2
"""After which connections are accepted again where no file was free."""

QUIET_SECONDS = 60.0
"""In which one line of a kind is logged."""

log = logs.logger(__name__)


def most_connections(files: int) -> int:
    """How many connections a limit of ``files`` open files allows."""
    return max(1, min(MOST, files - min(RESERVED, files * 3 // 8)))


def share_of(most: int, quota: int | None = None) -> int:
    """How many of ``most`` connections one IP address or key may have."""
    return quota or max(1, most // SHARE)


class Admission:
    """Counts connections, and drops one for another."""

    def __init__(self, most: int, proxies: Iterable[str] = (), quota: int | None = None) -> None:
        """``quota`` is how many an IP address may have, instead of its share.

        Once ``is_closing``, each connection ends with the answer that it is waiting for.
        """
        self.is_closing = False
        self._most = most
        self._share = share_of(most, quota)
        self._proxies = tuple(proxies)
        self.count = 0
        self._count: Counter[str] = Counter()
        self._waiting: dict[Connection, None] = {}
        self._waiting_of: dict[str, dict[Connection, None]] = defaultdict(dict)
        self._logged: dict[str, float] = {}

    def admit(self, host: str) -> str | None:
        """The IP address that a new connection counts for; None if it must be closed."""
        address = counted(host)
        if self._count[address] >= self._share and not self._is_trusted(host):
            self._say("share", "one IP address has %d connections, its share of all", self._share)
            if not self._drop(self._waiting_of.get(address, {})):
                return None
        elif self.count >= self._most:
            self._say("most", "%d connections, as many as the limit for files allows", self._most)
            if not self.drop_oldest():
                return None
        self.count += 1
        self._count[address] += 1
        return address

    def drop_oldest(self) -> bool:
        """Drops the connection that has waited longest; False if none waits."""
        return self._drop(self._waiting)

    def _drop(self, waiting: dict[Connection, None]) -> bool:
        oldest = next(iter(waiting), None)
        if oldest is None:
            return False
        self.is_served(oldest)
        oldest.transport.abort()
        return True

    def _is_trusted(self, host: str) -> bool:
        return is_loopback(host) or is_among(host, self._proxies)

    def exhausted(self, error: OSError) -> None:
        self._say("files", "cannot accept connections: %s", error.strerror)
        self.drop_oldest()

    def _say(self, kind: str, words: str, *details: object) -> None:
        now = time.monotonic()
        if now >= self._logged.get(kind, 0.0):
            self._logged[kind] = now + QUIET_SECONDS
            log.warning(words + "; this is logged once a minute", *details)

    # Census

    def waits(self, connection: Connection) -> None:
        self._waiting[connection] = None
        self._waiting_of[connection.address][connection] = None

    def is_served(self, connection: Connection) -> None:
        self._waiting.pop(connection, None)
        if waiting := self._waiting_of.get(connection.address):
            waiting.pop(connection, None)
            if not waiting:
                del self._waiting_of[connection.address]

    def left(self, connection: Connection) -> None:
        self.is_served(connection)
        self.release(connection.address)

    def release(self, address: str) -> None:
        self.count -= 1
        self._count[address] -= 1
        if self._count[address] <= 0:
            del self._count[address]


class Acceptor:
    """Accepts connections from listening sockets.

    Not asyncio's own server: where no file is free, it logs the same line for each connection that
    could wait, every second, and it knows nothing of whom to drop.
    """

    def __init__(self, admission: Admission, connect: Callable[[str], Connection]) -> None:
        self._admission = admission
        self._connect = connect
        self._loop = asyncio.get_running_loop()
        self._listeners: set[socket.socket] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, listeners: Iterable[socket.socket]) -> None:
        for listener in listeners:
            listener.setblocking(False)
            self._listeners.add(listener)
            self._loop.add_reader(listener, self._accept, listener)

    def stop(self) -> bool:
        """Accepts who waits in the kernel already, and no more: the next one is refused at once.

        Returns:
            Whether somebody waited, whose request is still to come.
        """
        for listener in self._listeners:
            while self._accept(listener):
                pass
            self._loop.remove_reader(listener)
            listener.close()
        self._listeners.clear()
        return bool(self._tasks)

    def _accept(self, listener: socket.socket) -> bool:
        """Accepts some connections; returns whether there may be more."""
        for _ in range(BATCH):
            try:
                accepted, peer = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return False
            except OSError as error:
                self._admission.exhausted(error)
                self._loop.remove_reader(listener)
                self._loop.call_later(PAUSE_SECONDS, self._again, listener)
                return False
            address = self._admission.admit(peer[0])
            if address is None:
                accepted.close()
                continue
            accepted.setblocking(False)
            task = self._loop.create_task(self._begin(accepted, address))
            task.add_done_callback(self._tasks.discard)
            self._tasks.add(task)
        return True

    def _again(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            self._loop.add_reader(listener, self._accept, listener)

    async def _begin(self, accepted: socket.socket, address: str) -> None:
        connection = self._connect(address)
        try:
            await self._loop.connect_accepted_socket(lambda: connection, accepted)
        except OSError:
            # The client has gone already.
            accepted.close()
            if connection.transport is None:
                self._admission.release(address)

"""Load generators: many streams over HTTP at once, what each of them got, and when.

They run in this process, on this machine's cores, and say how much of a core they take: one that
takes all of it measures itself. Knows sockets and chunks; no server.
"""

import asyncio
import math
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

BUSY = 0.8
"""The share of a core above which a reader may be what limits a rate."""


@dataclass(slots=True)
class Client(asyncio.Protocol):
    """A client that keeps what comes, and when."""

    request: bytes
    began: float = 0.0
    times: list[float] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.times.append(time.perf_counter())
        self.pieces.append(data)
        # The headers may come before any text.
        if not self.begun.is_set() and b"".join(self.pieces).partition(b"\r\n\r\n")[2]:
            self.begun.set()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.begun.set()
        self.done.set()

    def sizes(self) -> list[int]:
        """Returns the characters of text in each piece, without headers and the frames of chunks.

        Raises:
            RuntimeError: the answer is not a text.
        """
        data = b"".join(self.pieces)
        head, _, _ = data.partition(b"\r\n")
        if data and b" 200 " not in head:
            raise RuntimeError(f"a server answered {data[:500].decode(errors='replace')}")
        # begins[i] is 1 where a character of text begins; its other bytes are 10xxxxxx.
        begins = np.zeros(len(data), np.int64)
        is_first = (np.frombuffer(data, np.uint8) & 0xC0) != 0x80
        at = data.find(b"\r\n\r\n") + 4
        while at >= 4 and (end := data.find(b"\r\n", at)) >= 0:
            size = int(data[at:end], 16)
            text = slice(end + 2, end + 2 + size)
            begins[text] = is_first[text]
            at = end + size + 4
        ends = np.cumsum([len(piece) for piece in self.pieces], dtype=np.int64)
        sizes: list[int] = np.diff(np.concatenate([[0], np.cumsum(begins)[ends - 1]])).tolist()
        return sizes

    def arrivals(self) -> list[tuple[float, int]]:
        """Returns when text came, and how many characters."""
        return [(at, size) for at, size in zip(self.times, self.sizes(), strict=True) if size]


def request(path: str, body: str | None = None) -> bytes:
    """Returns a GET, or a POST of JSON."""
    headers = "Host: localhost\r\nConnection: close\r\n"
    if body is None:
        return f"GET {path} HTTP/1.1\r\n{headers}\r\n".encode()
    data = body.encode()
    headers += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
    return f"POST {path} HTTP/1.1\r\n{headers}\r\n".encode() + data


async def _connect(port: int, path: str, count: int, body: str | None) -> list[Client]:
    loop = asyncio.get_running_loop()
    clients = [Client(request(path, body)) for _ in range(count)]
    for client in clients:
        client.began = time.perf_counter()
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
    return clients


def _abort(clients: Sequence[Client]) -> None:
    for client in clients:
        if client.transport:
            client.transport.abort()


async def read(
    port: int, path: str, count: int, seconds: float | None, body: str | None = None
) -> list[Client]:
    """Reads ``count`` streams at once, for some seconds or to their ends."""
    clients = await _connect(port, path, count, body)
    if seconds is None:
        await asyncio.gather(*(client.done.wait() for client in clients))
    else:
        await asyncio.sleep(seconds)
    _abort(clients)
    return clients


@dataclass(frozen=True, slots=True)
class Load:
    """What some streams that were open together got.

    Attributes:
        rate: characters a second of all of them, once the first have begun.
        waits: of each stream, the seconds from its connection to its first text; infinite where
            none came in time.
        gaps: seconds between two arrivals of text at a stream, of all streams.
        reader: the share of one core that reading took.
        memory: what ``memory`` gave while all streams were open.
    """

    rate: float
    waits: list[float]
    gaps: list[float]
    reader: float
    memory: int


def load(
    port: int,
    path: str,
    count: int,
    seconds: float,
    *,
    warm_up: float = 1.0,
    patience: float = 10.0,
    body: str | None = None,
    memory: Callable[[], int] = lambda: 0,
) -> Load:
    """Reads ``count`` endless streams for some seconds.

    Args:
        warm_up: seconds that do not count, from when all of them have text.
        patience: seconds after which those that have none are waited for no longer.

    Raises:
        RuntimeError: the server answered with a problem.
    """

    async def measure() -> Load:
        clients = await _connect(port, path, count, body)
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await asyncio.gather(*(client.begun.wait() for client in clients))
        await asyncio.sleep(warm_up)
        begin, work = time.perf_counter(), time.thread_time()
        await asyncio.sleep(seconds)
        # A slow server is measured until it writes at all.
        while not _have_text_since(clients, begin) and time.perf_counter() - begin < patience:
            await asyncio.sleep(0.02)
        end, work = time.perf_counter(), time.thread_time() - work
        used = memory()
        _abort(clients)
        return _seen(clients, (begin, end), work, used)

    return asyncio.run(measure())


def _have_text_since(clients: list[Client], begin: float) -> bool:
    return any(client.times and client.times[-1] > begin for client in clients)


def _seen(clients: list[Client], window: tuple[float, float], work: float, memory: int) -> Load:
    begin, end = window
    arrivals = [client.arrivals() for client in clients]
    firsts = [found[0][0] if found else math.inf for found in arrivals]
    waits = [first - client.began for first, client in zip(firsts, clients, strict=True)]
    # Whoever begins later than the warm-up lasts is measured from where it begins.
    since = max(begin, min(firsts))
    total = sum(size for found in arrivals for at, size in found if since <= at <= end)
    gaps = [
        gap
        for found in arrivals
        for gap in np.diff([at for at, _ in found if begin <= at <= end]).tolist()
    ]
    rate = total / (end - since) if since < end else 0.0
    return Load(rate, waits, gaps, work / (end - begin), memory)


def throughput(port: int, path: str, count: int, seconds: float, body: str | None = None) -> float:
    """Returns the characters a second of ``count`` streams, the first second left out."""
    return load(port, path, count, seconds, body=body).rate


def first_text(port: int, path: str, body: str | None = None) -> float:
    """Returns the seconds from a connection to the first text of its answer.

    Reads it to its end: while the server writes on, the next text would have to share its time.

    Raises:
        RuntimeError: the server answered with a problem, or closed the connection.
    """
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        connection.sendall(request(path, body))
        received = b""
        # The headers may come before any text.
        while not received.partition(b"\r\n\r\n")[2]:
            part = connection.recv(1 << 16)
            if not part:
                raise RuntimeError("a server closed the connection before any text")
            received += part
        taken = time.perf_counter() - began
        while connection.recv(1 << 16):
            pass
    if b" 200 " not in received.partition(b"\r\n")[0]:
        raise RuntimeError(f"a server answered {received[:500].decode(errors='replace')}")
    return taken

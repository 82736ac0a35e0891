"""Streams over HTTP: ours against a tutorial's server, in the same run, on the same sizes.

    python -m bench.serve [--hidden 512] [--seconds 8] [--only one many crowd stalled]

Everything runs on this machine, the clients too. Prints characters a second and ratios:

    one      one stream, ours (fast and exact) and the tutorial's; time to the first chunk
    many     128 streams, the sum, ours, the tutorial's, and what the decoder alone does
    crowd    500 streams of the same length: slowest to fastest reader, gaps between chunks
    stalled  20 streams alone and beside 500 readers who do not read; memory of each
"""

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.naive import network_of
from bench.sample import ours as decoding
from bench.sample import rate
from models.checkpoint import Checkpoint, Registry
from models.decoder import Decoder
from models.vocab import Vocabulary

VOCABULARY = 100
ROOT = Path(__file__).resolve().parent.parent


@dataclass(slots=True)
class Counted(asyncio.Protocol):
    """A client that counts what comes: bytes, and the time between pieces."""

    request: bytes
    began: float = 0.0
    received: int = 0
    times: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.began = time.perf_counter()
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self.times.append(time.perf_counter())
        self.sizes.append(len(data))

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.done.set()


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


async def read(port: int, path: str, count: int, seconds: float | None) -> list[Counted]:
    """``count`` streams at once, for some seconds or to their ends."""
    loop = asyncio.get_running_loop()
    clients = [Counted(get(path)) for _ in range(count)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
    if seconds is None:
        await asyncio.gather(*(client.done.wait() for client in clients))
    else:
        await asyncio.sleep(seconds)
    for client in clients:
        if client.transport:
            client.transport.abort()
    return clients


def throughput(port: int, path: str, count: int, seconds: float) -> float:
    """Characters a second of all streams, the first second left out."""

    async def measure() -> float:
        clients = await read(port, path, count, seconds + 1)
        begin = min(client.times[0] for client in clients if client.times) + 1
        end = max(client.times[-1] for client in clients if client.times)
        total = sum(
            size
            for client in clients
            for moment, size in zip(client.times, client.sizes, strict=True)
            if moment >= begin
        )
        return total / (end - begin)

    return asyncio.run(measure())


def first_chunk(port: int, path: str) -> float:
    """Seconds from a request, connection included, to the first of its text."""
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(get(path))
        received = b""
        # The headers may come before there is any text.
        while not received.partition(b"\r\n\r\n")[2]:
            received += connection.recv(4096)
        return time.perf_counter() - began


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(command: list[str], port: int, environment: dict[str, str]) -> Iterator[int]:
    """A server process, once it listens; gives its pid."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield process.pid
    finally:
        # Not asked to end: one that works in its event loop would not hear of it.
        process.kill()
        process.wait()


@contextmanager
def charloom(hidden_size: int) -> Iterator[tuple[int, int]]:
    """Our server with one model, ``toy``; its port and pid."""
    network = network_of(hidden_size, vocabulary_size=VOCABULARY)
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    vocabulary = Vocabulary("characters", [0x0A, *range(0x20, 0x7F), *range(0xA1, 0xA5)])
    card = {"val_loss": 1.0, "precision": {"exact": 1.0, "fast": 1.0}}
    with tempfile.TemporaryDirectory() as data:
        registry = Registry(Path(data) / "models")
        checkpoint = Checkpoint(network.config, vocabulary, weights, card, [], b"")
        registry.publish("toy", "latest", checkpoint)
        port = free_port()
        environment = {
            "CHARLOOM_DATA": data,
            "CHARLOOM_PORT": str(port),
            "CHARLOOM_REDIS_URL": "redis://127.0.0.1:1/0",
        }
        with server([sys.executable, "-m", "app"], port, environment) as pid:
            asyncio.run(read(port, "/sample?model=toy&length=100", 1, None))
            yield port, pid


@contextmanager
def tutorial(hidden_size: int) -> Iterator[int]:
    port = free_port()
    code = (
        "import uvicorn; from bench.naive import tutorial_app; "
        f"uvicorn.run(tutorial_app({VOCABULARY}, {hidden_size}), port={port}, log_level='error')"
    )
    with server([sys.executable, "-c", code], port, {}):
        yield port


def one(hidden_size: int, seconds: float) -> None:
    with tutorial(hidden_size) as port:
        plain = throughput(port, "/sample?length=1000000", 1, seconds)
    tell("tutorial, one stream", plain)
    with charloom(hidden_size) as (port, _):
        for precision in ("exact", "fast"):
            path = f"/sample?model=toy&length=1000000&precision={precision}"
            tell(f"ours, one stream, {precision}", throughput(port, path, 1, seconds), plain)
        waits = [first_chunk(port, "/sample?model=toy&length=100") for _ in range(50)]
    median, longest = 1e3 * float(np.median(waits)), 1e3 * max(waits)
    print(f"{'ours, until the first chunk':34} median {median:.0f} ms, longest {longest:.0f} ms")


def many(hidden_size: int, seconds: float) -> None:
    with tutorial(hidden_size) as port:
        plain = throughput(port, "/sample?length=1000000", 128, seconds)
    tell("tutorial, 128 streams", plain)
    with charloom(hidden_size) as (port, _):
        path = "/sample?model=toy&length=1000000&precision=fast"
        speed = throughput(port, path, 128, seconds)
    tell("ours, 128 streams, fast", speed, plain)
    alone = decoder_alone(hidden_size, seconds)
    tell("the decoder alone, one thread", alone)
    print(
        f"{'':34} HTTP keeps {speed / (alone * (os.cpu_count() or 1)):.0%} of all cores' decoders"
    )


def decoder_alone(hidden_size: int, seconds: float) -> float:
    network = network_of(hidden_size, vocabulary_size=VOCABULARY)
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    return rate(decoding(Decoder(network.config, weights, "fast"), 64), seconds)


def crowd(hidden_size: int, seconds: float) -> None:
    length = int(500 * seconds)
    with charloom(hidden_size) as (port, _):
        path = f"/sample?model=toy&length={length}&precision=fast"
        clients = asyncio.run(read(port, path, 500, None))
    finished = sum(client.received >= length for client in clients)
    took = [client.times[-1] - client.began for client in clients]
    gaps = np.concatenate([np.diff(client.times) for client in clients])
    tell(f"500 streams of {length} characters", 500 * length / max(took))
    print(f"{'':34} {finished} finished; slowest/fastest reader {max(took) / min(took):.2f}")
    median, high = np.median(gaps), np.percentile(gaps, 99)
    print(
        f"{'':34} gaps: median {1e3 * median:.0f} ms, p99 {1e3 * high:.0f} ms "
        f"({high / median:.1f}×)"
    )


def stalled(hidden_size: int, seconds: float) -> None:
    with charloom(hidden_size) as (port, pid):
        path = "/sample?model=toy&length=1000000&precision=fast"
        alone = throughput(port, path, 20, seconds)
        tell("20 streams alone", alone)
        before = resident(pid)
        sleepers = []
        for _ in range(500):
            sleeper = socket.socket()
            sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sleeper.connect(("127.0.0.1", port))
            sleeper.sendall(get(path))
            sleepers.append(sleeper)
        wait_until_idle(pid)
        memory = (resident(pid) - before) / 500
        beside = throughput(port, path, 20, seconds)
        for sleeper in sleepers:
            sleeper.close()
    tell("20 streams beside 500 stalled", beside, alone)
    print(f"{'':34} {memory / 1024:.0f} KiB of the server's memory for each stalled one")


def wait_until_idle(pid: int, patience: float = 300) -> None:
    """Until the buffers of all who don't read are full, and their rows pause."""
    deadline = time.monotonic() + patience
    before = cpu_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(0.5)
        now = cpu_seconds(pid)
        if now - before < 0.1:
            return
        before = now


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Bytes of a process in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def tell(name: str, speed: float, base: float | None = None) -> None:
    ratio = f"  {speed / base:7.2f}×" if base else ""
    print(f"{name:34} {speed:12,.0f} characters/s{ratio}", flush=True)


def main() -> None:
    parts = {"one": one, "many": many, "crowd": crowd, "stalled": stalled}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    asked = parser.parse_args()
    print(f"2×{asked.hidden}, V={VOCABULARY}, {os.cpu_count()} cores")
    for name in asked.only:
        parts[name](asked.hidden, asked.seconds)


if __name__ == "__main__":
    main()

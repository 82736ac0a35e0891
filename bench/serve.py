"""Streams over HTTP: ours against a tutorial's server, in the same run, on the same sizes.

    python -m bench.serve [--hidden 512] [--seconds 8] [--only one many primes crowd stalled]

Everything runs on this machine, the clients too. Prints characters a second and ratios:

    one      one stream, ours (fast and exact) and the tutorial's; time to the first chunk
    many     128 streams, the sum: ours, the tutorial's, LitServe's, and the decoder alone
    primes   until the first text after a prime of 4,000 characters that is unknown, known, or 200
             longer than a known one; until the ends of 32 texts with one unknown prime
    crowd    500 streams of the same length: slowest to fastest reader, gaps between chunks
    stalled  20 streams alone and beside 500 readers who do not read; memory of each
    training one stream alone and while a job trains on the same cores; gaps between chunks
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from bench.naive import network_of
from bench.sample import ours as decoding
from bench.sample import rate
from models.checkpoints.card import Card
from models.checkpoints.format import Checkpoint
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.decoding.decoder import Decoder
from models.text.vocab import Vocabulary

VOCABULARY = 100
ROUNDS, PRIME = 5, 4_000
ROOT = Path(__file__).resolve().parent.parent


@dataclass(slots=True)
class Client(asyncio.Protocol):
    """A client that keeps what comes, and when."""

    request: bytes
    began: float = 0.0
    times: list[float] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.began = time.perf_counter()
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.times.append(time.perf_counter())
        self.pieces.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.done.set()

    def sizes(self) -> list[int]:
        """Characters of text in each piece, without headers and the frames of chunks."""
        data = b"".join(self.pieces)
        # is_text[i] is 1 for a byte of text.
        is_text = np.zeros(len(data), np.int64)
        at = data.find(b"\r\n\r\n") + 4
        while at >= 4 and (end := data.find(b"\r\n", at)) >= 0:
            size = int(data[at:end], 16)
            is_text[end + 2 : end + 2 + size] = 1
            at = end + size + 4
        ends = np.cumsum([len(piece) for piece in self.pieces], dtype=np.int64)
        sizes: list[int] = np.diff(np.concatenate([[0], np.cumsum(is_text)[ends - 1]])).tolist()
        return sizes


def request(path: str, body: str | None = None) -> bytes:
    """A GET, or a POST of JSON."""
    headers = "Host: localhost\r\nConnection: close\r\n"
    if body is None:
        return f"GET {path} HTTP/1.1\r\n{headers}\r\n".encode()
    headers += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"POST {path} HTTP/1.1\r\n{headers}\r\n{body}".encode()


async def read(
    port: int, path: str, count: int, seconds: float | None, body: str | None = None
) -> list[Client]:
    """``count`` streams at once, for some seconds or to their ends."""
    loop = asyncio.get_running_loop()
    clients = [Client(request(path, body)) for _ in range(count)]
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


def throughput(port: int, path: str, count: int, seconds: float, body: str | None = None) -> float:
    """Characters a second of all streams, the first second left out."""

    async def measure() -> float:
        clients = await read(port, path, count, seconds + 1, body)
        begin = min(client.times[0] for client in clients if client.times) + 1
        end = max(client.times[-1] for client in clients if client.times)
        total = sum(
            size
            for client in clients
            for moment, size in zip(client.times, client.sizes(), strict=True)
            if moment >= begin
        )
        return total / (end - begin)

    return asyncio.run(measure())


def first_chunk(port: int, path: str, body: str | None = None) -> float:
    """Seconds from a request, connection included, to the first of its text."""
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request(path, body))
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
        start_new_session=True,
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
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def charloom(hidden_size: int, *, worker: bool = False, **more: str) -> Iterator[tuple[int, int]]:
    """Our server with one model, ``toy``, and maybe a worker and Redis; its port and pid.

    ``more`` are variables of its environment.
    """
    network = network_of(hidden_size, vocabulary_size=VOCABULARY)
    weights = network.export()
    vocabulary = Vocabulary("characters", [0x0A, *range(0x1C, 0x7F)])
    card: Card = {"val_loss": 1.0, "precision": {"exact": 1.0, "fast": 1.0}}
    with tempfile.TemporaryDirectory() as data:
        registry = Registry(Path(data) / "models")
        checkpoint = Checkpoint(network.config, vocabulary, weights, card, [], b"")
        registry.publish(Reference("toy"), checkpoint)
        port = free_port()
        environment = {"CHARLOOM_DATA": data, "CHARLOOM_PORT": str(port), **more}
        command = [sys.executable, "-m", "app.cli", "up"]
        if not worker:
            command = [sys.executable, "-m", "app"]
            environment["CHARLOOM_REDIS_URL"] = "redis://127.0.0.1:1/0"
        with server(command, port, environment) as pid:
            asyncio.run(read(port, "/sample?model=toy&length=100", 1, None))
            yield port, pid


def tutorial(hidden_size: int, count: int, seconds: float) -> float:
    """Characters a second of a tutorial's server, with oneDNN or without, whichever suits it."""
    speeds = []
    for onednn in (True, False):
        port = free_port()
        code = (
            "import torch, uvicorn; from bench.naive import tutorial_app; "
            f"torch.backends.mkldnn.enabled = {onednn}; "
            f"app = tutorial_app({VOCABULARY}, {hidden_size}); "
            f"uvicorn.run(app, port={port}, log_level='error')"
        )
        with server([sys.executable, "-c", code], port, {}):
            speeds.append(throughput(port, "/sample?length=1000000", count, seconds))
        how = "as torch comes" if onednn else "oneDNN off"
        tell(f"tutorial, {how}", speeds[-1])
    return max(speeds)


@contextmanager
def litserve(hidden_size: int) -> Iterator[int]:
    port = free_port()
    code = f"from bench.batched import run; run({VOCABULARY}, {hidden_size}, {port}, 128)"
    with server([sys.executable, "-c", code], port, {}):
        yield port


def one(hidden_size: int, seconds: float) -> None:
    plain = tutorial(hidden_size, 1, seconds)
    with charloom(hidden_size) as (port, _):
        for precision in ("exact", "fast"):
            path = f"/sample?model=toy&length=1000000&precision={precision}"
            tell(f"ours, one stream, {precision}", throughput(port, path, 1, seconds), plain)
        waits = [first_chunk(port, "/sample?model=toy&length=100") for _ in range(50)]
    median, longest = 1e3 * float(np.median(waits)), 1e3 * max(waits)
    print(f"{'ours, until the first chunk':34} median {median:.0f} ms, longest {longest:.0f} ms")


def many(hidden_size: int, seconds: float) -> None:
    plain = tutorial(hidden_size, 128, seconds)
    with charloom(hidden_size) as (port, _):
        path = "/sample?model=toy&length=1000000&precision=fast"
        speed = throughput(port, path, 128, seconds)
    tell("ours, 128 streams, fast", speed, plain)
    alone = decoders_alone(hidden_size, seconds)
    tell("the decoder alone, 128 rows", alone)
    print(f"{'':34} HTTP keeps {speed / alone:.0%} of it")
    if find_spec("litserve"):
        with litserve(hidden_size) as port:
            body = json.dumps({"length": 1_000_000})
            batched = throughput(port, "/predict", 128, seconds, body)
        tell("LitServe, 128 streams", batched, plain)
        print(f"{'':34} ours are {speed / batched:.1f}× that")
    else:
        print("LitServe is not installed: pip install litserve")


def decoders_alone(hidden_size: int, seconds: float) -> float:
    """Characters a second of 128 rows, dealt to a thread for each core."""
    network = network_of(hidden_size, vocabulary_size=VOCABULARY)
    weights = network.export()
    threads = os.cpu_count() or 1
    works = [
        decoding(Decoder(network.config, weights, "fast"), 128 // threads) for _ in range(threads)
    ]
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(lambda work: rate(work, seconds), works))


def primes(hidden_size: int, _seconds: float) -> None:
    """Each way once in each round, beside a server that remembers nothing."""
    with (
        charloom(hidden_size) as (port, _),
        charloom(hidden_size, CHARLOOM_PRIME_MEMORY_BYTES="0") as (forgetful, _),
    ):
        waits: dict[str, list[float]] = {}
        for number in range(ROUNDS):
            prime = spoken(PRIME, number)
            for name, at, text in (
                ("not remembered", forgetful, prime),
                ("unknown", port, prime),
                ("known", port, prime),
                ("200 longer than a known one", port, prime + spoken(200, number)),
            ):
                waits.setdefault(name, []).append(first_chunk(at, "/sample", primed(text)))
            for name, at in (("32 at once, not remembered", forgetful), ("32 at once", port)):
                body = primed(spoken(PRIME, ROUNDS + number))
                clients = asyncio.run(read(at, "/sample", 32, None, body))
                seconds = max(client.times[-1] - client.began for client in clients)
                waits.setdefault(name, []).append(seconds)
    for name, seconds_of in waits.items():
        base = waits["32 at once, not remembered" if "once" in name else "not remembered"]
        median, ratio = np.median(seconds_of), np.median(seconds_of) / np.median(base)
        spread = f"{1e3 * min(seconds_of):.1f}–{1e3 * max(seconds_of):.1f}"
        print(f"{name:34} median {1e3 * median:7.1f} ms ({spread})  {ratio:6.3f}×")


def spoken(length: int, number: int) -> str:
    """A prime; another one for each number."""
    drawn = np.random.default_rng(number).integers(ord("a"), ord("z") + 1, length)
    return drawn.astype(np.uint8).tobytes().decode()


def primed(prime: str) -> str:
    """The body of a request for a short text."""
    fields = {"model": "toy", "length": 100, "seed": 1, "precision": "fast", "prime": prime}
    return json.dumps(fields)


def crowd(hidden_size: int, seconds: float) -> None:
    length = int(500 * seconds)
    with charloom(hidden_size) as (port, _):
        path = f"/sample?model=toy&length={length}&precision=fast"
        clients = asyncio.run(read(port, path, 500, None))
    finished = sum(sum(client.sizes()) == length for client in clients)
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
            sleeper.sendall(request(path))
            sleepers.append(sleeper)
        wait_until_idle(pid)
        memory = (resident(pid) - before) / 500
        beside = throughput(port, path, 20, seconds)
        for sleeper in sleepers:
            sleeper.close()
    tell("20 streams beside 500 stalled", beside, alone)
    print(f"{'':34} {memory / 1024:.0f} KiB of the server's memory for each stalled one")


def training(hidden_size: int, seconds: float) -> None:
    path = "/sample?model=toy&length=1000000&precision=fast"
    with charloom(hidden_size, worker=True) as (port, _):
        alone = throughput(port, path, 1, seconds)
        tell("one stream alone", alone)
        text = b"".join(file.read_bytes() for file in sorted(ROOT.glob("*/*.py")))
        options = "model=own&hidden_size=256&max_seconds=600&evaluate_every=100"
        url = f"http://127.0.0.1:{port}"
        sent = urllib.request.Request(
            f"{url}/train?{options}", text, {"Content-Type": "text/plain"}
        )
        with urllib.request.urlopen(sent) as answer:
            job = json.load(answer)["id"]
        wait_for_progress(f"{url}/jobs/{job}/events")
        (reader,) = asyncio.run(read(port, path, 1, 3 * seconds))
        with urllib.request.urlopen(urllib.request.Request(f"{url}/jobs/{job}/cancel", b"")):
            pass
    gaps = np.diff(reader.times)
    speed = sum(reader.sizes()[1:]) / gaps.sum()
    tell("one stream while a job trains", speed, alone)
    high = 1e3 * np.percentile(gaps, 99)
    print(f"{'':34} gaps: median {1e3 * np.median(gaps):.0f} ms, p99 {high:.0f} ms")


def wait_for_progress(url: str) -> None:
    """Until a job tells of its first steps."""
    with urllib.request.urlopen(url) as events:
        for line in events:
            if line.startswith(b"event: progress"):
                return


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
    parts = {
        "one": one,
        "many": many,
        "primes": primes,
        "crowd": crowd,
        "stalled": stalled,
        "training": training,
    }
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

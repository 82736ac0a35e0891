"""Streams over HTTP: ours against a tutorial's server, in the same run, on the same sizes.

    python -m bench.serve [--hidden 512] [--seconds 8] [--only one many native …]

Everything runs on this machine, the clients too. Prints characters a second and ratios:

    one      one stream, ours (fast and exact) and the tutorial's; time to the first chunk
    many     128 streams, the sum: ours, the tutorial's, LitServe's, and the decoder alone
    primes   until the first text after a prime of 4,000 characters that is unknown, known, or 200
             longer than a known one; until the ends of 32 texts with one unknown prime
    native   one stream and 128 with the native step and without it, in turn
    crowd    500 streams of the same length: slowest to fastest reader, gaps between chunks
    stalled  20 streams alone and beside 500 readers who do not read; memory of each
    training one stream alone and while a job trains on the same cores; gaps between chunks
"""

import argparse
import asyncio
import json
import os
import socket
import urllib.request
from importlib.util import find_spec

import numpy as np

from bench.alone import Alone
from bench.load import first_text, read, request, throughput
from bench.naive import network_of
from bench.servers import ROOT, VOCABULARY, charloom_with_toy, litserve, tutorial

ROUNDS, PRIME = 5, 4_000


def plain_server(hidden_size: int, count: int, seconds: float) -> float:
    """Characters a second of a tutorial's server, with oneDNN or without, whichever suits it."""
    speeds = []
    for onednn in (True, False):
        with tutorial(hidden_size, onednn=onednn) as running:
            speeds.append(throughput(running.port, "/sample?length=1000000", count, seconds))
        how = "as torch comes" if onednn else "oneDNN off"
        tell(f"tutorial, {how}", speeds[-1])
    return max(speeds)


def one(hidden_size: int, seconds: float) -> None:
    plain = plain_server(hidden_size, 1, seconds)
    with charloom_with_toy(hidden_size) as running:
        port = running.port
        for precision in ("exact", "fast"):
            path = f"/sample?model=toy&length=1000000&precision={precision}"
            tell(f"ours, one stream, {precision}", throughput(port, path, 1, seconds), plain)
        waits = [first_text(port, "/sample?model=toy&length=100") for _ in range(50)]
    median, longest = 1e3 * float(np.median(waits)), 1e3 * max(waits)
    print(f"{'ours, until the first chunk':34} median {median:.0f} ms, longest {longest:.0f} ms")


def many(hidden_size: int, seconds: float) -> None:
    plain = plain_server(hidden_size, 128, seconds)
    with charloom_with_toy(hidden_size) as running:
        port = running.port
        path = "/sample?model=toy&length=1000000&precision=fast"
        speed = throughput(port, path, 128, seconds)
    tell("ours, 128 streams, fast", speed, plain)
    alone = Alone(network_of(hidden_size)).rate(128, seconds)
    tell("the decoder alone, 128 rows", alone)
    print(f"{'':34} HTTP keeps {speed / alone:.0%} of it")
    if find_spec("litserve"):
        with litserve(hidden_size) as running:
            body = json.dumps({"length": 1_000_000})
            batched = throughput(running.port, "/predict", 128, seconds, body)
        tell("LitServe, 128 streams", batched, plain)
        print(f"{'':34} ours are {speed / batched:.1f}× that")
    else:
        print("LitServe is not installed: pip install litserve")


def native(hidden_size: int, seconds: float) -> None:
    path = "/sample?model=toy&length=1000000&precision=fast"
    with (
        charloom_with_toy(hidden_size) as ours,
        charloom_with_toy(hidden_size, CHARLOOM_NATIVE="0") as without,
    ):
        for count in (1, 128):
            rates = [
                [throughput(running.port, path, count, seconds / 2) for running in (ours, without)]
                for _ in range(ROUNDS)
            ]
            step, graph = np.median(rates, axis=0)
            tell(f"{count} streams, native step", step, graph)
            ratios = [one / other for one, other in rates]
            print(f"{'':34} each round {min(ratios):.2f}–{max(ratios):.2f}× ONNX Runtime")


def primes(hidden_size: int, _seconds: float) -> None:
    """Each way once in each round, beside a server that remembers nothing."""
    with (
        charloom_with_toy(hidden_size) as remembering,
        charloom_with_toy(hidden_size, CHARLOOM_PRIME_MEMORY_BYTES="0") as forgetting,
    ):
        port, forgetful = remembering.port, forgetting.port
        waits: dict[str, list[float]] = {}
        for number in range(ROUNDS):
            prime = spoken(PRIME, number)
            for name, at, text in (
                ("not remembered", forgetful, prime),
                ("unknown", port, prime),
                ("known", port, prime),
                ("200 longer than a known one", port, prime + spoken(200, number)),
            ):
                waits.setdefault(name, []).append(first_text(at, "/sample", primed(text)))
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
    with charloom_with_toy(hidden_size) as running:
        port = running.port
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
    """The 500 wait at one of two servers, so that both ways take turns."""
    path = "/sample?model=toy&length=1000000&precision=fast"
    with charloom_with_toy(hidden_size) as free, charloom_with_toy(hidden_size) as beside:
        for running in (free, beside):
            throughput(running.port, path, 20, 1)
        before = beside.memory()
        sleepers = [sleeper(beside.port, path) for _ in range(500)]
        # Until the buffers of all are full, and their rows pause.
        beside.settle(patience=300)
        memory = (beside.memory() - before) / 500
        rates = [
            [throughput(running.port, path, 20, seconds / 2) for running in (beside, free)]
            for _ in range(ROUNDS)
        ]
        for waiting in sleepers:
            waiting.close()
    disturbed, alone = np.median(rates, axis=0)
    tell("20 streams alone", alone)
    tell("20 streams beside 500 stalled", disturbed, alone)
    ratios = sorted(one / other for one, other in rates)
    print(f"{'':34} each round {', '.join(f'{ratio:.2f}' for ratio in ratios)}× those alone")
    print(f"{'':34} {memory / 1024:.0f} KiB of the server's memory for each stalled one")


def sleeper(port: int, path: str) -> socket.socket:
    """A reader who does not read."""
    connected = socket.socket()
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connected.connect(("127.0.0.1", port))
    connected.sendall(request(path))
    return connected


def training(hidden_size: int, seconds: float) -> None:
    path = "/sample?model=toy&length=1000000&precision=fast"
    with charloom_with_toy(hidden_size, whole=True) as running:
        port = running.port
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


def tell(name: str, speed: float, base: float | None = None) -> None:
    ratio = f"  {speed / base:7.2f}×" if base else ""
    print(f"{name:34} {speed:12,.0f} characters/s{ratio}", flush=True)


def main() -> None:
    parts = {
        "one": one,
        "many": many,
        "native": native,
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

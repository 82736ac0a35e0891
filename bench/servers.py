"""Servers in processes of their own: ours, a tutorial's, and LitServe's; what memory they take.

Knows how they are started; not what is asked of them. Reads ``/proc``, so this is Linux only.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.load import read
from bench.naive import network_of
from models.checkpoints.card import Card
from models.checkpoints.format import Checkpoint
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.text.vocab import Vocabulary
from models.training.network import CharNetwork

VOCABULARY = 100
ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 120
SETTLED_SECONDS, SETTLED_SHARE = 0.2, 0.1
"""For how long a server that has settled takes no more than this share of a core."""

NO_REDIS = "redis://127.0.0.1:1/0"
"""Nobody listens on port 1."""

_ASCII = [0x0A, *range(0x1C, 0x7F)]
_BEYOND = 0x4E00


@dataclass(frozen=True, slots=True)
class Running:
    """A server that listens.

    Attributes:
        pid: the process that started all others of it.
        began: when that was, of ``time.perf_counter``.
        seconds: from then until it listened.
        data: its data directory, of ours.
    """

    port: int
    pid: int
    began: float
    seconds: float
    data: Path

    def memory(self) -> int:
        """Returns the bytes of all its processes: files that several have mapped count once."""
        anonymous, files = 0, 0
        for pid in _tree(self.pid):
            parts = _status(pid)
            anonymous += parts.get("RssAnon", 0) + parts.get("RssShmem", 0)
            files = max(files, parts.get("RssFile", 0))
        return anonymous + files

    def seconds_of_work(self) -> float:
        """Returns the core seconds that its processes have taken."""
        return sum(map(_work, _tree(self.pid)))

    def settle(self, patience: float = 60) -> None:
        """Waits until it has nothing to do: one may go on for readers who are gone."""
        deadline = time.monotonic() + patience
        before = self.seconds_of_work()
        while time.monotonic() < deadline:
            time.sleep(SETTLED_SECONDS)
            now = self.seconds_of_work()
            is_quiet = now - before <= SETTLED_SHARE * SETTLED_SECONDS
            # On a busy machine, one that has work may have to wait for a core.
            if is_quiet and not any(map(_wants_a_core, _tree(self.pid))):
                return
            before = now


def _tree(root: int) -> list[int]:
    """Returns a process and all that it started, directly or not."""
    children = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(stat.read_text().rpartition(") ")[2].split()[1])
            children[parent].append(int(stat.parent.name))
    found = [root]
    # Grows while it is read.
    for pid in found:
        found += children[pid]
    return found


def _work(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _wants_a_core(pid: int) -> bool:
    """Returns whether any thread of a process runs, or waits for a core."""
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):
            if stat.read_text().rpartition(") ")[2].startswith("R"):
                return True
    return False


def _status(pid: int) -> dict[str, int]:
    """Returns bytes by the name that ``/proc/PID/status`` has for them."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    words = [line.split() for line in lines]
    return {w[0].rstrip(":"): int(w[1]) << 10 for w in words if len(w) == 3 and w[2] == "kB"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(
    command: list[str], port: int, environment: Mapping[str, str], data: Path = ROOT
) -> Iterator[Running]:
    """A server process, once it listens.

    Raises:
        RuntimeError: it ended, or does not listen in time; with what it wrote to standard error.
    """
    with tempfile.TemporaryFile("w+") as complaints:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    complaints.seek(0)
                    raise RuntimeError(f"a server does not listen: {complaints.read()[-2000:]}")
                time.sleep(0.005)
            yield Running(port, process.pid, began, time.perf_counter() - began, data)
        finally:
            # Not asked to end: one that works in its event loop would not hear of it.
            for pid in _tree(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def vocabulary(size: int) -> Vocabulary:
    """Returns one of ASCII, and of Chinese characters where that does not suffice."""
    rest = range(_BEYOND, _BEYOND + max(0, size - len(_ASCII)))
    return Vocabulary("characters", [*_ASCII[:size], *rest])


def publish(data: Path, name: str, network: CharNetwork) -> None:
    """Publishes an untrained network in a data directory, as a model that may decode in int8."""
    card: Card = {"val_loss": 1.0, "precision": {"exact": 1.0, "fast": 1.0}}
    symbols = vocabulary(network.config.vocabulary_size)
    checkpoint = Checkpoint(network.config, symbols, network.export(), card, [], b"")
    Registry(data / "models").publish(Reference(name), checkpoint)


@contextmanager
def charloom(
    networks: Mapping[str, CharNetwork], *, whole: bool = False, **more: str
) -> Iterator[Running]:
    """Our server with models by their names.

    Args:
        networks: the models.
        whole: adds a worker and Redis, as ``up`` does.
        more: variables of its environment.
    """
    with tempfile.TemporaryDirectory() as directory:
        data, port = Path(directory), free_port()
        for name, network in networks.items():
            publish(data, name, network)
        environment = {"CHARLOOM_DATA": directory, "CHARLOOM_PORT": str(port), **more}
        command = [sys.executable, "-m", "app.cli", "up"]
        if not whole:
            command = [sys.executable, "-m", "app"]
            environment["CHARLOOM_REDIS_URL"] = NO_REDIS
        with server(command, port, environment, data) as running:
            yield running


@contextmanager
def charloom_with_toy(hidden_size: int, *, whole: bool = False, **more: str) -> Iterator[Running]:
    """Our server with one model, ``toy``, which has written; ``more`` are of its environment."""
    with charloom({"toy": network_of(hidden_size)}, whole=whole, **more) as running:
        asyncio.run(read(running.port, "/sample?model=toy&length=100", 1, None))
        yield running


@contextmanager
def tutorial(hidden_size: int, *, onednn: bool, threads: int | None = None) -> Iterator[Running]:
    """A tutorial's server."""
    port = free_port()
    code = (
        "import torch, uvicorn; from bench.naive import tutorial_app; "
        f"torch.backends.mkldnn.enabled = {onednn}; "
        f"app = tutorial_app({VOCABULARY}, {hidden_size}); "
        f"uvicorn.run(app, port={port}, log_level='error')"
    )
    with server([sys.executable, "-c", code], port, _limited(threads)) as running:
        yield running


@contextmanager
def litserve(hidden_size: int, *, threads: int | None = None) -> Iterator[Running]:
    """LitServe's, in batches of up to 128; it writes each to its end, whoever still reads."""
    port = free_port()
    code = f"from bench.batched import run; run({VOCABULARY}, {hidden_size}, {port}, 128)"
    with server([sys.executable, "-c", code], port, _limited(threads)) as running:
        yield running


def _limited(threads: int | None) -> dict[str, str]:
    """Returns the environment in which torch takes so many threads, or as many as it likes."""
    return {} if threads is None else {"OMP_NUM_THREADS": str(threads)}

"""Fixtures: a real Redis-protocol server, a data directory, a small corpus, a worker."""

import json
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import redis

from app.supervisor.valkey import EmbeddedRedis
from models.config import NetworkConfig
from tests.buckets import URL, S3Server
from tests.support import (
    TOY,
    Horses,
    MakeJob,
    SmallDisk,
    StartWorker,
    WorkerProcess,
    queue_at,
)
from worker.corpora import CorpusStore
from worker.data import DataDirectory
from worker.jobs import Job, JobStore
from worker.queue import Queue
from worker.settings import WorkerSettings
from worker.storage import bucket as objects
from worker.storage import mirror, shipping
from worker.storage.opening import open_storage

# What tests start keeps its bytecode, as it does elsewhere: else each process compiles it anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Threads that share a core wait for each other, and spin meanwhile. Read when torch is loaded.
os.environ["OMP_NUM_THREADS"] = "1"

# In the background SIGINT is ignored, and so it would be by all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

WAITING = ("worker", "whole", "terminal", "pages", "essay")
"""Folders whose tests start processes, and wait for them."""


def pytest_xdist_auto_num_workers() -> int:
    """Half again as many as there are cores, which are idle while tests wait."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return math.ceil(1.5 * (cores or 1))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first: with short files at the end, all workers end together."""
    items.sort(key=lambda item: item.path.parent.name not in WAITING)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips from one place, so that a summary has one line for all tests that need a GPU."""
    if item.get_closest_marker("cuda"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no GPU of CUDA here")


def pytest_addoption(parser: pytest.Parser) -> None:
    ours = parser.getgroup("charloom")
    ours.addoption("--kills", type=int, default=50, help="of -m chaos, in all")
    ours.addoption("--seed", type=int, help="of -m chaos: the same kills again")
    ours.addoption("--rewrite-docs", action="store_true", help="writes docs/commands.md anew")
    ours.addoption("--soak-seconds", type=int, default=600, help="of -m soak, of traffic")
    ours.addoption("--fuzz-seconds", type=int, default=20, help="of -m fuzz, for each target")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> str:
    """An empty server."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A server that the test may kill, and start again at the same address."""
    with EmbeddedRedis(tmp_path_factory.mktemp("own-redis")) as server:
        yield server


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An empty data directory."""
    directory = tmp_path / "data"
    directory.mkdir()
    return directory


@pytest.fixture
def settings(data: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> WorkerSettings:
    """A worker's settings, which are in the environment too."""
    monkeypatch.setenv("CHARLOOM_DATA", str(data))
    monkeypatch.setenv("CHARLOOM_REDIS_URL", redis_url)
    monkeypatch.setenv("CHARLOOM_THREADS", "1")
    return WorkerSettings.from_environment()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """An empty bucket, which the environment names; nobody waits long for it."""
    for module, name in (
        (objects, "PROBE_SECONDS"),
        (mirror, "FRESH"),
        (shipping, "EVERY"),
    ):
        monkeypatch.setattr(module, name, 0.05)
    with S3Server().running() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def host(bucket: S3Server, tmp_path: Path) -> Callable[[str], DataDirectory]:
    """Makes the directory of a host with a disk of its own, by its name."""
    assert not bucket.objects

    def made(name: str) -> DataDirectory:
        return open_storage(DataDirectory(tmp_path / name), URL, 1 << 30)

    return made


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A file system of its own; where none may be mounted, the test is skipped."""
    disk = SmallDisk(tmp_path / "disk")
    if not disk.mount():
        pytest.skip("nobody but root may mount a small disk")
    yield disk
    disk.unmount()


@pytest.fixture
def queue(redis_url: str, data: Path) -> Queue:
    return queue_at(redis_url, data)


@pytest.fixture
def store(data: Path) -> JobStore:
    return JobStore(data / "jobs")


@pytest.fixture
def job(store: JobStore) -> Job:
    """A job that waits; its corpus is nowhere."""
    return store.create("linux", "c" * 64, {}, None)[0]


@pytest.fixture
def toy_corpus(data: Path) -> str:
    """The id of a small corpus in the data directory."""
    corpora = CorpusStore(data / "corpora")
    with corpora.upload() as upload:
        upload.write(TOY.encode())
        corpus_id, _ = corpora.add(upload, "characters")
    return corpus_id


@pytest.fixture
def make_job(store: JobStore, toy_corpus: str, data: Path) -> MakeJob:
    """Makes a job of the toy corpus, whose plan is the same each time rather than measured.

    It draws samples only if it is asked to: each takes as long as some hundred steps.
    """
    from models.options import Hyperparameters, TrainingOptions
    from models.styles import distinct
    from models.training.planning import Plan

    vocabulary_size = CorpusStore(data / "corpora").scan(toy_corpus, "characters").report.distinct

    def make(model: str = "toy", *, dropout: float = 0.0, **options: object) -> Job:
        options = {"sample_at": [], **options}
        job, _ = store.create(model, toy_corpus, dict(options), None)
        styles = distinct(TrainingOptions.from_json(job.spec["options"]).parts)
        config = NetworkConfig(
            vocabulary_size, num_layers=2, hidden_size=16, dropout=dropout, styles=styles
        )
        training = {"batch_size": 8, "sequence_length": 32, "max_steps": 40, "evaluate_every": 20}
        known = Hyperparameters.__dataclass_fields__
        training |= {k: v for k, v in options.items() if k in known}  # type: ignore[misc]
        plan = Plan(config, Hyperparameters(**training), 0.1)  # type: ignore[arg-type]
        saved = {"asked": job.spec["options"], "plan": plan.to_json(), "init_from": None}
        (job.directory / "plan.json").write_text(json.dumps(saved))
        return job

    return make


@pytest.fixture
def horses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Horses:
    """Of workers that are started after this."""
    horses = Horses(tmp_path / "horses")
    monkeypatch.setenv("PYTHONPATH", str(horses.directory))
    return horses


@pytest.fixture
def start_worker(settings: WorkerSettings, tmp_path: Path) -> Iterator[StartWorker]:
    """Starts workers; those that still run after the test are ended."""
    workers: list[WorkerProcess] = []

    def start(prefix: Sequence[str] = ()) -> WorkerProcess:
        log = tmp_path / f"worker-{len(workers)}.log"
        workers.append(WorkerProcess(settings, log, prefix))
        return workers[-1]

    yield start
    for worker in workers:
        if worker.process.poll() is None:
            worker.kill()


@pytest.fixture
def worker(start_worker: StartWorker) -> WorkerProcess:
    """A running worker."""
    return start_worker()

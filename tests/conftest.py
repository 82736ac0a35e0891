"""What tests share: a real Redis-protocol server, a data directory, a small text, a worker."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from app.supervisor.valkey import EmbeddedRedis
from models.config import NetworkConfig
from worker.corpora import CorpusStore
from worker.events import Event
from worker.jobs import Job, JobStore
from worker.queue import Queue
from worker.settings import Settings

# In the background SIGINT is ignored, and so it would be by all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent

TOY = "".join(
    f"{number} green bottles, hanging on the wall;\nif one should fall, how many? {number - 1}!\n"
    for number in range(100, 0, -1)
)
"""Some 7,500 characters that a very small network learns a little of."""


def pytest_addoption(parser: pytest.Parser) -> None:
    ours = parser.getgroup("charloom")
    ours.addoption("--kills", type=int, default=50, help="of -m chaos, in all")
    ours.addoption("--seed", type=int, help="of -m chaos: the same kills again")
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
def data(tmp_path: Path) -> Path:
    """An empty data directory."""
    directory = tmp_path / "data"
    directory.mkdir()
    return directory


@pytest.fixture
def settings(data: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A worker's settings, which are in the environment too."""
    monkeypatch.setenv("CHARLOOM_DATA", str(data))
    monkeypatch.setenv("CHARLOOM_REDIS_URL", redis_url)
    monkeypatch.setenv("CHARLOOM_THREADS", "1")
    return Settings.from_environment()


@pytest.fixture
def queue(redis_url: str) -> Queue:
    return Queue(redis_url)


@pytest.fixture
def store(data: Path) -> JobStore:
    return JobStore(data / "jobs")


@pytest.fixture
def toy_corpus(data: Path) -> str:
    """The id of a small corpus in the data directory."""
    corpora = CorpusStore(data / "corpora")
    with corpora.upload() as upload:
        upload.write(TOY.encode())
        corpus_id, _ = corpora.add(upload, "characters")
    return corpus_id


MakeJob = Callable[..., Job]


@pytest.fixture
def make_job(store: JobStore, toy_corpus: str, data: Path) -> MakeJob:
    """Makes a job of the toy corpus, whose plan is the same each time rather than measured."""
    from models.training.planning import Plan
    from models.training.trainer import TrainingOptions

    vocabulary_size = CorpusStore(data / "corpora").scan(toy_corpus, "characters").report.distinct

    def make(model: str = "toy", *, dropout: float = 0.0, **options: object) -> Job:
        job, _ = store.create(model, toy_corpus, dict(options), None)
        config = NetworkConfig(vocabulary_size, num_layers=2, hidden_size=16, dropout=dropout)
        training = {"batch_size": 8, "sequence_length": 32, "max_steps": 40, "evaluate_every": 20}
        known = TrainingOptions.__dataclass_fields__
        training |= {k: v for k, v in options.items() if k in known}  # type: ignore[misc]
        plan = Plan(config, TrainingOptions(**training), 0.1)  # type: ignore[arg-type]
        saved = {"asked": job.spec["options"], "plan": plan.to_json(), "init_from": None}
        (job.directory / "plan.json").write_text(json.dumps(saved))
        return job

    return make


def events_until(
    queue: Queue, job: Job, enough: Callable[[Event], bool], after: int = 0, timeout: float = 60
) -> list[Event]:
    """A job's events as a follower gets them, up to the first that is enough, or the last."""

    async def follow() -> list[Event]:
        seen = []
        events = queue.events.follow(job, after)
        try:
            async with asyncio.timeout(timeout):
                async for event in events:
                    seen.append(event)
                    if enough(event):
                        break
        finally:
            await events.aclose()
        return seen

    return asyncio.run(follow())


def all_events(queue: Queue, job: Job, timeout: float = 60) -> list[Event]:
    return events_until(queue, job, lambda event: False, timeout=timeout)


@dataclass
class WorkerProcess:
    """A real worker, and what it printed."""

    settings: Settings
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker"], cwd=ROOT, stdout=output, stderr=output
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> str:
        return self.log.read_text()

    def horses(self) -> list[int]:
        """Its children's pids."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def terminate(self, timeout: float = 10) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


StartWorker = Callable[[], WorkerProcess]


@pytest.fixture
def start_worker(settings: Settings, tmp_path: Path) -> Iterator[StartWorker]:
    """Starts workers; those that still run after the test are ended."""
    workers: list[WorkerProcess] = []

    def start() -> WorkerProcess:
        workers.append(WorkerProcess(settings, tmp_path / f"worker-{len(workers)}.log"))
        return workers[-1]

    yield start
    for worker in workers:
        if worker.process.poll() is None:
            worker.kill()


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        # The latter where it ends between the opening and the reading.
        return False
    return state != "Z"

"""The worker as a program: light, nice, silent about secrets, patient with Redis."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from app.supervisor.valkey import EmbeddedRedis
from tests.serving import eventually
from tests.support import (
    NOWHERE,
    ROOT,
    Horses,
    MakeJob,
    StartWorker,
    WorkerProcess,
    all_events,
    events_until,
    queue_at,
)
from tests.training import LONG, is_at
from worker.jobs import Job, JobStore
from worker.queue import Queue
from worker.reconciler import Reconciler
from worker.settings import WorkerSettings


@pytest.mark.parametrize("module", ["worker.queue", "worker.trainer.rq_worker", "worker.__main__"])
def test_neither_server_nor_worker_imports_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_worker_does_without_numpy() -> None:
    """It only hands jobs on: numpy would cost it memory, and threads that take signals."""
    code = "import sys, worker.__main__; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_without_an_address_the_worker_says_so_in_a_line(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "CHARLOOM_REDIS_URL"}
    ended = subprocess.run(
        [sys.executable, "-m", "worker"],
        cwd=ROOT,
        env=environment | {"CHARLOOM_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == os.EX_CONFIG
    assert ended.stderr.startswith("worker: CHARLOOM_REDIS_URL is not set")
    assert ended.stderr.count("\n") == 1


LOSING = """
import os, signal, sys
from worker import __main__ as program
from worker.trainer.rq_worker import TrainingWorker

class Destructor:
    def __del__(self):
        # The handler runs here, and what it raises ends here.
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            pass

def losing(self, *arguments):
    result = before(self, *arguments)
    Destructor()
    print("lost", flush=True)
    return result

name = sys.argv[1]
before = getattr(TrainingWorker, name)
setattr(TrainingWorker, name, losing)
program.main()
"""


@pytest.mark.parametrize("moment", ["subscribe", "run_maintenance_tasks", "execute_job"])
def test_a_signal_that_comes_in_a_destructor_counts(
    moment: str, settings: WorkerSettings, job: Job, horses: Horses, queue: Queue
) -> None:
    """Before RQ listens, between jobs, and at the end of one."""
    horses.finish(job)
    queue.enqueue(job.id)
    ended = subprocess.run(
        [sys.executable, "-c", LOSING, moment],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert settings.redis_url and ended.stdout.count("lost") == 1
    assert "Traceback" not in ended.stderr


def test_a_worker_waits_for_redis_and_can_be_stopped_meanwhile(tmp_path: Path) -> None:
    environment = os.environ | {"CHARLOOM_REDIS_URL": NOWHERE, "CHARLOOM_DATA": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-m", "worker"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stdout
        assert "waiting for Redis" in worker.stdout.readline()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0


def test_the_worker_is_light_and_nice_and_hides_the_address_of_redis(
    worker: WorkerProcess, make_job: MakeJob, queue: Queue, redis_url: str
) -> None:
    """While a job trains, and after it."""
    job = make_job(**LONG)
    queue.enqueue(job.id)
    events_until(queue, job, is_at(1))
    for pid in (worker.pid, *worker.horses()):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert redis_url.removeprefix("unix://").encode() not in command
    job.request_cancel()
    all_events(queue, job)
    assert "libtorch" not in Path(f"/proc/{worker.pid}/maps").read_text()
    assert os.getpriority(os.PRIO_PROCESS, worker.pid) >= 10


def test_an_outage_of_redis_is_none_of_training(
    own_redis: EmbeddedRedis,
    make_job: MakeJob,
    horses: Horses,
    start_worker: StartWorker,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHARLOOM_REDIS_URL", own_redis.url)
    queue = queue_at(own_redis.url, data)
    job = make_job(**LONG)
    queue.enqueue(job.id)
    worker = start_worker()
    seen = events_until(queue, job, is_at(1))
    (horse,) = worker.horses()
    assert own_redis.process
    own_redis.process.kill()
    own_redis.process.wait()
    # Longer than the worker leaves between two heartbeats.
    later = seen[-1].data["elapsed_seconds"] + 6
    during = events_until(queue, job, lambda e: e.data.get("elapsed_seconds", 0) > later)
    assert worker.horses() == [horse]
    own_redis.start()
    events_until(queue, job, is_at(1), after=during[-1].id)
    assert worker.horses() == [horse]
    job.request_cancel()
    assert all_events(queue, job)[-1].data["status"] == "cancelled"
    following = make_job("other")
    horses.finish(following)
    queue.enqueue(following.id)
    assert all_events(queue, following)[-1].data["status"] == "finished"


def test_a_redis_that_forgets_everything_takes_no_job_along(
    horses: Horses,
    start_worker: StartWorker,
    make_job: MakeJob,
    queue: Queue,
    store: JobStore,
    redis_url: str,
) -> None:
    worker = start_worker()
    running, waiting = make_job(**LONG), make_job("other")
    horses.finish(waiting)
    queue.enqueue(running.id)
    seen = events_until(queue, running, is_at(1))
    (horse,) = worker.horses()
    queue.enqueue(waiting.id)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    assert Reconciler(queue, store).reconcile(0) == [waiting.id]
    assert eventually(lambda: queue.leases.holder(running.id), 60)
    events_until(queue, running, is_at(1), after=seen[-1].id)
    assert worker.horses() == [horse]
    running.request_cancel()
    all_events(queue, running)
    assert all_events(queue, waiting)[-1].data["status"] == "finished"

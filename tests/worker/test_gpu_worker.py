"""A worker whose GPU fails puts its job back, takes no other, and resumes once the GPU is back."""

from pathlib import Path

import pytest

from tests.nvml import Driver, h200
from tests.serving import eventually
from tests.support import MakeJob, StartWorker, all_events, events_until
from tests.training import LONG, error_of, is_at, notices
from worker import gpus
from worker.queue import Queue
from worker.vitals import Vitals

LOST = f"No CUDA GPUs are available ({gpus.VISIBLE}={h200(1)['id']})"

PATIENCE = 300
"""Seconds: each change takes a start of torch or two."""


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Of workers that are started after this: a GPU, for which the processor stands."""
    driver = Driver(tmp_path / "driver")
    driver.has(h200(1))
    driver.pretend_cuda()
    monkeypatch.setenv(gpus.VISIBLE, h200(1)["id"])
    for name, value in driver.environment.items():
        monkeypatch.setenv(name, value)
    return driver


def told(queue: Queue, trouble: str | None) -> Vitals:
    """What the one worker tells once it has that trouble; it falls silent where others compute."""

    def found() -> Vitals | None:
        return next((one for one in queue.vitals.all() if one.trouble == trouble), None)

    vitals: Vitals = eventually(found, PATIENCE)
    return vitals


def test_a_job_outlives_its_gpu(
    driver: Driver, make_job: MakeJob, queue: Queue, start_worker: StartWorker
) -> None:
    job = make_job(**LONG)
    queue.enqueue(job.id)
    (driver.directory / "lost").touch()
    worker = start_worker()
    told(queue, LOST)
    assert (queue.waiting(), queue.workers()) == ([job.id], 0)
    (driver.directory / "lost").unlink()
    seen = events_until(queue, job, is_at(1), timeout=PATIENCE)
    assert [gpu.name for gpu in told(queue, None).gpus] == ["NVIDIA H200"]

    # From here on Xid 79, say: a step fails, and CUDA finds no GPU.
    driver.has(h200(1, lost=True))
    (driver.directory / "fails").touch()
    told(queue, LOST)
    assert job.status() == "paused"
    assert error_of(job)["title"] == "The GPU failed"
    assert "“CUDA error: unspecified launch failure”" in error_of(job)["detail"]
    assert "attempt 2 of 10" in notices(job.events(), "setback")[0]["text"]
    eventually(lambda: told(queue, LOST).gpus == [], PATIENCE)
    waiting = make_job("other")
    queue.enqueue(waiting.id)
    said = f"waiting for the GPU: {LOST}. To train on the processor, start the worker with"
    assert said in worker.said()
    # It is no worker of whom anybody hopes that it takes a job.
    assert queue.workers() == 0
    assert queue.waiting() == [waiting.id]

    driver.has(h200(1))
    (driver.directory / "lost").unlink()
    events_until(
        queue, job, is_at(seen[-1].data["step"] + 1), after=job.events()[-1].id, timeout=PATIENCE
    )
    assert "the GPU computes again" in worker.said()
    told(queue, None)
    job.request_cancel()
    assert all_events(queue, job)[-1].data["status"] == "cancelled"
    assert all_events(queue, waiting, PATIENCE)[-1].data["status"] == "finished"
    assert worker.terminate() == 0
    assert queue.vitals.all() == []

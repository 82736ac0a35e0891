"""A worker whose GPU fails puts its job back, takes no other, and resumes once the GPU is back."""

from pathlib import Path

import pytest

from tests.nvml import Driver, h200
from tests.serving import eventually
from tests.support import MakeJob, StartWorker, all_events, events_until
from tests.training import LONG, error_of, is_at, notices
from worker import gpus
from worker.queue import Queue

LOST = f"No CUDA GPUs are available ({gpus.VISIBLE}={h200(1)['id']})"


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


def test_a_job_outlives_its_gpu(
    driver: Driver, make_job: MakeJob, queue: Queue, start_worker: StartWorker
) -> None:
    job = make_job(**LONG)
    queue.enqueue(job.id)
    (driver.directory / "lost").touch()
    worker = start_worker()
    eventually(lambda: [one.trouble for one in queue.vitals.all()] == [LOST])
    assert (queue.waiting(), queue.workers()) == ([job.id], 0)
    (driver.directory / "lost").unlink()
    seen = events_until(queue, job, is_at(1))
    assert [one.trouble for one in queue.vitals.all()] == [None]
    assert [gpu.name for one in queue.vitals.all() for gpu in one.gpus] == ["NVIDIA H200"]

    # From here on Xid 79, say: a step fails, and CUDA finds no GPU.
    driver.has(h200(1, lost=True))
    (driver.directory / "fails").touch()
    eventually(lambda: [one.trouble for one in queue.vitals.all()] == [LOST])
    assert job.status() == "paused"
    assert error_of(job)["title"] == "The GPU failed"
    assert "“CUDA error: unspecified launch failure”" in error_of(job)["detail"]
    assert "attempt 2 of 10" in notices(job.events(), "setback")[0]["text"]
    eventually(lambda: queue.vitals.all()[0].gpus == [])
    waiting = make_job("other")
    queue.enqueue(waiting.id)
    said = f"waiting for the GPU: {LOST}. To train on the processor, start the worker with"
    assert said in worker.said()
    # It is no worker of whom anybody hopes that it takes a job.
    assert queue.workers() == 0
    assert (queue.waiting(), worker.horses()) == ([waiting.id], [])

    driver.has(h200(1))
    (driver.directory / "lost").unlink()
    events_until(queue, job, is_at(seen[-1].data["step"] + 1), after=job.events()[-1].id)
    assert "the GPU computes again" in worker.said()
    assert [one.trouble for one in queue.vitals.all()] == [None]
    job.request_cancel()
    assert all_events(queue, job)[-1].data["status"] == "cancelled"
    assert all_events(queue, waiting)[-1].data["status"] == "finished"
    assert worker.terminate() == 0
    assert queue.vitals.all() == []

"""A cancel or a signal puts work down, also work that does not look."""

import time

import pytest

from tests.serving import eventually
from tests.support import MakeJob, all_events, events_until
from tests.training import LONG, is_at, state
from worker.jobs import JobStore
from worker.queue import Queue
from worker.trainer import attempt


@pytest.mark.usefixtures("worker")
def test_a_cancel_ends_a_running_job_within_two_seconds(
    make_job: MakeJob, queue: Queue, store: JobStore
) -> None:
    job = make_job(**LONG)
    queue.enqueue(job.id)
    events_until(queue, job, is_at(1))
    began = time.monotonic()
    assert job.request_cancel() is None
    end = all_events(queue, job)[-1]
    assert time.monotonic() - began < 2
    assert end.data == {"status": "cancelled", "error": None}
    assert job.status() == "cancelled"

    # It can go on from there, and the worker is free for others.
    step = state(job)[1]["step"]
    job = store.resume(job.id, {})
    queue.enqueue(job.id)
    (progress,) = events_until(queue, job, is_at(1), after=end.id)
    assert progress.data["step"] == step + 1
    job.request_cancel()
    all_events(queue, job)


@pytest.mark.usefixtures("worker")
def test_a_cancel_need_not_wait_for_the_first_step(make_job: MakeJob, queue: Queue) -> None:
    job = make_job(**LONG)
    queue.enqueue(job.id)
    eventually(job.is_locked, 60)
    began = time.monotonic()
    job.request_cancel()
    assert [event.event for event in all_events(queue, job)] == ["end"]
    assert time.monotonic() - began < 2


@pytest.mark.usefixtures("settings")
def test_a_cancel_interrupts_what_does_not_look(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(max_steps=40, evaluate_every=20)

    def endless(*_arguments: object) -> float:
        job.request_cancel()
        while True:
            time.sleep(0.01)

    monkeypatch.setattr("models.training.trainer.evaluate", endless)
    began = time.monotonic()
    assert attempt.run(job.id) is None
    assert time.monotonic() - began < 3
    assert job.status() == "cancelled"

"""The process that trains: killed or told to stop, its job continues bit for bit."""

import pytest

from tests.support import MakeJob, StartWorker, WorkerProcess, all_events, events_until
from tests.training import (
    LONG,
    assert_same_training,
    evaluation_at,
    is_at,
    kill_horse,
    last_id,
    state,
    wait_for_death,
)
from worker.queue import Queue
from worker.trainer import attempt


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_put_down_by_sigterm_it_goes_on_bit_by_bit(
    precision: str, start_worker: StartWorker, make_job: MakeJob, queue: Queue
) -> None:
    options = {
        "max_steps": 500,
        "evaluate_every": 100,
        "sample_at": [150],
        "dropout": 0.2,
        "precision": precision,
    }
    undisturbed = make_job("undisturbed", **options)
    assert attempt.run(undisturbed.id) is None

    job = make_job("disturbed", **options)
    queue.enqueue(job.id)
    worker = start_worker()
    events_until(queue, job, is_at(200))
    assert worker.terminate() == 0
    assert job.status() == "queued"
    assert queue.waiting() == [job.id]
    stopped_at = state(job)[1]["step"]
    assert 200 <= stopped_at < 500

    start_worker()
    assert all_events(queue, job)[-1].data["status"] == "finished"
    assert_same_training(job, undisturbed, queue)


def test_killed_with_its_worker_it_goes_on_bit_by_bit(
    start_worker: StartWorker, make_job: MakeJob, queue: Queue
) -> None:
    options = {"max_steps": 500, "evaluate_every": 100, "sample_at": [150], "dropout": 0.2}
    undisturbed = make_job("undisturbed", **options)
    assert attempt.run(undisturbed.id) is None

    job = make_job("disturbed", **options)
    queue.enqueue(job.id)
    worker = start_worker()
    events_until(queue, job, evaluation_at(200))
    (horse,) = worker.horses()
    worker.kill()
    wait_for_death(horse)
    # The kernel closes a dead process's files when the last of its threads is gone.
    with job.lock(patience=5) as released:
        assert released

    start_worker()
    events_until(queue, job, is_at(1), after=last_id(job))
    assert all_events(queue, job)[-1].data["status"] == "finished"
    assert_same_training(job, undisturbed, queue)


def test_a_killed_horse_is_replaced_soon(
    worker: WorkerProcess, make_job: MakeJob, queue: Queue
) -> None:
    job = make_job(**LONG)
    queue.enqueue(job.id)
    events_until(queue, job, is_at(1))
    (horse,) = worker.horses()
    kill_horse(horse)
    events_until(queue, job, is_at(1), after=last_id(job))
    assert worker.horses() != [horse]
    assert job.status() == "running"
    job.request_cancel()
    all_events(queue, job)


def test_a_job_that_kills_its_horse_thrice_in_one_place_has_failed(
    worker: WorkerProcess, make_job: MakeJob, queue: Queue
) -> None:
    job = make_job(**LONG)
    queue.enqueue(job.id)
    for _ in range(3):
        events_until(queue, job, is_at(1), after=last_id(job))
        (horse,) = worker.horses()
        kill_horse(horse)
    end = all_events(queue, job)[-1]
    assert end.data["status"] == "failed"
    assert end.data["error"]["title"] == "The training process was killed"

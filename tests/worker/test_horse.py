"""The process that trains: killed or told to stop, its job continues bit for bit."""

from tests.support import MakeJob, StartWorker, WorkerProcess, all_events, events_until
from tests.training import (
    LONG,
    assert_same_training,
    is_at,
    kill_horse,
    last_id,
    state,
    wait_for_death,
)
from worker.queue import Queue
from worker.trainer import attempt


def test_put_down_by_sigterm_and_killed_with_its_worker_it_goes_on_bit_by_bit(
    start_worker: StartWorker, make_job: MakeJob, queue: Queue
) -> None:
    options = {"max_steps": 600, "evaluate_every": 100, "sample_at": [150], "dropout": 0.2}
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
    assert 200 <= stopped_at < 600

    worker = start_worker()
    events_until(queue, job, is_at(stopped_at + 1), after=last_id(job))
    (horse,) = worker.horses()
    worker.kill()
    wait_for_death(horse)
    # The kernel closes a dead process's files when the last of its threads is gone.
    with job.lock(patience=5) as released:
        assert released

    start_worker()
    assert all_events(queue, job)[-1].data["status"] == "finished"
    assert_same_training(job, undisturbed, queue)


def test_a_killed_horse_is_replaced_and_a_job_that_kills_three_in_one_place_has_failed(
    worker: WorkerProcess, make_job: MakeJob, queue: Queue
) -> None:
    job = make_job(**LONG)
    queue.enqueue(job.id)
    killed = []
    for _ in range(3):
        events_until(queue, job, is_at(1), after=last_id(job))
        (horse,) = worker.horses()
        assert job.status() == "running" and horse not in killed
        kill_horse(horse)
        killed.append(horse)
    end = all_events(queue, job)[-1]
    assert end.data["status"] == "failed"
    assert end.data["error"]["title"] == "The training process was killed"

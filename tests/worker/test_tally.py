"""Attempts in vain are counted, whoever sees their end; what follows is a pause, then the end."""

import time

import pytest

from tests.training import error_of, notices, rest_at
from worker.jobs import Job, JobStore
from worker.queue import Queue
from worker.reconciler import Reconciler
from worker.trainer import generations, tally
from worker.trainer.failures import Death

DEATH = Death("Dead", "It died", said="of this", advice="Do that.")


def died(job: Job, queue: Queue, death: Death = DEATH) -> bool:
    """An attempt from its beginning to its death; whether it is to be tried again at once."""
    with job.lock():
        assert tally.begin(job) is None
        return tally.count(job, queue.events, death)


def test_the_third_death_in_one_place_is_the_end(job: Job, queue: Queue) -> None:
    for number in (2, 3):
        assert not died(job, queue)
        assert job.status() == "paused"
        assert error_of(job)["title"] == "Dead"
        assert (
            f"resumes by itself after {4 ** (number - 2)} s: attempt {number} of 3"
            in (error_of(job)["detail"])
        )
    assert not died(job, queue)
    assert job.status() == "failed"
    assert error_of(job)["detail"] == (
        "It died, three times in a row before a step was saved. Do that. It said last: “of this”. "
        f"When the cause is removed, resume it with POST /jobs/{job.id}/resume."
    )
    assert len(notices(job.events(), "setback")) == 2
    assert job.events()[-1].data == {"status": "failed", "error": error_of(job)}


def test_a_gpu_that_fails_is_no_fault_of_the_job_but_not_for_ever(job: Job, queue: Queue) -> None:
    lost = Death.by_gpu("CUDA error: unspecified launch failure")
    # What else goes wrong is counted apart.
    assert not died(job, queue) and not tally.ended_by_gpu(job)
    for number in range(2, 11):
        assert not died(job, queue, lost)
        assert tally.ended_by_gpu(job)
        assert error_of(job)["title"] == "The GPU failed"
        assert f": attempt {number} of 10." in error_of(job)["detail"]
    assert not died(job, queue, lost)
    assert job.status() == "failed"
    assert "The GPU failed, ten times in a row before" in error_of(job)["detail"]
    assert "“CUDA error: unspecified launch failure”" in error_of(job)["detail"]


def test_a_pause_lasts_and_survives_a_restart(
    job: Job, queue: Queue, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    died(job, queue)
    now = time.time()
    monkeypatch.setattr("worker.reconciler.time.time", lambda: now)
    assert Reconciler(queue, store).reconcile(0) == []
    now += 1.5
    assert Reconciler(queue, store).reconcile(0) == [job.id]
    queue.forget(job.id)
    now -= 10_000
    # The clock was set back: a pause is never that long.
    assert Reconciler(queue, store).reconcile(0) == [job.id]


def test_an_attempt_that_got_further_is_repeated_at_once(job: Job, queue: Queue) -> None:
    for step in (5, 6, 7, 8):
        tally.begin(job)
        generations.save(job.state_directory, {}, rest_at(step))
        assert tally.count(job, queue.events, DEATH)
    assert not died(job, queue)
    assert job.status() == "paused"
    assert not died(job, queue)
    assert job.status() == "failed"
    assert "without getting further than step 8." in error_of(job)["detail"]


def test_a_state_that_is_lost_is_not_progress(job: Job, queue: Queue) -> None:
    generations.save(job.state_directory, {}, rest_at(5))
    assert died(job, queue) is False
    generations.discard_newest(job.state_directory)
    died(job, queue)
    died(job, queue)
    assert job.status() == "failed"


def test_a_resume_counts_from_the_start(job: Job, queue: Queue, store: JobStore) -> None:
    for _ in range(3):
        died(job, queue)
    assert job.status() == "failed"
    job = store.resume(job.id, {})
    died(job, queue)
    assert job.status() == "paused"


def test_what_died_with_its_worker_may_do_so_more_often(job: Job) -> None:
    for _ in range(10):
        assert tally.begin(job) is None
    error = tally.begin(job)
    assert error is not None
    assert error["title"] == "The worker died again and again"
    assert "ten times in a row" in error["detail"]


def test_a_saved_step_or_a_known_end_makes_up_for_lost_workers(job: Job) -> None:
    for step in range(1, 30):
        generations.save(job.state_directory, {}, rest_at(step))
        assert tally.begin(job) is None
    for _ in range(30):
        assert tally.begin(job) is None
        tally.excuse(job)


@pytest.mark.parametrize(
    "left",
    [
        *(b"", b"\0\0", b"[]", b"{}", b"[" * 100_000),
        *(b'{"step": null, "deaths": 2}', b'{"lost": "9"}', b'{"deaths": 1e400}'),
    ],
)
def test_a_count_that_cannot_be_read_begins_anew(job: Job, queue: Queue, left: bytes) -> None:
    (job.directory / "attempts.json").write_bytes(left)
    assert not tally.is_open(job)
    assert not died(job, queue)
    assert job.status() == "paused"


def test_the_count_of_an_earlier_release_counts(job: Job, queue: Queue) -> None:
    (job.directory / "attempts.json").write_bytes(b'{"step": 0, "deaths": 2}')
    assert not died(job, queue)
    assert job.status() == "failed"


def test_an_attempt_is_not_paused(job: Job, queue: Queue) -> None:
    died(job, queue)
    assert tally.begin(job) is None
    assert job.status() == "queued"
    assert job.view()["error"] is None


def test_a_disk_that_stays_full_is_tried_less_and_less(job: Job) -> None:
    for seconds in (0, 4, 16, 64, 256, 300, 300):
        tally.begin(job)
        before = time.time()
        tally.wait_for_room(job)
        assert before + seconds <= job.running()["until"] <= time.time() + seconds
        assert job.status() == "paused"
    generations.save(job.state_directory, {}, rest_at(5))
    tally.begin(job)
    tally.wait_for_room(job)
    assert job.running()["until"] <= time.time()


def test_no_number_of_tries_is_too_large(job: Job) -> None:
    """Of a disk that is full for days."""
    (job.directory / "attempts.json").write_bytes(b'{"full": 2000}')
    tally.begin(job)
    before = time.time()
    tally.wait_for_room(job)
    assert before + 300 <= job.running()["until"] <= time.time() + 300


def test_a_directory_in_its_place_is_no_obstacle(job: Job, queue: Queue) -> None:
    (job.directory / "attempts.json" / "in it").mkdir(parents=True)
    assert not died(job, queue)
    assert job.status() == "paused"

"""A job on a host that shares no locks counts as worked on until its turn has ended."""

from collections.abc import Callable

from worker.data import DataDirectory
from worker.job import Job
from worker.jobs import JobStore


def made(data: DataDirectory) -> Job:
    return JobStore(data.jobs, data.storage).create("linux", "c" * 64, {}, None)[0]


def test_a_turn_that_is_open_keeps_a_job(host: Callable[[str], DataDirectory]) -> None:
    data = host("here")
    job = made(data)
    assert not job.is_locked() and job.status() == "queued"
    job.begin_turn(1, "a worker")
    there = host("there")
    other = JobStore(there.jobs, there.storage).get(job.id)
    assert other.is_locked() and other.is_taken_elsewhere() and other.status() == "running"
    assert other.request_cancel() is None
    job.refresh(is_needed=True)
    assert job.cancel_requested()
    job.end_turn()
    other.refresh(is_needed=True)
    assert not other.is_locked()
    assert other.request_cancel()


def test_a_turn_that_was_lost_ends_nothing(host: Callable[[str], DataDirectory]) -> None:
    data = host("here")
    job = made(data)
    job.begin_turn(1, "first")
    later = JobStore(data.jobs, data.storage).get(job.id)
    later.begin_turn(2, "second")
    job.end_turn()
    assert later.is_taken_elsewhere(is_needed=True)
    later.end_turn()
    assert not later.is_taken_elsewhere(is_needed=True)


def test_one_disk_knows_by_its_locks(job: Job) -> None:
    job.begin_turn(1, "a worker")
    assert not job.is_taken_elsewhere() and not job.is_locked()
    with job.lock() as is_held:
        assert is_held and job.is_locked()
    assert job.on(job._storage).turn == job.turn

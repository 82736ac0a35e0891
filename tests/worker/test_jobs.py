"""A job on disk: made once, locked by the kernel, ended for good, its events in order."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from models import locks
from worker.events import EventLog
from worker.job_errors import Ended, NameTaken, NotEnded, UnknownJob
from worker.jobs import JobStore

CORPUS = "c" * 64


def test_the_same_idempotency_key_gives_the_first_job_again(store: JobStore) -> None:
    first, new = store.create("linux", CORPUS, {"seed": 1}, "key")
    again, new_again = store.create("linux", CORPUS, {"seed": 2}, "key")
    assert (new, new_again) == (True, False)
    assert again.id == first.id
    assert again.spec["options"] == {"seed": 1}


def test_a_key_whose_job_was_deleted_makes_a_new_one(store: JobStore) -> None:
    job, _ = store.create("linux", CORPUS, {}, "key")
    job.request_cancel()
    store.delete(job.id)
    other, new = store.create("linux", CORPUS, {}, "key")
    assert new
    assert other.id != job.id


def test_a_name_is_free_again_when_its_job_has_ended(store: JobStore) -> None:
    job, _ = store.create("linux", CORPUS, {}, None)
    with pytest.raises(NameTaken) as taken:
        store.create("linux", CORPUS, {}, None)
    assert taken.value.job_id == job.id
    job.request_cancel()
    store.create("linux", CORPUS, {}, None)


def test_ids_of_clients_never_leave_the_directory(store: JobStore) -> None:
    for job_id in ("../../etc", "", ".", "a" * 22 + "\n", "A" * 22, "g" * 22, "f" * 22):
        with pytest.raises(UnknownJob):
            store.get(job_id)


def test_one_holds_the_lock_and_all_see_it(store: JobStore) -> None:
    job, _ = store.create("linux", CORPUS, {}, None)
    assert job.status() == "queued"
    with job.lock() as held:
        assert held
        assert job.is_locked()
        assert job.status() == "running"
        with job.lock(patience=0) as held_too:
            assert not held_too
    assert not job.is_locked()


def test_the_lock_lives_as_long_as_the_process_that_inherited_it(store: JobStore) -> None:
    job, _ = store.create("linux", CORPUS, {}, None)
    with locks.held(job.lock_file, 0) as descriptor:
        assert descriptor is not None
        assert locks.is_current(job.lock_file, descriptor)
        child = subprocess.Popen(
            [sys.executable, "-c", "print(flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(descriptor,),
        )
        assert child.stdout
        assert child.stdin
        child.stdout.readline()
    assert job.is_locked()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not job.is_locked()
    child.stdout.close()
    child.stdin.close()


def test_a_queued_job_is_cancelled_at_once(store: JobStore) -> None:
    job, _ = store.create("linux", CORPUS, {}, None)
    event = job.request_cancel()
    assert event is not None
    assert event.data == {"status": "cancelled", "error": None}
    assert job.status() == "cancelled"
    with pytest.raises(Ended):
        job.request_cancel()


def test_a_job_at_work_is_asked_to_cancel(store: JobStore) -> None:
    job, _ = store.create("linux", CORPUS, {}, None)
    with job.lock():
        assert job.request_cancel() is None
        assert job.status() == "cancelling"
        assert job.result() is None


def test_an_end_that_a_resume_followed_is_left_out(store: JobStore) -> None:
    job, _ = store.create("linux", CORPUS, {"max_steps": 10}, None)
    EventLog(job.directory).append("progress", {"step": 10})
    job.finish("finished")
    assert [event.event for event in job.events()] == ["progress", "end"]
    job = store.resume(job.id, {"max_steps": 20})
    assert job.status() == "queued"
    assert job.spec["options"] == {"max_steps": 20}
    assert [event.event for event in job.events()] == ["progress"]
    EventLog(job.directory).append("progress", {"step": 11})
    job.finish("cancelled")
    events = job.events()
    assert [event.event for event in events] == ["progress", "progress", "end"]
    assert [event.id for event in events] == [1, 3, 4]


def test_a_resume_takes_a_cancel_back_and_needs_the_name(store: JobStore) -> None:
    job, _ = store.create("linux", CORPUS, {}, None)
    with pytest.raises(NotEnded):
        store.resume(job.id, {})
    job.request_cancel()
    other, _ = store.create("linux", CORPUS, {}, None)
    with pytest.raises(NameTaken) as taken:
        store.resume(job.id, {})
    assert taken.value.job_id == other.id
    other.request_cancel()
    job = store.resume(job.id, {})
    assert not job.cancel_requested()
    assert [unended.id for unended in store.unended()] == [job.id]


def test_an_ended_job_can_be_deleted_and_no_other(store: JobStore, data: Path) -> None:
    job, _ = store.create("linux", CORPUS, {}, None)
    with pytest.raises(NotEnded):
        store.delete(job.id)
    job.request_cancel()
    store.delete(job.id)
    assert store.ids() == []
    assert not list((data / "jobs").glob(".gone-*"))


def test_a_view_has_every_field_before_anything_has_run(store: JobStore) -> None:
    job, _ = store.create("linux", CORPUS, {"seed": 7}, None)
    view = json.loads(json.dumps(job.view()))
    assert view["status"] == "queued"
    assert view["options"] == {"seed": 7}
    unknown = ("started_at", "finished_at", "device", "progress", "baseline", "error")
    assert all(view[name] is None for name in unknown)


@pytest.mark.parametrize("left", [b"", b"\0\0\0", b"[]", b"3"])
def test_a_power_cut_may_leave_anything_in_running_json(store: JobStore, left: bytes) -> None:
    job, _ = store.create("linux", CORPUS, {"seed": 1}, None)
    (job.directory / "running.json").write_bytes(left)
    assert job.running() == {}
    assert job.status() == "queued"
    assert job.view()["options"] == {"seed": 1}

"""Lost jobs are put back into the queue, and no others."""

import subprocess
from types import SimpleNamespace

import pytest
import redis

from tests.serving import eventually
from tests.support import Horses, StartWorker, all_events, start_elsewhere
from worker import reconciler
from worker.events import ErrorText
from worker.job_files import Running
from worker.jobs import Job, JobStore
from worker.leases import Holder
from worker.machine import Process, machine
from worker.queue import Queue
from worker.reconciler import Reconciler


def test_what_redis_forgot_is_put_back(
    queue: Queue, store: JobStore, job: Job, redis_url: str
) -> None:
    queue.enqueue(job.id)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    assert Reconciler(queue, store).reconcile(0) == [job.id]
    assert Reconciler(queue, store).reconcile(0) == []
    assert queue.waiting() == [job.id]


def test_what_a_killed_worker_took_from_the_queue_is_put_back(
    queue: Queue, store: JobStore, job: Job, redis_url: str
) -> None:
    queue.enqueue(job.id)
    with redis.Redis.from_url(redis_url) as client:
        client.lmove(f"rq:queue:{queue.name}", f"rq:queue:{queue.name}:intermediate")
    assert Reconciler(queue, store).reconcile(0) == [job.id]
    assert queue.waiting() == [job.id]


def test_a_job_must_be_lost_for_a_while(
    queue: Queue, store: JobStore, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(reconciler, "time", SimpleNamespace(monotonic=lambda: now[0]))
    ours = Reconciler(queue, store)
    assert ours.reconcile(2) == []
    now[0] += 1.9
    assert ours.reconcile(2) == []
    now[0] += 0.2
    with job.lock():
        assert ours.reconcile(2) == []
    # It was seen alive: the while begins anew.
    assert ours.reconcile(2) == []
    now[0] += 2.1
    assert ours.reconcile(2) == [job.id]


@pytest.mark.parametrize("most_running", [None, 1])
def test_a_frozen_machines_job_is_lost_unless_a_former_release_has_it(
    most_running: int | None, queue: Queue, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its owner may have no more than this one at work."""
    now = [0.0]
    monkeypatch.setattr(reconciler, "time", SimpleNamespace(monotonic=lambda: now[0]))
    job, _ = store.create("frozen", "c" * 64, {}, None, lambda: "owner")
    ours = Reconciler(queue, store, most_running)
    with job.lock():
        for begun in (False, True):
            if begun:
                job.begin_turn(1, "frozen")
            assert ours.reconcile(0) == []
            now[0] += queue.leases.watch + 1
            assert ours.reconcile(0) == ([job.id] if begun else [])


def test_a_job_at_work_and_one_that_ended_stay_out(queue: Queue, store: JobStore, job: Job) -> None:
    with job.lock():
        assert Reconciler(queue, store).reconcile(0) == []
    job.finish("finished")
    assert Reconciler(queue, store).reconcile(0) == []
    assert queue.waiting() == []


def test_who_had_begun_goes_on_first(queue: Queue, store: JobStore, job: Job) -> None:
    later, _ = store.create("other", "c" * 64, {}, None)
    later.set_running({"started_at": "2026-01-01T00:00:00.000Z"})
    Reconciler(queue, store).reconcile(0)
    assert queue.waiting() == [later.id, job.id]


def test_a_cancel_that_a_dead_worker_could_not_heed_is_heeded(
    queue: Queue, store: JobStore, job: Job
) -> None:
    with job.lock():
        job.request_cancel()
    assert Reconciler(queue, store).reconcile(0) == []
    assert job.status() == "cancelled"


def test_a_job_of_another_host_is_left_to_its_lease(
    queue: Queue, store: JobStore, job: Job, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        start_elsewhere(client, queue, job.id)
        assert Reconciler(queue, store).reconcile(0) == []
        client.delete(f"charloom:lease:{job.id}")
        assert Reconciler(queue, store).reconcile(0) == [job.id]


def test_a_job_of_a_worker_killed_on_this_host_waits_for_no_lease(
    queue: Queue, store: JobStore, job: Job
) -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert queue.leases.claim(job.id, Holder("w", 1, Process(machine(), process.pid)))
    assert Reconciler(queue, store).reconcile(0) == [job.id]


def test_what_a_job_left_in_redis_goes_when_it_has_ended(
    queue: Queue, store: JobStore, job: Job, redis_url: str
) -> None:
    queue.enqueue(job.id)
    with redis.Redis.from_url(redis_url) as client:
        client.lmove(f"rq:queue:{queue.name}", f"rq:queue:{queue.name}:intermediate")
        job.finish("finished")
        Reconciler(queue, store).reconcile(0)
        assert not client.exists(f"rq:job:{job.id}")
        assert client.llen(f"rq:queue:{queue.name}:intermediate") == 0


def test_a_paused_job_comes_back_when_there_is_room(
    queue: Queue, store: JobStore, job: Job
) -> None:
    paused: ErrorText = {"title": "The disk is full", "detail": ""}
    job.set_running({"paused": paused, "needs_bytes": 1 << 60})
    assert job.status() == "paused"
    assert Reconciler(queue, store).reconcile(0) == []
    job.set_running({"paused": paused, "needs_bytes": 1})
    assert Reconciler(queue, store).reconcile(0) == [job.id]


def test_a_worker_starts_with_what_the_queue_has_lost(
    job: Job, queue: Queue, horses: Horses, start_worker: StartWorker
) -> None:
    horses.finish(job)
    start_worker()
    assert all_events(queue, job)[-1].data["status"] == "finished"


def test_a_job_that_cannot_be_read_is_in_nobodys_way(
    queue: Queue, store: JobStore, job: Job, horses: Horses, start_worker: StartWorker
) -> None:
    horses.finish(job)
    for number, spec in enumerate((None, "a directory", "[]", "")):
        damaged = store.root / (str(number) * 22)
        damaged.mkdir()
        if spec == "a directory":
            (damaged / "spec.json").mkdir()
        elif spec is not None:
            (damaged / "spec.json").write_text(spec)
        queue.enqueue(damaged.name)
    (store.root / ("8" * 22)).write_text("not a directory")
    for number in (8, 9):
        queue.enqueue(str(number) * 22)
    worker = start_worker()
    assert all_events(queue, job)[-1].data["status"] == "finished"
    eventually(lambda: queue.waiting() == [], 60)
    assert "Traceback" not in worker.said()
    assert worker.process.poll() is None


def test_a_job_that_fails_to_be_put_back_fails_alone(
    queue: Queue,
    store: JobStore,
    job: Job,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    other, _ = store.create("other", "c" * 64, {}, None)
    running = Job.running

    def fails(self: Job) -> Running:
        if self.id == job.id:
            raise OSError("cannot be read")
        return running(self)

    monkeypatch.setattr(Job, "running", fails)
    ours = Reconciler(queue, store)
    assert ours.reconcile(0) == [other.id]
    assert ours.reconcile(0) == []
    assert caplog.text.count("cannot be queued again") == 1


def test_a_cancel_does_not_wait_for_room(queue: Queue, store: JobStore, job: Job) -> None:
    job.set_running({"paused": {"title": "", "detail": ""}, "needs_bytes": 1 << 60})
    with job.lock():
        job.request_cancel()
    queue.enqueue(job.id)
    Reconciler(queue, store).reconcile(0)
    assert job.status() == "cancelled"
    assert queue.waiting() == []

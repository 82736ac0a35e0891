"""A job has one owner whose work counts, whichever machine dies, freezes or loses Redis."""

import math
import os
import shutil
import signal
from pathlib import Path

import pytest

from app.main import RECONCILE_SECONDS
from app.supervisor.valkey import EmbeddedRedis
from models import locks
from tests.machines import another_machine
from tests.serving import eventually
from tests.support import (
    Horses,
    MakeJob,
    StartWorker,
    WorkerProcess,
    all_events,
    events_until,
    is_alive,
    queue_at,
)
from tests.training import LONG, assert_same_training, evaluation_at, is_at, last_id
from worker.fence import Fenced
from worker.jobs import LOCK_PATIENCE, Job, JobStore
from worker.leases import WATCH, Holder
from worker.machine import Process, machine
from worker.ownership import taken
from worker.queue import Queue
from worker.reconciler import Reconciler
from worker.settings import LEASE_SECONDS, WorkerSettings
from worker.trainer import attempt
from worker.trainer.rq_worker import TrainingWorker

OPTIONS = {"max_steps": 400, "evaluate_every": 50, "sample_at": [75], "dropout": 0.2}
THEIRS = Process("another machine", 1)


@pytest.fixture
def lease(monkeypatch: pytest.MonkeyPatch) -> float:
    """Seconds of a lease, of workers that are started after this."""
    monkeypatch.setenv("CHARLOOM_LEASE_SECONDS", "5")
    return 5.0


@pytest.fixture
def queue(redis_url: str, data: Path, lease: float) -> Queue:
    return queue_at(redis_url, data, lease)


@pytest.fixture
def twin(make_job: MakeJob, settings: WorkerSettings) -> Job:
    """A job that nothing disturbed."""
    assert settings
    job = make_job("undisturbed", **OPTIONS)
    assert attempt.run(job.id) is None
    return job


def stop(worker: WorkerProcess) -> list[int]:
    """Freezes a worker and its horse, as a machine freezes; returns their pids."""
    pids = [worker.pid, *worker.horses()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    return pids


def thaw(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def assert_finished_once(job: Job, queue: Queue) -> None:
    events = all_events(queue, job)
    assert [event.data["status"] for event in events if event.event == "end"] == ["finished"]
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    lines = (job.directory / "events.jsonl").read_bytes()
    assert len(lines.splitlines()) == len(events) and lines.endswith(b"\n")


def tree(*roots: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for root in roots for path in root.rglob("*") if path.is_file()}


def test_a_job_of_a_machine_that_died_is_taken_over(
    start_worker: StartWorker, make_job: MakeJob, queue: Queue, twin: Job, tmp_path: Path
) -> None:
    job = make_job("disturbed", **OPTIONS)
    queue.enqueue(job.id)
    worker = start_worker(another_machine(tmp_path))
    events_until(queue, job, evaluation_at(100))
    holder = queue.leases.holder(job.id)
    assert holder is not None and holder.process.machine != machine()
    worker.kill()
    start_worker(another_machine(tmp_path))
    assert_finished_once(job, queue)
    assert_same_training(job, twin, queue)


@pytest.mark.parametrize("when", ["meanwhile", "afterwards"])
def test_a_machine_that_froze_finds_its_job_taken(
    when: str,
    horses: Horses,
    start_worker: StartWorker,
    make_job: MakeJob,
    queue: Queue,
    twin: Job,
    data: Path,
    tmp_path: Path,
) -> None:
    job = make_job("disturbed", **OPTIONS)
    queue.enqueue(job.id)
    frozen = start_worker(another_machine(tmp_path))
    events_until(queue, job, evaluation_at(100))
    _, horse = pids = stop(frozen)
    seen = last_id(job)
    other = start_worker(another_machine(tmp_path))
    if when == "meanwhile":
        events_until(queue, job, lambda event: event.id > seen)
    else:
        assert_finished_once(job, queue)
        eventually(lambda: f"job {job.id}: finished" in other.said(), 60)
        before = tree(job.directory, data / "models")
    thaw(pids)
    eventually(lambda: "writes nothing more" in frozen.said(), 60)
    eventually(lambda: not is_alive(horse), 60)
    assert "has taken over with epoch 2" in frozen.said()
    assert "Traceback" not in frozen.said()
    if when == "afterwards":
        after = tree(job.directory, data / "models")
        changed = [
            path for path in before.keys() | after.keys() if before.get(path) != after.get(path)
        ]
        assert changed == []
    assert_finished_once(job, queue)
    assert_same_training(job, twin, queue)
    assert other.terminate() == 0
    following = make_job("following")
    horses.finish(following)
    queue.enqueue(following.id)
    assert all_events(queue, following)[-1].data["status"] == "finished"


def test_a_cancel_reaches_the_job_of_a_frozen_machine(
    start_worker: StartWorker, make_job: MakeJob, queue: Queue, store: JobStore, tmp_path: Path
) -> None:
    job = make_job(**LONG)
    queue.enqueue(job.id)
    frozen = start_worker(another_machine(tmp_path))
    events_until(queue, job, is_at(1))
    pids = stop(frozen)
    assert job.request_cancel() is None
    ours = Reconciler(queue, store)
    eventually(lambda: ours.reconcile(0) == [] and job.result(), 60)
    thaw(pids)
    eventually(lambda: "writes nothing more" in frozen.said(), 60)
    events = all_events(queue, job)
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert job.status() == "cancelled"


def empty(server: EmbeddedRedis) -> None:
    """Stops Redis, and brings it back without anything."""
    assert server.process
    server.process.kill()
    server.process.wait()
    for path in server.directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix == ".rdb":
            path.unlink()
    server.start()


def test_a_redis_that_comes_back_empty_gets_the_lease_again(
    own_redis: EmbeddedRedis,
    horses: Horses,
    start_worker: StartWorker,
    make_job: MakeJob,
    data: Path,
    lease: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHARLOOM_REDIS_URL", own_redis.url)
    queue = queue_at(own_redis.url, data, lease)
    job = make_job(**LONG)
    queue.enqueue(job.id)
    workers = [start_worker(another_machine(tmp_path)) for _ in range(2)]
    seen = events_until(queue, job, is_at(1))
    holder = queue.leases.holder(job.id)
    assert holder is not None
    empty(own_redis)
    assert eventually(lambda: queue.leases.holder(job.id), 60) == holder
    events_until(queue, job, is_at(1), after=seen[-1].id)
    # Both have looked for lost jobs meanwhile.
    following = make_job("following")
    horses.finish(following)
    queue.enqueue(following.id)
    assert all_events(queue, following)[-1].data["status"] == "finished"
    assert queue.leases.holder(job.id) == holder
    assert not any("taken over" in worker.said() for worker in workers)
    job.request_cancel()
    all_events(queue, job)


def test_whoever_lost_a_job_may_write_nothing(queue: Queue, job: Job, store: JobStore) -> None:
    with taken(job, queue.leases, "first") as first:
        assert first
        job.set_running({"device": "first"})
        job.event_log().append("notice", {"code": "first", "text": ""})
        later = store.get(job.id)
        later.begin_turn(2, "second")
        before = tree(job.directory)
        for write in (
            lambda: job.set_running({"device": "late"}),
            lambda: job.write("plan.json", b"{}"),
            lambda: job.event_log().append("notice", {"code": "late", "text": ""}),
            lambda: job.finish("finished"),
        ):
            with pytest.raises(Fenced, match="second has taken over with epoch 2"):
                write()
        left = tree(job.directory)
        assert {k: v for k, v in left.items() if not k.name.startswith(".")} == before


def test_who_is_frozen_between_looking_and_writing_misses_the_place(
    queue: Queue, job: Job, store: JobStore
) -> None:
    with taken(job, queue.leases, "first"):
        log = job.event_log()
        log.append("notice", {"code": "one", "text": ""})
        late = log.path.open("ab")
        job.check()
        store.get(job.id).begin_turn(2, "second")
        with late:
            late.write(b'{"id": 2, "event": "notice", "data": {"code": "late", "text": ""}}\n')
    assert [event.data["code"] for event in job.events()] == ["one"]


def test_a_lease_of_another_machine_keeps_a_job_whose_lock_is_free(queue: Queue, job: Job) -> None:
    assert queue.leases.claim(job.id, Holder("theirs", 1, THEIRS))
    with taken(job, queue.leases, "ours") as owned:
        assert owned is None
    queue.leases.release(job.id, "theirs")
    with taken(job, queue.leases, "ours") as owned:
        assert owned is not None and owned.holder.epoch == 1
        assert queue.leases.holder(job.id) == owned.holder
    assert queue.leases.holder(job.id) is None


def test_a_lock_without_a_lease_is_replaced_and_its_owner_told_apart(
    queue: Queue, job: Job
) -> None:
    with locks.held(job.lock_file, 0) as frozen:
        assert frozen is not None
        job.begin_turn(1, "frozen")
        with taken(job, queue.leases, "ours") as owned:
            assert owned is not None
            assert locks.is_current(job.lock_file, owned.lock)
            assert not locks.is_current(job.lock_file, frozen)
            assert job.is_locked()
        assert not job.is_locked()


def test_a_job_of_a_former_release_stays_its_own(redis_url: str, data: Path, job: Job) -> None:
    """Its process holds the lock, renews no lease, and would write on after any later turn."""
    leases = queue_at(redis_url, data, 0.1).leases
    with locks.held(job.lock_file, 0) as theirs:
        assert theirs is not None
        with taken(job, leases, "ours") as owned:
            assert owned is None
        assert locks.is_current(job.lock_file, theirs)
    assert leases.holder(job.id) is None and not (job.directory / "epoch.json").exists()
    with taken(job, leases, "ours") as owned:
        assert owned is not None


def test_two_that_drew_one_epoch_write_to_no_file_of_each_others(job: Job, store: JobStore) -> None:
    first, second = store.get(job.id), store.get(job.id)
    first.begin_turn(1, "first")
    second.begin_turn(1, "second")
    second.set_running({"device": "second"})
    with pytest.raises(Fenced):
        first.set_running({"device": "first"})
    assert first.turn != second.turn
    assert job.running() == {"device": "second"}
    second.join_turn(1, "second")
    second.check()


def test_a_frozen_machine_is_replaced_within_20_seconds(settings: WorkerSettings) -> None:
    """At the default lease, where a worker is idle: the sum of all periods."""
    worker = TrainingWorker(settings)
    assert worker.maintenance_interval < worker.dequeue_timeout
    look = max(worker.dequeue_timeout, RECONCILE_SECONDS)
    lease, watch = LEASE_SECONDS, WATCH * LEASE_SECONDS
    until_queued = look + math.ceil(watch / look) * look
    assert lease + until_queued + LOCK_PATIENCE + watch <= 19
    # As README's and the documents' formula has it.
    assert until_queued + LOCK_PATIENCE + watch <= 0.6 * LEASE_SECONDS + 7


def test_separate_disks_share_no_queue(
    start_worker: StartWorker,
    queue: Queue,
    redis_url: str,
    tmp_path: Path,
    horses: Horses,
    job: Job,
) -> None:
    horses.finish(job)
    elsewhere = tmp_path / "elsewhere"
    theirs = queue_at(redis_url, elsewhere)
    foreign, _ = JobStore(elsewhere / "jobs").create("theirs", "c" * 64, {}, None)
    assert theirs.enqueue(foreign.id)
    worker = start_worker()
    queue.enqueue(job.id)
    assert all_events(queue, job)[-1].data["status"] == "finished"
    assert theirs.waiting() == [foreign.id]
    assert foreign.id not in worker.said()

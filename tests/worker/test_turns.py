"""Owners take turns in the queue, and disk says whose turn it is."""

from collections.abc import Callable
from contextlib import ExitStack

import pytest
import redis

from tests.serving import eventually
from tests.support import Horses, StartWorker, all_events
from worker import turns
from worker.jobs import Job, JobStore
from worker.queue import Queue
from worker.reconciler import Reconciler

Send = Callable[[str, int], list[Job]]


@pytest.fixture
def send(store: JobStore) -> Send:
    """Makes jobs of an owner, which come one after the other."""

    def make(owner: str, count: int) -> list[Job]:
        names = (f"{owner or 'nobody'}-{number}-{len(store.ids())}" for number in range(count))
        return [store.create(name, "c" * 64, {}, None, lambda: owner)[0] for name in names]

    return make


def owners(store: JobStore, ids: list[str]) -> str:
    return "".join(turns.owner_of(store.get(job_id)) for job_id in ids)


def test_the_first_job_of_one_comes_before_the_second_of_another(
    queue: Queue, store: JobStore, send: Send
) -> None:
    for job in (*send("a", 50), *send("b", 1), *send("c", 3)):
        queue.enqueue(job.id)
    turns.take(queue, store)
    order = owners(store, queue.waiting())
    assert order == "abc" + "ac" * 2 + "a" * 47


def test_a_job_that_runs_was_a_turn(queue: Queue, store: JobStore, send: Send) -> None:
    first, *more = send("a", 4)
    later = send("b", 2)
    for job in (*more, *later):
        queue.enqueue(job.id)
    with first.lock():
        turns.take(queue, store)
        assert owners(store, queue.waiting()) == "babaa"
        with later[0].lock():
            others = [*more, later[1]]
            assert turns.in_turn(others, turns.locked(store.unended())) == [
                more[0].id,
                later[1].id,
                more[1].id,
                more[2].id,
            ]


def test_the_order_survives_an_empty_redis_and_a_restart(
    queue: Queue, redis_url: str, store: JobStore, send: Send
) -> None:
    for job in (*send("a", 5), *send("b", 2), *send("", 2)):
        queue.enqueue(job.id)
    turns.take(queue, store)
    before = queue.waiting()
    assert owners(store, before) == "ababaaa"
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    Reconciler(queue, JobStore(store.root)).reconcile(0)
    assert queue.waiting() == before


def test_jobs_of_one_owner_stay_in_order_and_begun_ones_come_first(send: Send) -> None:
    one, two, three, four = send("a", 4)
    three.set_running({"started_at": "2026-01-01T00:00:00.000Z"})
    four.set_running(
        {
            "started_at": "2026-01-01T00:00:00.000Z",
            "paused": {"title": "Full", "detail": "no room"},
            "needs_bytes": 5,
        }
    )
    found = turns.in_turn([four, three, two, one], turns.locked(()))
    assert found == [three.id, one.id, two.id, four.id]


def test_what_is_not_arranged_stays_behind(queue: Queue) -> None:
    queue.enqueue("one")
    queue.enqueue("two")
    queue.arrange(["two", "gone", "one"])
    assert queue.waiting() == ["two", "one"]
    queue.enqueue("three")
    queue.arrange(["one", "two"])
    assert queue.waiting() == ["one", "two", "three"]


def test_a_job_taken_while_it_is_arranged_is_not_put_back(
    queue: Queue, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two", "three"):
        queue.enqueue(name)
    multi = redis.client.Pipeline.multi

    def taken(pipe: "redis.client.Pipeline") -> None:
        with redis.Redis.from_url(redis_url) as client:
            assert client.lpop(f"rq:queue:{queue.name}") == b"one"
        multi(pipe)

    monkeypatch.setattr(redis.client.Pipeline, "multi", taken)
    queue.arrange(["three", "two", "one"])
    assert queue.waiting() == ["two", "three"]


def test_an_owner_may_have_a_bound_of_running_jobs(
    queue: Queue, store: JobStore, send: Send
) -> None:
    one, two, three = send("a", 3)
    (other,) = send("b", 1)
    (nobodys,) = send("", 1)
    with ExitStack() as held:
        assert turns.may_begin(three, store, 2)
        held.enter_context(one.lock())
        assert turns.may_begin(three, store, 2) and not turns.may_begin(three, store, 1)
        held.enter_context(two.lock())
        assert not turns.may_begin(three, store, 2)
        assert turns.may_begin(three, store, None)
        assert turns.may_begin(other, store, 1) and turns.may_begin(nobodys, store, 1)
        # Its own lock, which the worker holds already, does not count.
        assert turns.may_begin(one, store, 2)
        back = Reconciler(queue, store, 2).reconcile(0)
        assert set(back) == {other.id, nobodys.id}
    # As many as may begin, and no more while these wait.
    assert Reconciler(queue, store, 2).reconcile(0) == [one.id, two.id]
    assert Reconciler(queue, store, 2).reconcile(0) == []
    queue.forget(one.id)
    assert Reconciler(queue, store, 2).reconcile(0) == [one.id]


def test_a_job_that_had_begun_is_put_back_before_those_that_wait(
    queue: Queue, store: JobStore, send: Send
) -> None:
    one, two, three, four = send("a", 4)
    three.set_running({"started_at": "2026-01-01T00:00:00.000Z"})
    queue.enqueue(one.id)
    assert Reconciler(queue, store, 1).reconcile(0) == [three.id]
    assert queue.waiting() == [three.id, one.id]
    assert Reconciler(queue, store, 1).reconcile(0) == []
    assert Reconciler(queue, store).reconcile(0) == [two.id, four.id]


def test_a_worker_passes_over_a_job_beyond_its_owners_bound(
    queue: Queue,
    send: Send,
    horses: Horses,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHARLOOM_QUOTA_RUNNING", "1")
    one, two = send("a", 2)
    (other,) = send("b", 1)
    horses.finish(two, other)
    with one.lock():
        for job in (two, other):
            queue.enqueue(job.id)
        start_worker()
        assert all_events(queue, other)[-1].data["status"] == "finished"
        eventually(lambda: not queue.is_queued(two.id) and not two.is_locked(), 60)
        assert two.running() == {} and two.result() is None
        # It was not even taken.
        assert not (two.directory / "epoch.json").exists()
    assert all_events(queue, two)[-1].data["status"] == "finished"

"""The queue and the live events: Redis may lose anything, and nothing is lost."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from rq.executions import Execution

import worker.live
from app.supervisor.valkey import EmbeddedRedis
from tests.support import ROOT, all_events, events_until
from worker.events import EventLog, JobEvent
from worker.jobs import Job, JobStore
from worker.live import STREAM_LENGTH
from worker.queue import NAME, Queue
from worker.reconciler import Reconciler

NOWHERE = "unix:///nowhere/redis.sock"


@pytest.fixture
def job(store: JobStore) -> Job:
    return store.create("linux", "c" * 64, {}, None)[0]


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A server that the test may kill, and start again at the same address."""
    with EmbeddedRedis(tmp_path_factory.mktemp("own-redis")) as server:
        yield server


def kill(server: EmbeddedRedis) -> None:
    assert server.process
    server.process.kill()
    server.process.wait()


def told(queue: Queue, job: Job, event: str, data: dict[str, Any]) -> JobEvent:
    told = EventLog(job.directory).append(event, data)
    queue.events.publish(job.id, told)
    return told


# Jobs


def test_a_job_waits_once(queue: Queue, job: Job) -> None:
    assert queue.enqueue(job.id)
    assert not queue.enqueue(job.id)
    assert queue.waiting() == [job.id]
    assert queue.is_queued(job.id)


def test_a_forgotten_job_leaves_nothing_behind(queue: Queue, job: Job, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        queue.enqueue(job.id)
        client.lmove(f"rq:queue:{NAME}", f"rq:queue:{NAME}:intermediate")
        _start_elsewhere(client, job.id, host="elsewhere")
        queue.forget(job.id)
        assert not [key for key in client.scan_iter() if job.id in key.decode()]
        assert client.zcard(f"rq:wip:{NAME}") == 0
        assert client.llen(f"rq:queue:{NAME}:intermediate") == 0
    assert queue.enqueue(job.id)


def test_without_redis_a_job_is_not_queued_and_nobody_minds(job: Job) -> None:
    queue = Queue(NOWHERE)
    began = time.monotonic()
    assert not queue.enqueue(job.id)
    queue.events.publish(job.id, JobEvent(1, "progress", {}))
    assert not queue.ping()
    assert time.monotonic() - began < 1
    with pytest.raises(redis.ConnectionError):
        queue.waiting()


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
        client.lmove(f"rq:queue:{NAME}", f"rq:queue:{NAME}:intermediate")
    assert Reconciler(queue, store).reconcile(0) == [job.id]
    assert queue.waiting() == [job.id]


def test_a_job_must_be_lost_for_a_while(queue: Queue, store: JobStore, job: Job) -> None:
    reconciler = Reconciler(queue, store)
    assert reconciler.reconcile(0.05) == []
    time.sleep(0.06)
    with job.lock():
        assert reconciler.reconcile(0.05) == []
    # It was seen alive: the while begins anew.
    assert reconciler.reconcile(0.05) == []
    time.sleep(0.06)
    assert reconciler.reconcile(0.05) == [job.id]


def test_a_job_at_work_and_one_that_ended_stay_out(queue: Queue, store: JobStore, job: Job) -> None:
    with job.lock():
        assert Reconciler(queue, store).reconcile(0) == []
    job.finish("finished")
    assert Reconciler(queue, store).reconcile(0) == []
    assert queue.waiting() == []


def test_who_had_begun_goes_on_first(queue: Queue, store: JobStore, job: Job) -> None:
    later, _ = store.create("other", "c" * 64, {}, None)
    later.set_running({"progress": {"step": 5}})
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
        execution = _start_elsewhere(client, job.id, host="elsewhere")
        assert Reconciler(queue, store).reconcile(0) == []
        client.delete(execution)
        assert Reconciler(queue, store).reconcile(0) == [job.id]


def test_a_job_of_a_worker_killed_on_this_host_needs_no_lease(
    queue: Queue, store: JobStore, job: Job, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        _start_elsewhere(client, job.id, host=os.uname().nodename)
    assert Reconciler(queue, store).reconcile(0) == [job.id]


def test_what_a_job_left_in_redis_goes_when_it_has_ended(
    queue: Queue, store: JobStore, job: Job, redis_url: str
) -> None:
    queue.enqueue(job.id)
    with redis.Redis.from_url(redis_url) as client:
        client.lmove(f"rq:queue:{NAME}", f"rq:queue:{NAME}:intermediate")
        job.finish("finished")
        Reconciler(queue, store).reconcile(0)
        assert not client.exists(f"rq:job:{job.id}")
        assert client.llen(f"rq:queue:{NAME}:intermediate") == 0


def test_a_paused_job_comes_back_when_there_is_room(
    queue: Queue, store: JobStore, job: Job
) -> None:
    paused = {"title": "The disk is full", "detail": ""}
    job.set_running({"paused": paused, "needs_bytes": 1 << 60})
    assert job.status() == "paused"
    assert Reconciler(queue, store).reconcile(0) == []
    job.set_running({"paused": paused, "needs_bytes": 1})
    assert Reconciler(queue, store).reconcile(0) == [job.id]


def _start_elsewhere(client: "redis.Redis", job_id: str, host: str) -> str:
    """What RQ writes when a worker begins a job; returns the execution's key."""
    name = "theirs"
    client.hset(f"rq:worker:{name}", "hostname", host)
    execution = Execution("e" * 32, job_id, client, name)
    with client.pipeline() as pipe:
        execution.save(60, pipe)
        pipe.zadd(f"rq:wip:{NAME}", {execution.composite_key: time.time() + 60})
        pipe.execute()
    return execution.key


# Events


def test_a_follower_gets_the_past_and_then_the_present(queue: Queue, job: Job) -> None:
    told(queue, job, "progress", {"step": 1})

    async def follow() -> list[JobEvent]:
        events = queue.events.follow(job)
        seen = [await anext(events)]
        await asyncio.to_thread(told, queue, job, "progress", {"step": 2})
        seen.append(await asyncio.wait_for(anext(events), 1))
        await asyncio.to_thread(lambda: queue.events.publish(job.id, job.finish("finished")))
        return seen + [event async for event in events]

    seen = asyncio.run(follow())
    assert [event.id for event in seen] == [1, 2, 3]
    assert seen[-1].data == {"status": "finished", "error": None}
    assert seen == job.events()


def test_an_id_resumes_and_an_unknown_one_starts_over(queue: Queue, job: Job) -> None:
    log = EventLog(job.directory)
    for step in range(5):
        log.append("progress", {"step": step})
    job.finish("finished")
    for after, first in ((0, 1), (3, 4), (5, 6), (7, 1), (-1, 1)):
        assert events_until(queue, job, lambda _: True, after)[0].id == first
    assert events_until(queue, job, lambda _: True, after=6) == []


def test_what_redis_never_heard_of_comes_from_the_disk(queue: Queue, job: Job) -> None:
    told(queue, job, "progress", {"step": 1})

    async def follow() -> list[int]:
        events = queue.events.follow(job)
        await anext(events)
        log = EventLog(job.directory)
        log.append("progress", {"step": 2})
        log.append("progress", {"step": 3})
        await asyncio.to_thread(queue.events.publish, job.id, log.append("progress", {"step": 4}))
        ids = [(await asyncio.wait_for(anext(events), 1)).id for _ in range(3)]
        await events.aclose()
        return ids

    assert asyncio.run(follow()) == [2, 3, 4]


def test_an_outage_is_bridged_from_the_disk(own_redis: EmbeddedRedis, job: Job) -> None:
    queue = Queue(own_redis.url)
    told(queue, job, "progress", {"step": 1})

    async def follow() -> list[int]:
        events = queue.events.follow(job)
        ids = [(await anext(events)).id]
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.05)
        kill(own_redis)
        told(queue, job, "progress", {"step": 2})
        ids.append((await asyncio.wait_for(waiting, 3)).id)
        told(queue, job, "progress", {"step": 3})
        ids.append((await asyncio.wait_for(anext(events), 3)).id)
        await asyncio.to_thread(own_redis.start)
        queue.events.publish(job.id, job.finish("finished"))
        return ids + [event.id async for event in events]

    assert asyncio.run(follow()) == [1, 2, 3, 4]


def test_without_redis_a_follower_still_gets_all(job: Job) -> None:
    EventLog(job.directory).append("progress", {"step": 1})
    job.finish("failed", {"title": "No", "detail": "no"})
    assert [event.event for event in all_events(Queue(NOWHERE), job)] == ["progress", "end"]


def test_an_end_that_a_resume_followed_is_not_replayed(
    queue: Queue, store: JobStore, job: Job
) -> None:
    queue.events.publish(job.id, job.finish("finished"))
    job = store.resume(job.id, {})
    told(queue, job, "progress", {"step": 1})
    queue.events.publish(job.id, job.finish("cancelled"))
    seen = all_events(queue, job)
    assert [(event.id, event.event) for event in seen] == [(2, "progress"), (3, "end")]


def test_a_follower_of_a_resumed_job_waits_for_its_next_end(
    queue: Queue, store: JobStore, job: Job
) -> None:
    queue.events.publish(job.id, job.finish("finished"))
    job = store.resume(job.id, {})

    async def follow() -> list[JobEvent]:
        events = queue.events.follow(job)
        first = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.05)
        assert not first.done()
        await asyncio.to_thread(told, queue, job, "progress", {"step": 1})
        seen = [await asyncio.wait_for(first, 3)]
        await asyncio.to_thread(lambda: queue.events.publish(job.id, job.finish("finished")))
        return seen + [event async for event in events]

    assert [event.id for event in asyncio.run(follow())] == [2, 3]


def test_an_end_that_was_read_before_the_job_had_ended_is_told_soon(
    queue: Queue, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its result is written an instant after it; Redis has nothing new for who has read it."""
    monkeypatch.setattr(worker.live, "_LONGEST_WAIT", 100.0)
    looks = iter([(False, False)])
    look = worker.live._ending
    monkeypatch.setattr(worker.live, "_ending", lambda job: next(looks, None) or look(job))
    queue.events.publish(job.id, job.finish("finished"))
    assert [event.event for event in all_events(queue, job, timeout=20)] == ["end"]


def test_a_follower_of_a_deleted_job_is_let_go(queue: Queue, store: JobStore, job: Job) -> None:
    async def follow() -> list[JobEvent]:
        events = queue.events.follow(job)
        first = asyncio.ensure_future(anext(events, None))
        await asyncio.sleep(0.05)
        job.request_cancel()
        store.delete(job.id)
        return [event for event in [await asyncio.wait_for(first, 5)] if event]

    assert asyncio.run(follow()) == []


def test_a_cancelled_follower_closes_its_connection(queue: Queue, job: Job, redis_url: str) -> None:
    async def read(seen: list[JobEvent]) -> None:
        async for event in queue.events.follow(job):
            seen.append(event)

    async def follow() -> None:
        seen: list[JobEvent] = []
        task = asyncio.ensure_future(read(seen))
        while not await asyncio.to_thread(blocked):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while await asyncio.to_thread(blocked):
            await asyncio.sleep(0.01)

    with redis.Redis.from_url(redis_url) as client:

        def blocked() -> int:
            return int(client.info("clients")["blocked_clients"])

        asyncio.run(asyncio.wait_for(follow(), 10))


def test_ids_that_come_again_after_a_power_cut_are_told(queue: Queue, job: Job) -> None:
    for _ in range(3):
        told(queue, job, "progress", {"lost": True})
    (job.directory / "events.jsonl").unlink()
    told(queue, job, "progress", {"lost": False})
    queue.events.publish(job.id, job.finish("finished"))
    seen = all_events(queue, job)
    assert [event.id for event in seen] == [1, 2]
    assert seen[0].data == {"lost": False}


def test_a_stream_is_bounded_and_goes_after_the_end(queue: Queue, job: Job, redis_url: str) -> None:
    log = EventLog(job.directory)
    for step in range(STREAM_LENGTH + 300):
        queue.events.publish(job.id, log.append("progress", {"step": step}))
    with redis.Redis.from_url(redis_url) as client:
        assert client.xlen(f"charloom:events:{job.id}") < STREAM_LENGTH + 200
        queue.events.publish(job.id, job.finish("finished"))
        assert 0 < client.ttl(f"charloom:events:{job.id}") <= 3600
    assert len(all_events(queue, job)) == STREAM_LENGTH + 301


# Weight


@pytest.mark.parametrize("module", ["worker.queue", "worker.trainer.rq_worker", "worker.__main__"])
def test_neither_server_nor_worker_imports_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_without_an_address_the_worker_says_so_in_a_line(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "CHARLOOM_REDIS_URL"}
    ended = subprocess.run(
        [sys.executable, "-m", "worker"],
        cwd=ROOT,
        env=environment | {"CHARLOOM_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("worker: CHARLOOM_REDIS_URL is not set")
    assert ended.stderr.count("\n") == 1


def test_a_worker_waits_for_redis_and_can_be_stopped_meanwhile(tmp_path: Path) -> None:
    environment = os.environ | {"CHARLOOM_REDIS_URL": NOWHERE, "CHARLOOM_DATA": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-m", "worker"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stdout
        assert "waiting for Redis" in worker.stdout.readline()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(5) == 0

"""Followers get each event once and in order, from disk and from Redis, whichever is away."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import redis

import worker.live
from app.supervisor.valkey import EmbeddedRedis
from tests.support import NOWHERE, all_events, events_until, queue_at
from worker.events import EventLog, JobEvent
from worker.jobs import Job, JobStore
from worker.live import STREAM_LENGTH
from worker.queue import Queue


def kill(server: EmbeddedRedis) -> None:
    assert server.process
    server.process.kill()
    server.process.wait()


async def until_blocked(url: str, followers: int = 1) -> None:
    """Returns when that many followers wait for Redis."""
    with redis.Redis.from_url(url) as client:
        async with asyncio.timeout(10):
            while await asyncio.to_thread(_blocked, client) != followers:
                await asyncio.sleep(0.005)


def _blocked(client: "redis.Redis") -> int:
    return int(client.info("clients")["blocked_clients"])


def told(queue: Queue, job: Job, event: str, data: dict[str, Any]) -> JobEvent:
    told = EventLog(job.directory).append(event, data)
    queue.events.publish(job.id, told)
    return told


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


def test_an_outage_is_bridged_from_the_disk(own_redis: EmbeddedRedis, job: Job, data: Path) -> None:
    queue = queue_at(own_redis.url, data)
    told(queue, job, "progress", {"step": 1})

    async def follow() -> list[int]:
        events = queue.events.follow(job)
        ids = [(await anext(events)).id]
        waiting = asyncio.ensure_future(anext(events))
        await until_blocked(own_redis.url)
        kill(own_redis)
        told(queue, job, "progress", {"step": 2})
        ids.append((await asyncio.wait_for(waiting, 3)).id)
        told(queue, job, "progress", {"step": 3})
        ids.append((await asyncio.wait_for(anext(events), 3)).id)
        await asyncio.to_thread(own_redis.start)
        queue.events.publish(job.id, job.finish("finished"))
        return ids + [event.id async for event in events]

    assert asyncio.run(follow()) == [1, 2, 3, 4]


def test_without_redis_a_follower_still_gets_all(job: Job, data: Path) -> None:
    EventLog(job.directory).append("progress", {"step": 1})
    job.finish("failed", {"title": "No", "detail": "no"})
    assert [event.event for event in all_events(queue_at(NOWHERE, data), job)] == [
        "progress",
        "end",
    ]


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
    queue: Queue, store: JobStore, job: Job, redis_url: str
) -> None:
    queue.events.publish(job.id, job.finish("finished"))
    job = store.resume(job.id, {})

    async def follow() -> list[JobEvent]:
        events = queue.events.follow(job)
        first = asyncio.ensure_future(anext(events))
        await until_blocked(redis_url)
        assert not first.done()
        await asyncio.to_thread(told, queue, job, "progress", {"step": 1})
        seen = [await asyncio.wait_for(first, 3)]
        await asyncio.to_thread(lambda: queue.events.publish(job.id, job.finish("finished")))
        return seen + [event async for event in events]

    assert [event.id for event in asyncio.run(follow())] == [2, 3]


def test_an_end_that_was_read_before_the_job_had_ended_is_told_soon(
    queue: Queue, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is written an instant later; Redis does not tell that follower again."""
    monkeypatch.setattr(worker.live, "_LONGEST_WAIT", 100.0)
    ends = iter([True])
    look = Job.end
    monkeypatch.setattr(Job, "end", lambda job: None if next(ends, False) else look(job))
    queue.events.publish(job.id, job.finish("finished"))
    assert [event.event for event in all_events(queue, job)] == ["end"]


def test_a_follower_of_a_deleted_job_is_let_go(
    queue: Queue, store: JobStore, job: Job, redis_url: str
) -> None:
    async def follow() -> list[JobEvent]:
        events = queue.events.follow(job)
        first = asyncio.ensure_future(anext(events, None))
        await until_blocked(redis_url)
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
        await until_blocked(redis_url)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until_blocked(redis_url, 0)

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


@pytest.mark.parametrize("said", [b"[" * 100_000, b"3", b"{", None])
def test_what_no_worker_wrote_is_read_from_the_disk(
    queue: Queue, job: Job, redis_url: str, said: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker.live, "_POLL", 0.01)
    fields: dict[Any, Any] = {"event": "progress"} | ({} if said is None else {"data": said})
    told(queue, job, "progress", {"step": 1})

    async def follow() -> list[JobEvent]:
        events = queue.events.follow(job)
        seen = [await anext(events)]
        EventLog(job.directory).append("progress", {"step": 2})
        with redis.Redis.from_url(redis_url) as client:
            client.xadd(f"charloom:events:{job.id}", fields, id="2-0")
        seen.append(await asyncio.wait_for(anext(events), 10))
        await events.aclose()
        return seen

    assert [event.data for event in asyncio.run(follow())] == [{"step": 1}, {"step": 2}]

"""The queue is a hint: a job waits there once, and Redis may be away."""

from pathlib import Path

import pytest
import redis

from tests.support import NOWHERE, queue_at, start_elsewhere
from worker.events import JobEvent
from worker.jobs import Job
from worker.queue import Queue


def test_a_job_waits_once(queue: Queue, job: Job) -> None:
    assert queue.enqueue(job.id)
    assert not queue.enqueue(job.id)
    assert queue.waiting() == [job.id]
    assert queue.is_queued(job.id)


def test_a_forgotten_job_leaves_nothing_behind(queue: Queue, job: Job, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        queue.enqueue(job.id)
        client.lmove(f"rq:queue:{queue.name}", f"rq:queue:{queue.name}:intermediate")
        start_elsewhere(client, queue, job.id)
        queue.forget(job.id)
        left = [key.decode() for key in client.scan_iter() if job.id in key.decode()]
        # It is the other worker's.
        assert left == [f"charloom:lease:{job.id}"]
        assert client.zcard(f"rq:wip:{queue.name}") == 0
        assert client.llen(f"rq:queue:{queue.name}:intermediate") == 0
    assert queue.enqueue(job.id)


def test_without_redis_a_job_is_not_queued_and_nobody_minds(
    job: Job, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("redis.retry.sleep", pauses.append)
    queue = queue_at(NOWHERE, data)
    assert not queue.enqueue(job.id)
    queue.events.publish(job.id, JobEvent(1, "progress", {}))
    assert not queue.ping()
    assert pauses == []
    with pytest.raises(redis.ConnectionError):
        queue.waiting()

"""The queue is a hint: a job waits there once, and Redis may be away."""

import time

import pytest
import redis

from tests.support import NOWHERE, start_elsewhere
from worker.events import JobEvent
from worker.jobs import Job
from worker.queue import NAME, Queue


def test_a_job_waits_once(queue: Queue, job: Job) -> None:
    assert queue.enqueue(job.id)
    assert not queue.enqueue(job.id)
    assert queue.waiting() == [job.id]
    assert queue.is_queued(job.id)


def test_a_forgotten_job_leaves_nothing_behind(queue: Queue, job: Job, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        queue.enqueue(job.id)
        client.lmove(f"rq:queue:{NAME}", f"rq:queue:{NAME}:intermediate")
        start_elsewhere(client, job.id, host="elsewhere")
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

"""The queue: the jobs that wait for a worker, in Redis.

The disk (``worker.jobs``) is the truth and Redis a hint. ``worker.reconciler`` puts back a job that
Redis lost, and an outage never stops a training. Knows the one function that is queued by its path
only, so it imports no torch.
"""

import socket
from contextlib import suppress
from typing import Any

import redis
import redis.asyncio
from rq import Queue as RQQueue
from rq import worker_registration
from rq.defaults import RQ_KEY_PREFIX
from rq.exceptions import DuplicateJobError
from rq.executions import ExecutionRegistry
from rq.job import Job as RQJob
from rq.results import Result

from worker.connection import Outage, connect
from worker.live import LiveEvents

NAME = "training"
"""The one queue: from several, RQ takes jobs in a way that loses them when a worker is killed."""

FUNCTION = "worker.trainer.attempt.run"
"""The only function that a worker runs."""

FORMER_FUNCTIONS = ("worker.train.run",)
"""Its paths in earlier releases: jobs may be queued under one when a new release starts."""

FOREVER = 10**6
"""Retries that RQ allows: attempts are counted on disk, not by RQ."""

_FAILURE_TTL = 24 * 3600


class Queue:
    """Jobs that wait for a worker. Methods block; ``events`` has those for an event loop.

    While Redis is away or refuses, ``enqueue`` and ``events.publish`` do without it. All others but
    ``ping`` raise ``redis.RedisError``.
    """

    def __init__(self, url: str) -> None:
        self._redis = connect(url)
        self._outage = Outage()
        self.events = LiveEvents(url, self._redis, self._outage)
        self._queue = RQQueue(NAME, connection=self._redis, serializer="json")

    def enqueue(self, job_id: str, *, front: bool = False) -> bool:
        """Puts a job in the queue, unless it is queued or being worked on already.

        Returns:
            Whether it was put there. While Redis is away it is not, and the reconciler does it
            later: the job is safe on disk.
        """
        try:
            self._queue.enqueue_call(
                FUNCTION,
                args=(job_id,),
                job_id=job_id,
                description=f"train {job_id}",
                unique=True,
                at_front=front,
                timeout=-1,
                # Forgotten as soon as it returns: its result is on disk, and its id free again.
                result_ttl=0,
                # No retry of RQ's, which would know neither a pause nor an end.
                failure_ttl=_FAILURE_TTL,
            )
        except DuplicateJobError:
            return False
        except redis.RedisError as error:
            self._outage.began(error)
            return False
        self._outage.ended()
        return True

    def forget(self, job_id: str) -> None:
        """Removes everything that RQ knows of a job; the job itself stays on disk.

        By hand: RQ's own removal fails on the keys that a killed worker leaves, and ignores the
        list between queue and worker.
        """
        started = self._queue.started_job_registry.key
        executions = [m for m in self._started() if m.partition(":")[0] == job_id]
        keys = [RQJob.key_for(job_id), Result.get_key(job_id)]  # type: ignore[no-untyped-call]
        keys.append(ExecutionRegistry(job_id, self._redis).key)
        keys.append(self._queue.intermediate_queue.get_first_seen_key(job_id))
        keys += [_execution_key(member) for member in executions]
        with self._redis.pipeline() as pipe:
            pipe.lrem(self._queue.key, 0, job_id)
            pipe.lrem(self._queue.intermediate_queue_key, 0, job_id)
            for registry in (self._queue.failed_job_registry, self._queue.canceled_job_registry):
                pipe.zrem(registry.key, job_id)
            if executions:
                pipe.zrem(started, *executions)
            pipe.delete(*keys)
            pipe.execute()

    def put_aside(self, job_id: str) -> None:
        """Forgets that a worker took a job which it may not work on; others may."""
        self._redis.lrem(self._queue.intermediate_queue_key, 0, job_id)

    def waiting(self) -> list[str]:
        """Ids of the jobs in the queue, the next one first."""
        return [_text(job_id) for job_id in self._redis.lrange(self._queue.key, 0, -1)]

    def arrange(self, wanted: list[str]) -> None:
        """Puts these jobs of the queue in this order, in front of others. Does nothing where the
        queue changes meanwhile: whoever changed it, or the reconciler, asks again."""
        key = self._queue.key
        with self._redis.pipeline() as pipe, suppress(redis.WatchError):
            pipe.watch(key)  # type: ignore[no-untyped-call]
            now = [_text(job_id) for job_id in pipe.lrange(key, 0, -1)]
            known = set(wanted)
            then = [job_id for job_id in wanted if job_id in set(now)]
            then += [job_id for job_id in now if job_id not in known]
            if then == now:
                return
            pipe.multi()
            pipe.delete(key)
            pipe.rpush(key, *then)
            pipe.execute()

    def is_queued(self, job_id: str) -> bool:
        return self._redis.lpos(self._queue.key, job_id) is not None

    def workers(self) -> int:
        """The number of workers with a heartbeat: a killed one counts for 80 s more."""
        keys = worker_registration.get_keys(queue=self._queue)
        return int(self._redis.exists(*keys)) if keys else 0

    def ping(self) -> bool:
        """Whether Redis answers."""
        try:
            return bool(self._redis.ping())
        except redis.RedisError:
            return False

    def unfinished_business(self) -> set[str]:
        """Ids of jobs that RQ believes are being worked on, or are between queue and worker."""
        between = self._redis.lrange(self._queue.intermediate_queue_key, 0, -1)
        started = (member.partition(":")[0] for member in self._started())
        return {*started, *(_text(job_id) for job_id in between)}

    def is_leased_elsewhere(self, job_id: str) -> bool:
        """Whether a worker of another host holds the job's lease.

        A lock is seen only by hosts that share the disk with their locks; the lease, which runs
        out by the clock of Redis, by all.
        """
        for member in self._started():
            if member.partition(":")[0] != job_id:
                continue
            name = self._redis.hget(_execution_key(member), "worker_name")
            if name is None:
                continue
            host = self._redis.hget(f"{RQ_KEY_PREFIX}:worker:{_text(name)}", "hostname")
            if host is not None and _text(host) != socket.gethostname():
                return True
        return False

    def _started(self) -> list[str]:
        """``<job id>:<execution id>`` of the jobs that RQ believes are being worked on."""
        members = self._redis.zrange(self._queue.started_job_registry.key, 0, -1)
        return [_text(member) for member in members]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _execution_key(member: str) -> str:
    return f"{RQ_KEY_PREFIX}:execution:{member}"

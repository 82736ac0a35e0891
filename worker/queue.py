"""The queue: the jobs that wait for a worker, in Redis.

The disk (``worker.jobs``) is the truth and Redis a hint. ``worker.reconciler`` puts back a job that
Redis lost, and an outage never stops a training. Knows the one function that is queued by its path
only, so it imports no torch.
"""

from contextlib import suppress
from typing import Any, Self

import redis
import redis.asyncio
from rq import Queue as RQQueue
from rq import worker_registration
from rq.defaults import RQ_KEY_PREFIX
from rq.exceptions import DuplicateJobError
from rq.executions import ExecutionRegistry
from rq.job import Job as RQJob
from rq.results import Result

from worker.connection import Outage, connect, refusal
from worker.leases import Leases
from worker.live import LiveEvents
from worker.settings import LEASE_SECONDS, WorkerSettings
from worker.vitals import VitalSigns

NAME = "training"
"""The queue's name but for the store's id.

A worker takes from one queue only: from several, RQ takes jobs in a way that loses them when a
worker is killed.
"""

FUNCTION = "worker.trainer.attempt.run"
"""The only function that a worker runs."""

FORMER_FUNCTIONS = ("worker.train.run",)
"""Its paths in earlier releases: jobs may be queued under one when a new release starts."""

FOREVER = 10**6
"""Retries that RQ allows: attempts are counted on disk, not by RQ."""

_FAILURE_TTL = 24 * 3600


def queue_name(store_id: str) -> str:
    """The name of a store's queue: disks that are not shared share no queue either."""
    return f"{NAME}:{store_id}"


class Queue:
    """Jobs that wait for a worker. Methods block; ``events`` has those for an event loop.

    While Redis is away or refuses, ``enqueue`` and ``events.publish`` do without it. All others but
    ``ping`` raise ``redis.RedisError``.

    Args:
        url: where Redis is.
        store_id: that of the data directory (``DataDirectory.store_id``).
        lease_seconds: for which a lease is valid.
    """

    def __init__(self, url: str, store_id: str, lease_seconds: float = LEASE_SECONDS) -> None:
        self._redis = connect(url)
        self.leases = Leases(self._redis, lease_seconds)
        self.vitals = VitalSigns(self._redis, store_id)
        self._outage = Outage()
        self.events = LiveEvents(url, self._redis, self._outage)
        name = queue_name(store_id)
        self._queue = RQQueue(name, connection=self._redis, serializer="json")
        # The queue of former releases, which every store shared.
        self._former = RQQueue(NAME, connection=self._redis, serializer="json")

    @classmethod
    def of(cls, settings: WorkerSettings) -> Self:
        """The queue that a worker takes from."""
        return cls(settings.redis_url, settings.data.store_id(), settings.lease_seconds)

    @property
    def name(self) -> str:
        return self._queue.name

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
            pipe.lrem(self._former.key, 0, job_id)
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
        try:
            keys = worker_registration.get_keys(queue=self._queue)
            return int(self._redis.exists(*keys)) if keys else 0
        except redis.RedisError as error:
            self._outage.began(error)
            raise

    def ping(self) -> bool:
        """Whether Redis answers."""
        return self.trouble() is None

    def trouble(self) -> str | None:
        """Why Redis cannot be used, in words for people; None if it answers."""
        try:
            # Not PING, which a user may send who may do nothing else.
            self._redis.llen(self._queue.key)
        except redis.RedisError as error:
            return refusal(error) or "Redis does not answer"
        return None

    @property
    def trouble_told(self) -> str:
        """Why the last call failed, in words for people."""
        return self._outage.refusal or "Redis does not answer"

    def unfinished_business(self) -> set[str]:
        """Ids of jobs that RQ believes are being worked on, or are between queue and worker."""
        between = self._redis.lrange(self._queue.intermediate_queue_key, 0, -1)
        started = (member.partition(":")[0] for member in self._started())
        return {*started, *(_text(job_id) for job_id in between)}

    def _started(self) -> list[str]:
        """``<job id>:<execution id>`` of the jobs that RQ believes are being worked on."""
        members = self._redis.zrange(self._queue.started_job_registry.key, 0, -1)
        return [_text(member) for member in members]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _execution_key(member: str) -> str:
    return f"{RQ_KEY_PREFIX}:execution:{member}"

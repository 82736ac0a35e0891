"""The queue and the live events: what server and workers say to each other through Redis.

The disk (``worker.jobs``) is the truth and Redis a hint. A job that Redis lost is put back by the
``Reconciler``, an event that Redis lost is read from the disk, and an outage never stops who
trains. Knows the one function that is ever queued by its dotted path alone, so it imports no
torch.
"""

import asyncio
import json
import logging
import shutil
import socket
import time
from collections.abc import AsyncGenerator, Iterable, Iterator
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry as ConnectionRetry
from rq import Queue as RQQueue
from rq import worker_registration
from rq.defaults import RQ_KEY_PREFIX
from rq.exceptions import DuplicateJobError
from rq.executions import ExecutionRegistry
from rq.job import Job as RQJob
from rq.job import Retry
from rq.results import Result

from worker.jobs import Event, EventTail, Job, JobStore

NAME = "training"
"""The one queue: of several, RQ takes jobs in a way that loses them when a worker is killed."""

FUNCTION = "worker.train.run"
"""The one function that a worker runs."""

FOREVER = 10**6
"""Retries: how often a job may be tried is counted on disk, not by RQ."""

STREAM_LENGTH = 1000
"""Events of a job that Redis keeps, about; the rest is on disk."""

_TIMEOUT = 2.0
_PAUSE = 5.0
"""Seconds without a try to publish after one that failed."""
_POLL = 1.0
"""Seconds between two looks at the disk while Redis is away."""
_BLOCK = 2.0
"""Seconds that a follower waits for Redis before it looks at the disk all the same."""
_SOON = 0.01
"""As ``_BLOCK``, at first, where it has read an end of a job that has not ended yet."""
_FAILURE_TTL = 24 * 3600
_STREAM_TTL = 24 * 3600
_ENDED_STREAM_TTL = 600

log = logging.getLogger("charloom.queue")


def connect(url: str) -> "redis.Redis":
    """A connection for short questions: an answer or an error within seconds."""
    return redis.Redis.from_url(
        url,
        socket_timeout=_TIMEOUT,
        socket_connect_timeout=_TIMEOUT,
        retry=ConnectionRetry(NoBackoff(), 1),
    )


class Queue:
    """Jobs that wait for a worker, and the events of those at work. For threads, not for tasks.

    While Redis is away or refuses, what changes something does without it, and what asks raises
    ``redis.RedisError``.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._redis = connect(url)
        self._queue = RQQueue(NAME, connection=self._redis, serializer="json")
        self._away = False
        self._quiet_until = 0.0

    # Jobs

    def enqueue(self, job_id: str, *, front: bool = False) -> bool:
        """Puts a job in the queue, unless it is there or at work already.

        Returns:
            Whether it was put there. While Redis is away it is not, and the reconciler does it
            later: what matters is on disk.
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
                # Gone as soon as it returns: how it ended is on disk, and the id is free again.
                result_ttl=0,
                failure_ttl=_FAILURE_TTL,
                # In front: whoever had begun goes on before others begin.
                retry=Retry(max=FOREVER, enqueue_at_front=True),
            )
        except DuplicateJobError:
            return False
        except redis.RedisError as error:
            self._warn(error)
            return False
        self._well()
        return True

    def forget(self, job_id: str) -> None:
        """Removes all that RQ knows of a job; the job itself is on disk and stays.

        By hand, since RQ's own removal fails on what a killed worker leaves, and knows nothing
        of the list between queue and worker.
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

    def waiting(self) -> list[str]:
        """Ids of the jobs in the queue, the next one first."""
        return [_text(job_id) for job_id in self._redis.lrange(self._queue.key, 0, -1)]

    def is_queued(self, job_id: str) -> bool:
        return self._redis.lpos(self._queue.key, job_id) is not None

    def workers(self) -> int:
        """Workers that were heard of lately: one that was killed counts for 80 s more."""
        keys = worker_registration.get_keys(queue=self._queue)
        return int(self._redis.exists(*keys)) if keys else 0

    def ping(self) -> bool:
        """Whether Redis answers."""
        try:
            return bool(self._redis.ping())
        except redis.RedisError:
            return False

    def unfinished_business(self) -> set[str]:
        """Ids of jobs that RQ takes to be at work or between queue and worker."""
        between = self._redis.lrange(self._queue.intermediate_queue_key, 0, -1)
        started = (member.partition(":")[0] for member in self._started())
        return {*started, *(_text(job_id) for job_id in between)}

    def is_leased_elsewhere(self, job_id: str) -> bool:
        """Whether a worker of another host has lately said that it works on the job.

        A lock tells only of hosts that share the disk in full; the lease, by the clock of Redis,
        of all.
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
        """``<job id>:<execution id>`` of what RQ takes to be at work."""
        members = self._redis.zrange(self._queue.started_job_registry.key, 0, -1)
        return [_text(member) for member in members]

    # Events

    def publish(self, job_id: str, event: Event) -> None:
        """Tells followers of an event that is on disk already. Never raises, never waits long."""
        now = time.monotonic()
        # The last one is always tried: those who wait for it should not have to look at the disk.
        if now < self._quiet_until and event.event != "end":
            return
        try:
            try:
                self._add(job_id, event)
            except redis.ResponseError as error:
                if "equal or smaller" not in str(error):
                    raise
                # The disk lost its newest events in a power cut, and their ids come again.
                self._redis.delete(_stream(job_id))
                self._add(job_id, event)
        except redis.RedisError as error:
            self._quiet_until = now + _PAUSE
            self._warn(error)
        else:
            self._well()

    def _add(self, job_id: str, event: Event) -> None:
        fields: dict[Any, Any] = {
            "event": event.event,
            "data": json.dumps(event.data, ensure_ascii=False),
        }
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.xadd(
                _stream(job_id),
                fields,
                id=f"{event.id}-0",
                maxlen=STREAM_LENGTH,
                approximate=True,
            )
            pipe.expire(_stream(job_id), _ENDED_STREAM_TTL if event.event == "end" else _STREAM_TTL)
            pipe.execute()

    async def follow(self, job: Job, after: int = 0) -> AsyncGenerator[Event, None]:
        """A job's events after an id, from the disk and then as they come, until it has ended.

        An id that the job has not reached starts over. Close the generator to stop early.
        """
        sequence = _Sequence(after)
        tail = EventTail(job.directory)
        client = redis.asyncio.Redis.from_url(
            self._url,
            socket_timeout=_BLOCK + _TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            retry=AsyncRetry(NoBackoff(), 0),
        )
        wait = _BLOCK
        try:
            while True:
                held = sequence.end
                # Asked before the disk is read: then all that came before the end is read too.
                gone, ended = await asyncio.to_thread(_ending, job)
                for event in sequence.next(await asyncio.to_thread(tail.read)):
                    yield event
                if ended and sequence.end is not None:
                    yield sequence.end
                if ended or gone:
                    return
                # An end is on disk an instant before its job has ended, and Redis will not tell of
                # it to those who have it. After a resume it may be long until something comes.
                fresh = sequence.end not in (None, held)
                wait = _SOON if fresh else min(2 * wait, _BLOCK)
                while (events := await _live(client, job.id, sequence.last, wait)) is not None:
                    if not sequence.goes_on_with(events):
                        break
                    for event in sequence.next(events):
                        yield event
                    if sequence.end is not None:
                        break
        finally:
            await client.aclose()

    # Weather

    def _warn(self, error: redis.RedisError) -> None:
        if not self._away:
            self._away = True
            log.warning("Redis is away: %s", error)

    def _well(self) -> None:
        if self._away:
            self._away = False
            log.warning("Redis is back")


def _ending(job: Job) -> tuple[bool, bool]:
    """Whether a job is gone, and whether it has ended."""
    return not job.directory.is_dir(), job.result() is not None


async def _live(
    client: "redis.asyncio.Redis", job_id: str, last: int, wait: float
) -> list[Event] | None:
    """The next events in Redis; None after ``wait`` seconds, when a look at the disk is due."""
    try:
        found: Any = await client.xread({_stream(job_id): f"{last}-0"}, block=int(wait * 1000))
    except redis.RedisError:
        await asyncio.sleep(_POLL)
        return None
    if not found:
        return None
    ((_, entries),) = found
    return [_event(id_, fields) for id_, fields in entries]


def _event(id_: bytes, fields: dict[bytes, bytes]) -> Event:
    number, _, _ = id_.partition(b"-")
    return Event(int(number), fields[b"event"].decode(), json.loads(fields[b"data"]))


class _Sequence:
    """Puts events in order: each id once, and an ``end`` only once nothing can follow it."""

    def __init__(self, after: int) -> None:
        self.last = max(0, after)
        self.end: Event | None = None
        self._first = True

    def goes_on_with(self, events: list[Event]) -> bool:
        return events[0].id == self.last + 1

    def next(self, events: Iterable[Event]) -> Iterator[Event]:
        events = list(events)
        if self._first:
            self._first = False
            if self.last > max((event.id for event in events), default=0):
                self.last = 0
        for event in events:
            if event.id <= self.last:
                continue
            self.last = event.id
            self.end = event if event.event == "end" else None
            if self.end is None:
                yield event


class Reconciler:
    """Puts back into the queue what is unended on disk and alive nowhere."""

    def __init__(self, queue: Queue, store: JobStore) -> None:
        self._queue = queue
        self._store = store
        self._lost_since: dict[str, float] = {}

    def reconcile(self, grace: float) -> list[str]:
        """Looks once, and returns the ids that were put back. Raises RedisError.

        Args:
            grace: seconds that a job must have been lost, over several looks: RQ may have handed
                it to a worker that is just about to lock it. 0 when there is no such worker.
        """
        waiting = set(self._queue.waiting())
        lost: dict[str, float] = {}
        put_back = []
        now = time.monotonic()
        for job in self._store.unended():
            if job.id in waiting or job.is_locked() or not has_room(job):
                continue
            since = lost[job.id] = self._lost_since.get(job.id, now)
            if now - since < grace or self._queue.is_leased_elsewhere(job.id):
                continue
            if self._finish_cancelled(job):
                continue
            # Asked once more: between the first look and the lock it may have been put back.
            if not self._queue.is_queued(job.id) and self._put_back(job):
                del lost[job.id]
                put_back.append(job.id)
        self._lost_since = lost
        self._forget_ended()
        return put_back

    def _put_back(self, job: Job) -> bool:
        running = job.running()
        self._queue.forget(job.id)
        # Who had begun goes on before others begin; who waits for room does not hold them up.
        return self._queue.enqueue(job.id, front=bool(running) and not running.get("paused"))

    def _finish_cancelled(self, job: Job) -> bool:
        """Ends a job whose worker died before it could heed the cancel."""
        if not job.cancel_requested():
            return False
        with job.lock() as held:
            if held and job.result() is None:
                self._queue.publish(job.id, job.finish("cancelled"))
                self._queue.forget(job.id)
        return True

    def _forget_ended(self) -> None:
        for job_id in self._queue.unfinished_business():
            try:
                job = self._store.get(job_id)
            except LookupError:
                continue
            if job.result() is not None and not job.is_locked():
                self._queue.forget(job_id)


def has_room(job: Job) -> bool:
    """False for a job that is paused since the disk was full, while it is."""
    running = job.running()
    if not running.get("paused"):
        return True
    return bool(shutil.disk_usage(job.directory).free >= running.get("needs_bytes", 0))


def _stream(job_id: str) -> str:
    return f"charloom:events:{job_id}"


def _execution_key(member: str) -> str:
    return f"{RQ_KEY_PREFIX}:execution:{member}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

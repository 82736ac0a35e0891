"""A job's events as they come: published to a Redis Stream, followed from disk and Redis.

An event is on disk before it is published here, so an event that Redis loses is read from disk.
Knows no queue.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Iterable, Iterator
from typing import Any, Protocol

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff

from models.json_lines import parsed
from models.places import is_there
from models.storage import StorageAway
from worker.connection import TIMEOUT, Outage
from worker.events import EndData, EventTail, JobEvent
from worker.jobs import Job

STREAM_LENGTH = 1000
"""Events of a job that Redis keeps, about; the rest is on disk."""

_PAUSE = 5.0
"""Seconds without an attempt to publish after one that failed."""
_POLL = 1.0
"""Seconds between two looks at the disk while Redis is away."""
_LONGEST_WAIT = 2.0
"""Seconds that a follower waits for Redis before it looks at the disk."""
_SHORTEST_WAIT = 0.01
"""The same at first after an end event of a job that has not ended yet."""
_STREAM_TTL = 24 * 3600
_ENDED_STREAM_TTL = 600


class Followers(Protocol):
    """Those who follow jobs."""

    def publish(self, job_id: str, event: JobEvent) -> None:
        """Sends an event that is kept already. Never raises, never waits long."""


class LiveEvents:
    """Publishes events from a thread; follows them in an event loop."""

    def __init__(self, url: str, connection: "redis.Redis", outage: Outage) -> None:
        self._url = url
        self._redis = connection
        self._outage = outage
        self._quiet_until = 0.0

    def publish(self, job_id: str, event: JobEvent) -> None:
        """Sends followers an event that is on disk already. Never raises, never waits long."""
        now = time.monotonic()
        # The end is always tried: followers who wait for it should not have to poll the disk.
        if now < self._quiet_until and event.event != "end":
            return
        try:
            try:
                self._add(job_id, event)
            except redis.ResponseError as error:
                if "equal or smaller" not in str(error):
                    raise
                # The disk lost its newest events in a power cut, and their ids are used again.
                self._redis.delete(_stream(job_id))
                self._add(job_id, event)
        except redis.RedisError as error:
            self._quiet_until = now + _PAUSE
            self._outage.began(error)
        else:
            self._outage.ended()

    def _add(self, job_id: str, event: JobEvent) -> None:
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

    async def follow(self, job: Job, after: int = 0) -> AsyncGenerator[JobEvent, None]:
        """A job's events after an id, from disk and then as they come, until it has ended.

        An id that the job has not reached starts from the beginning. Close the generator to stop
        early.
        """
        sequence = _Sequence(after)
        tail = EventTail(job.directory)
        client = redis.asyncio.Redis.from_url(
            self._url,
            socket_timeout=_LONGEST_WAIT + TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            retry=AsyncRetry(NoBackoff(), 0),
        )
        wait = _LONGEST_WAIT
        is_gap = False
        try:
            while True:
                held = sequence.end
                try:
                    gone, end, events = await asyncio.to_thread(_look, job, tail, is_gap)
                except StorageAway:
                    await asyncio.sleep(_POLL)
                    continue
                for event in sequence.next(events):
                    yield event
                if end and sequence.end is not None:
                    yield sequence.end
                if end or gone:
                    return
                # An end is on disk an instant before its job has ended, and Redis does not send it
                # again. After a resume it may take long until the next event comes.
                is_new = sequence.end not in (None, held)
                wait = _SHORTEST_WAIT if is_new else min(2 * wait, _LONGEST_WAIT)
                is_gap = False
                while (found := await _live(client, job.id, sequence.last, wait)) is not None:
                    if is_gap := not sequence.continues_with(found):
                        break
                    for event in sequence.next(found):
                        yield event
                    if sequence.end is not None:
                        break
        finally:
            await client.aclose()


def is_all(job: Job, last: int) -> bool:
    """Whether a job has ended, with ``last`` the id of its last event. Reads the disk."""
    _, end, events = _look(job, EventTail(job.directory))
    return end is not None and last == max((event.id for event in events), default=0)


def _look(
    job: Job, tail: EventTail, is_new: bool = False
) -> tuple[bool, EndData | None, list[JobEvent]]:
    """Whether a job is gone, its end if it has ended, and its events since the last look.

    Args:
        job: the job.
        tail: its events, as far as they were read.
        is_new: there certainly is an event that was not read.

    Raises:
        StorageAway: it is not here, and cannot be brought.
    """
    job.refresh(is_needed=is_new)
    # Asked before the events are read, so that every event before the end is read.
    gone, end = not is_there(job.directory), job.end()
    with job.events_here():
        return gone, end, tail.read(end)


async def _live(
    client: "redis.asyncio.Redis", job_id: str, last: int, wait: float
) -> list[JobEvent] | None:
    """The next events in Redis; None after ``wait`` seconds, when the disk is to be read."""
    try:
        found: Any = await client.xread({_stream(job_id): f"{last}-0"}, block=int(wait * 1000))
    except redis.RedisError:
        await asyncio.sleep(_POLL)
        return None
    if not found:
        return None
    ((_, entries),) = found
    try:
        return [_event(id_, fields) for id_, fields in entries]
    except (ValueError, KeyError):
        # No worker wrote that. The disk has what is true.
        await asyncio.sleep(_POLL)
        return None


def _event(id_: bytes, fields: dict[bytes, bytes]) -> JobEvent:
    """Raises ValueError or KeyError: it is not one."""
    number, _, _ = id_.partition(b"-")
    data = parsed(fields[b"data"])
    if not isinstance(data, dict):
        raise ValueError("the data of an event must be an object")
    return JobEvent(int(number), fields[b"event"].decode(), data)


class _Sequence:
    """Puts events in order: each id once, and an ``end`` only when nothing can follow it."""

    def __init__(self, after: int) -> None:
        self.last = max(0, after)
        self.end: JobEvent | None = None
        self._first = True

    def continues_with(self, events: list[JobEvent]) -> bool:
        return events[0].id == self.last + 1

    def next(self, events: Iterable[JobEvent]) -> Iterator[JobEvent]:
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


def _stream(job_id: str) -> str:
    return f"charloom:events:{job_id}"

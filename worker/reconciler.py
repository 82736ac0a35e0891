"""Puts lost jobs back into the queue: those unended on disk that are not queued and not worked on.

It runs in the server and in every worker. The server looks while all workers are busy, since a
worker looks between two jobs only; a worker that starts finds the job of a killed one, whether a
server runs or not. Two that look at once do no harm: a job is queued once. A job that is paused
stays out until its time comes; one that cannot be read disturbs no other. A job whose lock is held
is lost too where nobody renews its lease any more. Knows no training.
"""

import secrets
import shutil
import time
from collections import defaultdict

import redis

from models.places import tell_once
from worker import turns
from worker.job_errors import UnknownJob
from worker.jobs import Job, JobStore
from worker.ownership import taken
from worker.queue import Queue

LOST_SECONDS = 2.0
"""How long a job must be lost before it is put back: from the queue to the lock it takes RQ
milliseconds."""

LONGEST_PAUSE = 300.0
"""Seconds that a job is paused at most, before it is tried again."""


class Reconciler:
    """Remembers between two looks since when a job has been lost."""

    def __init__(self, queue: Queue, store: JobStore, most_running: int | None = None) -> None:
        """``most_running`` is how many jobs of one owner may be worked on at once."""
        self._queue = queue
        self._store = store
        self._most_running = most_running
        self._lost_since: dict[tuple[str, bool], float] = {}
        self._taken: turns.OfOwners = defaultdict(set)
        self._name = f"reconciler-{secrets.token_hex(8)}"

    def reconcile(self, grace: float) -> list[str]:
        """Looks once.

        Args:
            grace: seconds for which a job must have been lost, over several looks: RQ may have
                handed it to a worker that is about to lock it. 0 where there is no such worker.

        Returns:
            Ids of the jobs that were put back.

        Raises:
            redis.RedisError: Redis is away.
        """
        # Whoever cannot reach Redis cannot say that a lease is missing.
        before, self._lost_since = self._lost_since, {}
        waiting = set(self._queue.waiting())
        lost: dict[tuple[str, bool], float] = {}
        put_back = []
        for job in self._in_line():
            try:
                if job.id in waiting:
                    self._taken[turns.owner_of(job)].add(job.id)
                is_locked = job.is_locked()
                if not self._is_lost(job, waiting, is_locked):
                    continue
                now = time.monotonic()
                since = lost[job.id, is_locked] = before.get((job.id, is_locked), now)
                if now - since < (self._queue.leases.watch if is_locked else grace):
                    continue
                if self._is_back(job):
                    del lost[job.id, is_locked]
                    put_back.append(job.id)
            except redis.RedisError:
                raise
            except Exception as error:
                tell_once(f"job {job.id} cannot be queued again: {error!r}")
        self._lost_since = lost
        turns.take(self._queue, self._store)
        self._forget_ended()
        return put_back

    def _in_line(self) -> list[Job]:
        """Unended jobs, the next ones first.

        Of an owner's, no more are put back than may begin: those at work count, and those that are
        in the queue already and come first.
        """
        jobs = list(self._store.unended())
        self._taken = turns.locked(jobs if self._most_running else ())
        return sorted(jobs, key=turns.place) if self._most_running else jobs

    def _is_lost(self, job: Job, waiting: set[str], is_locked: bool) -> bool:
        """Whether nobody works on a job and nobody is going to.

        A process that is frozen keeps its lock but not its lease; one that has died has lost its
        lock, and its lease runs out unless it died on this machine. One of a former release keeps
        its lock and never had a lease.
        """
        if job.id in waiting and not job.cancel_requested():
            return False
        if is_locked:
            return job.heeds_fence() and self._queue.leases.holder(job.id) is None
        return self._queue.leases.is_free(job.id)

    def _is_back(self, job: Job) -> bool:
        """Puts a lost job back, or ends it if it is cancelled; whether it is in the queue."""
        if job.cancel_requested():
            self._finish(job)
            return False
        # Asked again: another process may have put it back since the first look.
        may_begin = is_due(job) and turns.is_below(job, self._taken, self._most_running)
        return may_begin and not self._queue.is_queued(job.id) and self._put_back(job)

    def _put_back(self, job: Job) -> bool:
        self._taken[turns.owner_of(job)].add(job.id)
        running = job.running()
        self._queue.forget(job.id)
        # A job that has begun comes before others, but not one that waits for disk space.
        waits = running.get("paused") and "needs_bytes" in running
        front = bool(running.get("started_at")) and not waits
        return self._queue.enqueue(job.id, front=front)

    def _finish(self, job: Job) -> None:
        """Ends a cancelled job whose worker died before it could act on the cancel."""
        with taken(job, self._queue.leases, self._name) as owned:
            if owned and job.result() is None:
                self._queue.events.publish(job.id, job.finish("cancelled"))
        if owned:
            self._queue.forget(job.id)

    def _forget_ended(self) -> None:
        for job_id in self._queue.unfinished_business():
            try:
                job = self._store.get(job_id)
                if job.result() is not None and not job.is_locked():
                    self._queue.forget(job_id)
            except UnknownJob:
                continue
            except redis.RedisError:
                raise
            except Exception as error:
                tell_once(f"what Redis knows of job {job_id} cannot be forgotten: {error!r}")


def is_due(job: Job) -> bool:
    """False for a paused job until its time has come, and there is the room that it waits for."""
    running = job.running()
    if not running.get("paused"):
        return True
    # No longer than a pause can be: the clock may have been set back.
    if 0 < running.get("until", 0.0) - time.time() <= LONGEST_PAUSE:
        return False
    return bool(shutil.disk_usage(job.directory).free >= running.get("needs_bytes", 0))

"""Puts lost jobs back into the queue: those unended on disk that are not queued and not locked.

It runs in the server and in every worker. The server looks while all workers are busy, since a
worker looks between two jobs only; a worker that starts finds the job of a killed one, whether a
server runs or not. Two that look at once do no harm: a job is queued once. A job that is paused
stays out until its time comes; one that cannot be read disturbs no other. Knows no training.
"""

import shutil
import time
from collections import Counter

import redis

from models.places import tell_once
from worker import turns
from worker.jobs import Job, JobStore, UnknownJob
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
        self._lost_since: dict[str, float] = {}
        self._running: Counter[str] = Counter()

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
        waiting = set(self._queue.waiting())
        lost: dict[str, float] = {}
        put_back = []
        self._running = turns.running(self._store.unended()) if self._most_running else Counter()
        for job in self._store.unended():
            try:
                if self._is_back(job, waiting, lost, grace):
                    del lost[job.id]
                    put_back.append(job.id)
            except redis.RedisError:
                raise
            except Exception as error:
                tell_once(f"job {job.id} cannot be queued again: {error!r}")
        self._lost_since = lost
        turns.take(self._queue, self._store)
        self._forget_ended()
        return put_back

    def _is_back(self, job: Job, waiting: set[str], lost: dict[str, float], grace: float) -> bool:
        """Whether a job was lost and is put back; notes in ``lost`` since when it is."""
        is_cancelled = job.cancel_requested()
        if job.is_locked() or (job.id in waiting and not is_cancelled):
            return False
        now = time.monotonic()
        since = lost[job.id] = self._lost_since.get(job.id, now)
        if now - since < grace or self._queue.is_leased_elsewhere(job.id):
            return False
        if is_cancelled:
            self._finish(job)
            return False
        # Asked again: another process may have put it back since the first look.
        may_begin = is_due(job) and turns.is_below(job, self._running, self._most_running)
        return may_begin and not self._queue.is_queued(job.id) and self._put_back(job)

    def _put_back(self, job: Job) -> bool:
        running = job.running()
        self._queue.forget(job.id)
        # A job that has begun comes before others, but not one that waits for disk space.
        waits = running.get("paused") and "needs_bytes" in running
        front = bool(running.get("started_at")) and not waits
        return self._queue.enqueue(job.id, front=front)

    def _finish(self, job: Job) -> None:
        """Ends a cancelled job whose worker died before it could act on the cancel."""
        with job.lock() as held:
            if held and job.result() is None:
                self._queue.events.publish(job.id, job.finish("cancelled"))
        if held:
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

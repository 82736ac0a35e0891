"""Puts lost jobs back into the queue: those unended on disk that are not queued and not locked.

It runs in the server and in every worker. The server looks while all workers are busy, since a
worker looks between two jobs only; a worker that starts finds the job of a killed one, whether a
server runs or not. Two that look at once do no harm: a job is queued once. Knows no training.
"""

import shutil
import time

from worker.jobs import Job, JobStore, UnknownJob
from worker.queue import Queue

LOST_SECONDS = 2.0
"""How long a job must be lost before it is put back: from the queue to the lock it takes RQ
milliseconds."""


class Reconciler:
    """Remembers between two looks since when a job has been lost."""

    def __init__(self, queue: Queue, store: JobStore) -> None:
        self._queue = queue
        self._store = store
        self._lost_since: dict[str, float] = {}

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
        now = time.monotonic()
        for job in self._store.unended():
            if job.id in waiting or job.is_locked() or not has_room(job):
                continue
            since = lost[job.id] = self._lost_since.get(job.id, now)
            if now - since < grace or self._queue.is_leased_elsewhere(job.id):
                continue
            if self._finish_cancelled(job):
                continue
            # Asked again: another process may have put it back since the first look.
            if not self._queue.is_queued(job.id) and self._put_back(job):
                del lost[job.id]
                put_back.append(job.id)
        self._lost_since = lost
        self._forget_ended()
        return put_back

    def _put_back(self, job: Job) -> bool:
        running = job.running()
        self._queue.forget(job.id)
        # A job that has begun comes before others, but not one that waits for disk space.
        return self._queue.enqueue(job.id, front=bool(running) and not running.get("paused"))

    def _finish_cancelled(self, job: Job) -> bool:
        """Ends a job whose worker died before it could act on the cancel."""
        if not job.cancel_requested():
            return False
        with job.lock() as held:
            if held and job.result() is None:
                self._queue.events.publish(job.id, job.finish("cancelled"))
                self._queue.forget(job.id)
        return True

    def _forget_ended(self) -> None:
        for job_id in self._queue.unfinished_business():
            try:
                job = self._store.get(job_id)
            except UnknownJob:
                continue
            if job.result() is not None and not job.is_locked():
                self._queue.forget(job_id)


def has_room(job: Job) -> bool:
    """False for a job that was paused because the disk was full, as long as it is."""
    running = job.running()
    if not running.get("paused"):
        return True
    return bool(shutil.disk_usage(job.directory).free >= running.get("needs_bytes", 0))

"""Puts lost jobs back into the queue."""

import shutil
import time

from worker.jobs import Job, JobStore
from worker.queue import Queue


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
                self._queue.events.publish(job.id, job.finish("cancelled"))
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

"""What a worker does with a job before its process starts, and after it has ended.

A process that ends in good order records its job's end itself. All else is settled here, whatever
the process died of: its own exit, a signal, or a system that did not start it. Knows no RQ.
"""

import os

from models.files import is_disk_full
from models.places import tell_once
from models.storage import StorageAway
from worker import logs
from worker.events import EndStatus, ErrorText
from worker.fence import Fenced
from worker.jobs import Job
from worker.queue import Queue
from worker.trainer import handover, tally
from worker.trainer.failures import Death

log = logs.logger(__name__)


class Aftermath:
    """Of one attempt at a job, whose lock the caller holds.

    ``death`` is how its process died, should it have died, and ``status`` its exit status.
    """

    def __init__(self, job: Job, queue: Queue) -> None:
        self.death: Death | None = None
        self.status: int | None = None
        self._job = job
        self._queue = queue

    def begin(self) -> bool:
        """Counts the attempt; False if it must not begin."""
        try:
            if self._may_begin():
                return True
        except (OSError, StorageAway) as error:
            self._cannot_write(error)
        self._queue.forget(self._job.id)
        return False

    def _may_begin(self) -> bool:
        if self._job.cancel_requested():
            self._finish("cancelled")
            return False
        error = tally.begin(self._job)
        if error:
            self._finish("failed", error)
        return error is None

    def settle(self, *, is_excused: bool) -> None:
        """Records the end of the attempt unless its process did.

        Args:
            is_excused: the worker was told to stop, so the end is no fault of the job.
        """
        try:
            if self._job.result() is None and tally.is_open(self._job):
                # Its new owner records what comes of it.
                self._job.check()
                self._settle(is_excused)
        except Fenced as error:
            log.error("job %s: %s", self._job.id, error)
        except (OSError, StorageAway) as error:
            self._cannot_write(error)

    def _settle(self, is_excused: bool) -> None:
        job = self._job
        if job.cancel_requested():
            self._finish("cancelled")
            self._queue.forget(job.id)
        elif is_excused or self.death is None or self._is_redis_away():
            tally.excuse(job)
        else:
            again = tally.count(job, self._queue.events, self.death)
            self._queue.forget(job.id)
            if again:
                # In front: a job that has begun continues before others begin.
                self._queue.enqueue(job.id, front=True)

    def _is_redis_away(self) -> bool:
        is_lost = self.status is not None and os.WIFEXITED(self.status)
        if is_lost and os.WEXITSTATUS(self.status or 0) == handover.REDIS_LOST:
            return True
        return not self._queue.ping()

    def _finish(self, status: EndStatus, error: ErrorText | None = None) -> None:
        self._queue.events.publish(self._job.id, self._job.finish(status, error))

    def _cannot_write(self, error: OSError | StorageAway) -> None:
        """Leaves the job to the reconciler, which tries again."""
        if is_disk_full(error):
            log.warning("job %s: the disk is full", self._job.id)
            tally.wait_for_room(self._job)
        else:
            tell_once(f"job {self._job.id}: its record cannot be written: {error}")

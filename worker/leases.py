"""Leases in Redis: which process works on a job, as hosts see it that cannot see each other.

The process that trains renews its lease; one that is killed, frozen or cut off stops doing so, and
the lease runs out by the clock of Redis. A Redis that was emptied has it back at the next renewal.
A lease only says when others may take a job; that its former owner can do nothing more is up to
``worker.fence``. Knows no lock and no file.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import redis

from worker.machine import Process
from worker.settings import LEASE_SECONDS

RENEWAL = 0.25
"""The share of a lease's time between two renewals."""

WATCH = 0.3
"""The share for which a lease must be missing, seen by one who can reach Redis all the while, until
the owner of a lock counts as frozen: more than ``RENEWAL``, since Redis may have lost it."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease: a worker's id, the epoch of its turn, and where its process runs."""

    worker: str
    epoch: int
    process: Process

    def __str__(self) -> str:
        return f"{self.worker}:{self.epoch}:{self.process.machine}:{self.process.pid}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        worker, epoch, machine, pid = text.rsplit(":", 3)
        return cls(worker, int(epoch), Process(machine, int(pid)))


class Leases:
    """The leases of all jobs. Methods raise ``redis.RedisError``."""

    def __init__(self, connection: "redis.Redis", seconds: float = LEASE_SECONDS) -> None:
        self.seconds = seconds
        self._redis = connection
        self._milliseconds = max(1, round(1000 * seconds))

    @property
    def watch(self) -> float:
        """Seconds for which a lease must be seen missing to count as given up."""
        return WATCH * self.seconds

    def holder(self, job_id: str) -> Holder | None:
        """Who holds a job's lease; None where nobody does."""
        value: Any = self._redis.get(_key(job_id))
        try:
            return Holder.parse(value.decode()) if value else None
        except ValueError:
            return None

    def is_free(self, job_id: str, worker: str = "") -> bool:
        """Whether nobody holds the lease but that worker, or a process that has certainly ended."""
        holder = self.holder(job_id)
        return holder is None or holder.worker == worker or holder.process.is_gone()

    def is_left(self, job_id: str) -> bool:
        """Whether a process has the lease that has certainly ended."""
        holder = self.holder(job_id)
        return holder is not None and holder.process.is_gone()

    def is_given_up(self, job_id: str) -> bool:
        """Whether nobody renews the lease; looks for some seconds where it is missing."""
        deadline = time.monotonic() + self.watch
        while self.holder(job_id) is None:
            if time.monotonic() >= deadline:
                return True
            time.sleep(self.watch / 10)
        return False

    def claim(self, job_id: str, holder: Holder) -> bool:
        """Takes the lease if nobody has it."""
        return bool(self._redis.set(_key(job_id), str(holder), nx=True, px=self._milliseconds))

    def replace(self, job_id: str, holder: Holder) -> None:
        """Takes the lease, whoever has it: for one who holds the job's lock."""
        self._redis.set(_key(job_id), str(holder), px=self._milliseconds)

    def renew(self, job_id: str, holder: Holder) -> bool:
        """Extends the lease, or sets it again where it is missing; False if another has it."""
        current: Any = self._redis.get(_key(job_id))
        if current is None:
            return self.claim(job_id, holder)
        if current.decode() != str(holder):
            return False
        self._redis.pexpire(_key(job_id), self._milliseconds)
        return True

    def release(self, job_id: str, worker: str) -> None:
        """Gives the lease up, if that worker has it."""
        holder = self.holder(job_id)
        if holder is not None and holder.worker == worker:
            self._redis.delete(_key(job_id))


class Renewal:
    """Renews a lease in a thread for the length of a block, and gives it up after it.

    Args:
        lost: called once if another process has taken the lease.
    """

    def __init__(
        self, leases: Leases, job_id: str, holder: Holder, lost: Callable[[], None]
    ) -> None:
        self._leases = leases
        self._job_id = job_id
        self._holder = holder
        self._lost = lost
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
        try:
            self._leases.release(self._job_id, self._holder.worker)
        except redis.RedisError:
            # It runs out.
            return

    def _renew(self) -> None:
        while not self._done.is_set():
            try:
                if not self._leases.renew(self._job_id, self._holder):
                    self._lost()
                    return
            except redis.RedisError:
                # Without Redis nobody else can take the job either.
                pass
            self._done.wait(RENEWAL * self._leases.seconds)


def _key(job_id: str) -> str:
    return f"charloom:lease:{job_id}"

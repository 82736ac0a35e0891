"""Takes jobs: by the lock, the lease and the epoch, in this order.

A lock that is free says that the last owner's process has died; a lease that is still valid then
says that another host may not know that yet, and is waited for. A lock that is held while nobody
renews the lease is a frozen owner's: it is replaced, unless no turn was written down. Then a former
release has the job, which renews no lease and would write on. Whoever has taken a job has the next
epoch, and all earlier owners are fenced off (``worker.fence``). Knows no queue and no training.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import redis

from models import locks
from models.storage import StorageAway
from worker import fence, logs
from worker.jobs import LOCK_PATIENCE, Job
from worker.leases import Holder, Leases
from worker.machine import Process

log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Owned:
    """A job that this process has: the descriptor of its lock, and its lease."""

    lock: int
    holder: Holder


@contextmanager
def taken(job: Job, leases: Leases, worker: str) -> Iterator[Owned | None]:
    """Takes a job for the length of the block; None if another process has it.

    From then on what is written through ``job`` is checked against its epoch.

    Raises:
        redis.RedisError: Redis is away.
        OSError: the turn cannot be written down.
    """
    with ExitStack() as held:
        lock = held.enter_context(locks.held(job.lock_file, LOCK_PATIENCE))
        # A lock that is free says nothing of a host with another disk.
        is_elsewhere = job.is_taken_elsewhere(is_needed=True)
        is_forced = lock is None or (is_elsewhere and not leases.is_left(job.id))
        holder = Holder(worker, fence.next_epoch(job.directory), Process.this())
        if not is_forced:
            if not leases.is_free(job.id, worker):
                yield None
                return
            leases.replace(job.id, holder)
        else:
            is_given_up = job.heeds_fence() and leases.is_given_up(job.id)
            if not is_given_up or not leases.claim(job.id, holder):
                yield None
                return
            log.warning("job %s: its owner does not answer any more: it is taken over", job.id)
        if lock is None:
            lock = held.enter_context(locks.replaced(job.lock_file))
        held.callback(_release, leases, job.id, worker)
        job.begin_turn(holder.epoch, worker, is_forced=is_forced)
        held.callback(_end_turn, job)
        yield Owned(lock, holder)


def _end_turn(job: Job) -> None:
    # Else another host ends it, once the lease is missing.
    with suppress(StorageAway, OSError):
        job.end_turn()


def _release(leases: Leases, job_id: str, worker: str) -> None:
    # It runs out by itself.
    with suppress(redis.RedisError):
        leases.release(job_id, worker)

"""Whose job is next: owners take turns, however many jobs each has in the queue.

A job comes after as many rounds as its owner has jobs that run or were sent before it. All of that
is on disk, so the order is the same after a restart, or when Redis lost it. Within a round the
oldest job is first; one that has begun comes before the others of its owner. Knows no way into the
queue and no worker.
"""

from collections import defaultdict
from collections.abc import Iterable

from worker.jobs import Job, JobStore
from worker.queue import Queue

OfOwners = defaultdict[str, set[str]]
"""Ids of jobs for each owner."""


def take(queue: Queue, store: JobStore) -> None:
    """Puts the queue in order. Raises redis.RedisError: Redis is away."""
    queued = set(queue.waiting())
    if len(queued) < 2:
        return
    unended = list(store.unended())
    waiting = [job for job in unended if job.id in queued]
    if len({owner_of(job) for job in waiting}) > 1:
        queue.arrange(in_turn(waiting, locked(job for job in unended if job.id not in queued)))


def in_turn(waiting: Iterable[Job], at_work: OfOwners) -> list[str]:
    """Ids of the jobs that wait, the next one first.

    Args:
        waiting: the jobs.
        at_work: the jobs that are being worked on.
    """
    lines: dict[str, list[Job]] = defaultdict(list)
    for job in waiting:
        lines[owner_of(job)].append(job)
    order = []
    for owner, jobs in lines.items():
        jobs.sort(key=place)
        order += [(len(at_work[owner]) + ahead, job.id) for ahead, job in enumerate(jobs)]
    return [job_id for _, job_id in sorted(order)]


def may_begin(job: Job, store: JobStore, most: int | None) -> bool:
    """Whether fewer than ``most`` other jobs of the owner are being worked on."""
    if most is None or not owner_of(job):
        return True
    return is_below(job, locked(store.unended()), most)


def is_below(job: Job, at_work: OfOwners, most: int | None) -> bool:
    """As ``may_begin``, where it is known what is worked on: the job itself does not count."""
    owner = owner_of(job)
    return most is None or not owner or len(at_work[owner] - {job.id}) < most


def owner_of(job: Job) -> str:
    """Whose it is; empty is nobody's, as in earlier releases."""
    return job.spec.get("owner", "")


def locked(jobs: Iterable[Job]) -> OfOwners:
    """The jobs that are being worked on."""
    found: OfOwners = defaultdict(set)
    for job in jobs:
        if job.is_locked():
            found[owner_of(job)].add(job.id)
    return found


def place(job: Job) -> tuple[bool, str]:
    """What orders the jobs of one owner: those that have begun come first, then the oldest.

    One that waits for room on the disk has begun, but is not to hold up others.
    """
    state = job.running()
    waits = state.get("paused") and "needs_bytes" in state
    return not state.get("started_at") or bool(waits), job.id

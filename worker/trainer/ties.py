"""Which of the jobs that workers take in one moment may begin, where an owner may run so many.

Knows no queue and no lease.
"""

import time
from collections.abc import Iterable

from worker.jobs import Job, JobStore
from worker.trainer import tally
from worker.turns import owner_of

PATIENCE = 1.0
"""Seconds for which an older job waits for the word of a younger one that was taken as well."""


def has_place(job: Job, store: JobStore, most: int | None) -> bool:
    """Whether a job may begin whose lock the caller has, of which no more than ``most`` may run.

    Two workers that take a job each see each other's lock. The younger job yields, unless it has
    begun: then the older one does.
    """
    if most is None or not owner_of(job):
        return True
    others = [o for o in store.unended() if o.id != job.id and owner_of(o) == owner_of(job)]
    deadline = time.monotonic() + PATIENCE
    while True:
        taken = [other for other in others if other.is_locked()]
        if len(taken) < most:
            return True
        if _ahead(job, taken) >= most or time.monotonic() >= deadline:
            return False
        time.sleep(0.02)


def _ahead(job: Job, others: Iterable[Job]) -> int:
    return sum(other.id < job.id or tally.is_open(other) for other in others)

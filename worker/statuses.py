"""How many jobs there are of each status, for whoever asks often.

A job that has ended changes only by a resume, which removes its result, or a deletion. So while the
files that say how it ended are the same ones, it is not read again: a thousand ended jobs are two
thousand looks at a directory entry. Knows no metric.
"""

import os
import threading
from collections import Counter
from contextlib import suppress

from worker.job_errors import UnknownJob
from worker.jobs import JobStore, Status

_Mark = tuple[int, ...]


class Statuses:
    """Counts the jobs of a store. Any thread may ask."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._ended: dict[str, tuple[_Mark, Status]] = {}
        self._counting = threading.Lock()

    def count(self) -> Counter[Status]:
        """The number of jobs on disk, by status."""
        with self._counting:
            before, self._ended = self._ended, {}
            return Counter(
                status
                for job_id in self._store.ids()
                if (status := self._status(job_id, before.get(job_id)))
            )

    def _status(self, job_id: str, known: tuple[_Mark, Status] | None) -> Status | None:
        """The status of a job, which is kept if it has ended; None if it has just been deleted."""
        # Before the files are read: of ones that change meanwhile, the old mark is kept.
        mark = _mark(f"{self._store.root}/{job_id}")
        if known is None or mark != known[0]:
            try:
                status = self._store.get(job_id).status()
            except UnknownJob:
                return None
            if mark is None:
                return status
            known = mark, status
        self._ended[job_id] = known
        return known[1]


def _mark(directory: str) -> _Mark | None:
    """What changes with the files that say how a job ended; None if it has not, or one is lost."""
    found: list[int] = []
    with suppress(OSError):
        for name in ("result.json", "spec.json"):
            # Not by Path, which takes longer than the system's call.
            state = os.stat(f"{directory}/{name}")  # noqa: PTH116
            found += (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        return tuple(found)
    return None

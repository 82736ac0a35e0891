"""Failures: which of them end a job, which are retried, and how often.

Knows no torch: the worker counts the deaths of its horses here.
"""

import errno
import json

from models.errors import CharloomError
from models.files import write_durably
from worker.events import ErrorText
from worker.jobs import Job
from worker.trainer import generations

MAX_DEATHS = 3
"""Attempts that end badly without further progress, until the job has failed."""

FAILED: ErrorText = {
    "title": "Training failed",
    "detail": "It ended with an unexpected error three times at the same step. "
    "See the worker's log.",
}
OUT_OF_MEMORY: ErrorText = {
    "title": "Not enough memory",
    "detail": "Choose a smaller hidden_size, batch_size or sequence_length, or fewer layers.",
}
KILLED: ErrorText = {
    "title": "The training process was killed",
    "detail": "It was killed three times at the same step, most likely because memory ran out: "
    "choose a smaller hidden_size, batch_size or sequence_length, or fewer layers.",
}
DISK_FULL: ErrorText = {
    "title": "The disk is full",
    "detail": "Training resumes automatically when there is room again.",
}


class Failure(CharloomError):
    """Ends a job as failed; the texts are for clients and name no path."""

    def __init__(self, title: str, detail: str) -> None:
        super().__init__(title)
        self.error: ErrorText = {"title": title, "detail": detail}


def count_death(job: Job) -> int:
    """Counts an attempt that ended badly; the caller holds the job's lock.

    Returns:
        The number of such attempts since the job last made progress.
    """
    path = job.directory / "attempts.json"
    step = generations.newest_step(job.state_directory)
    deaths = 1
    try:
        before = json.loads(path.read_bytes())
        if before["step"] >= step:
            deaths += before["deaths"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass
    write_durably(path, json.dumps({"step": step, "deaths": deaths}).encode())
    return deaths


def is_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # safetensors raises its own error.
    return f"(os error {errno.ENOSPC})" in str(error)


def is_out_of_memory(error: BaseException) -> bool:
    """Python's error, or torch's: a RuntimeError that only its words tell apart."""
    if isinstance(error, MemoryError):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in words or "can't allocate memory" in words
    )

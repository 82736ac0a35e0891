"""What ends a job for good, what is tried again, and how often.

Knows no torch: the worker counts here what kills its horses.
"""

import errno
import json

from models.files import write_durably
from worker.events import ErrorText
from worker.jobs import Job
from worker.trainer import generations

MAX_DEATHS = 3
"""Attempts that may end without getting further than the one before."""

FAILED: ErrorText = {
    "title": "Training failed",
    "detail": "It ended with an unforeseen error three times in the same place. "
    "The worker's log tells more.",
}
OUT_OF_MEMORY: ErrorText = {
    "title": "Not enough memory",
    "detail": "Choose a smaller hidden_size, batch_size or sequence_length, or fewer layers.",
}
KILLED: ErrorText = {
    "title": "The training process was killed",
    "detail": "Three times in the same place, most likely since memory ran out: "
    "choose a smaller hidden_size, batch_size or sequence_length, or fewer layers.",
}
DISK_FULL: ErrorText = {
    "title": "The disk is full",
    "detail": "Training goes on by itself when there is room again.",
}


class Failure(Exception):
    """Ends a job as failed; the texts are for clients and name no path."""

    def __init__(self, title: str, detail: str) -> None:
        super().__init__(title)
        self.error: ErrorText = {"title": title, "detail": detail}


def count_death(job: Job) -> int:
    """Counts an attempt that ended badly; returns how many did since the job last got further.

    The caller holds the job's lock.
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
    # safetensors raises an error of its own.
    return f"(os error {errno.ENOSPC})" in str(error)


def is_out_of_memory(error: BaseException) -> bool:
    """Python's, torch's on a GPU (a RuntimeError) and torch's on a CPU (its words alone tell)."""
    if isinstance(error, MemoryError):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in words or "can't allocate memory" in words
    )

"""Failures: which of them end a job at once, how a process died, and the words for either.

Knows no torch: the worker puts the deaths of its horses into words here.
"""

import os
import signal
from dataclasses import dataclass

from models.errors import CharloomError
from worker.events import ErrorText
from worker.trainer.quoting import quotable

DISK_FULL: ErrorText = {
    "title": "The disk is full",
    "detail": "Training resumes automatically when there is room again.",
}
SMALLER = "Choose a smaller hidden_size, batch_size or sequence_length, or fewer layers."
OUT_OF_MEMORY = "Not enough memory"


class Failure(CharloomError):
    """Ends a job as failed; the texts are for clients and name no path."""

    def __init__(self, title: str, detail: str) -> None:
        super().__init__(title)
        self.error: ErrorText = {"title": title, "detail": detail}


@dataclass(frozen=True, slots=True)
class Death:
    """How an attempt ended that should not have: ``cause`` is a clause, ``said`` its last words."""

    title: str
    cause: str
    said: str = ""
    advice: str = ""

    @property
    def quotation(self) -> str:
        return f"It said last: “{self.said}”." if self.said else ""

    @property
    def sentence(self) -> str:
        return " ".join(part for part in (f"{self.cause}.", self.quotation) if part)

    @classmethod
    def by_error(cls, error: BaseException) -> "Death":
        """The death of an attempt that raised an unexpected error."""
        said = quotable(f"{type(error).__name__}: {error}")
        if is_out_of_memory(error):
            return cls(OUT_OF_MEMORY, "Memory ran out", said, SMALLER)
        if isinstance(error, ImportError):
            return cls("Training cannot start", "Part of the installation cannot be loaded", said)
        advice = "The worker's log has the details."
        return cls("Training failed", "It ended with an unexpected error", said, advice)

    @classmethod
    def by_spawning(cls, error: OSError) -> "Death":
        """The death of a process that the system did not start."""
        said = quotable(str(error.strerror))
        return cls("Training cannot start", "The training process cannot be started", said)

    @classmethod
    def of_process(cls, status: int | None, printed: bytes) -> "Death":
        """The death of a process by its exit status, as ``os.wait`` gives it."""
        said = quotable(printed.decode(errors="replace"))
        if "MemoryError" in said or "out of memory" in said.lower():
            return cls(OUT_OF_MEMORY, "Memory ran out", said, SMALLER)
        if status is not None and os.WIFSIGNALED(status):
            name = _signal_name(os.WTERMSIG(status))
            is_memory = os.WTERMSIG(status) == signal.SIGKILL
            title = "The training process was killed" if is_memory else "The training process died"
            advice = f"Most likely memory ran out. {SMALLER}" if is_memory else ""
            return cls(title, f"The training process was killed by {name}", said, advice)
        code = os.waitstatus_to_exitcode(status) if status is not None else 0
        cause = f"exited with code {code}" if code else "ended for no known reason"
        return cls("The training process died", f"The training process {cause}", said)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def is_out_of_memory(error: BaseException) -> bool:
    """Python's error, or torch's: a RuntimeError that only its words tell apart."""
    if isinstance(error, MemoryError):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in words or "can't allocate memory" in words
    )

"""Failures: which of them end a job at once, how a process died, and the words for either.

Knows no torch: the worker puts the deaths of its horses into words here.
"""

import os
import signal
from collections.abc import Iterable
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

_GPU_WORDS = (
    "cuda error",
    "cuda driver error",
    "cuda driver initialization failed",
    "cuda unknown error",
    "cudnn_status_execution_failed",
    "cudnn_status_internal_error",
    "cudnn_status_mapping_error",
    "cublas_status_execution_failed",
    "cublas_status_internal_error",
    "device-side assert",
    "gpu is lost",
    "hip error",
    "no cuda gpus are available",
    "unhandled cuda error",
)
"""Of errors that CUDA, its libraries and torch report when a GPU or its driver fails."""

_MEMORY_WORDS = (
    "out of memory",
    "can't allocate memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)


class Failure(CharloomError):
    """Ends a job as failed; the texts are for clients and name no path."""

    def __init__(self, title: str, detail: str) -> None:
        super().__init__(title)
        self.error: ErrorText = {"title": title, "detail": detail}


class GpuGone(CharloomError):
    """A GPU that the worker has trained on is not there, or does not compute."""


class MemoryShort(CharloomError):
    """A device had no room for a training that fitted before; ``advice`` says what would fit."""

    def __init__(self, cause: str, advice: str) -> None:
        super().__init__(cause)
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Death:
    """How an attempt ended that should not have: ``cause`` is a clause, ``said`` its last words.

    ``of_gpu`` where a GPU failed, and neither the job nor its process.
    """

    title: str
    cause: str
    said: str = ""
    advice: str = ""
    of_gpu: bool = False

    @property
    def quotation(self) -> str:
        return f"It said last: “{self.said}”." if self.said else ""

    @property
    def sentence(self) -> str:
        return " ".join(part for part in (f"{self.cause}.", self.quotation) if part)

    @classmethod
    def by_error(cls, error: BaseException) -> "Death":
        """The death of an attempt that raised an unexpected error."""
        if isinstance(error, MemoryShort):
            return cls(OUT_OF_MEMORY, str(error), advice=error.advice)
        said = quotable(f"{type(error).__name__}: {error}")
        if is_out_of_memory(error):
            return cls(OUT_OF_MEMORY, "Memory ran out", said, SMALLER)
        if is_of_gpu(error):
            return cls.by_gpu(str(error))
        if isinstance(error, ImportError):
            return cls("Training cannot start", "Part of the installation cannot be loaded", said)
        advice = "The worker's log has the details."
        return cls("Training failed", "It ended with an unexpected error", said, advice)

    @classmethod
    def by_gpu(cls, words: str) -> "Death":
        """The death of an attempt whose GPU failed, by the words of its error."""
        # What follows the first line is about finding bugs.
        said = quotable(words.partition("\n")[0])
        advice = "The log of the worker's system says more: look for NVRM and Xid."
        return cls("The GPU failed", "The GPU failed", said, advice, of_gpu=True)

    @classmethod
    def by_spawning(cls, error: OSError) -> "Death":
        """The death of a process that the system did not start."""
        said = quotable(str(error.strerror))
        return cls("Training cannot start", "The training process cannot be started", said)

    @classmethod
    def of_process(cls, status: int | None, printed: bytes) -> "Death":
        """The death of a process by its exit status, as ``os.wait`` gives it."""
        words = printed.decode(errors="replace")
        said = quotable(words)
        if "MemoryError" in said or "out of memory" in said.lower():
            return cls(OUT_OF_MEMORY, "Memory ran out", said, SMALLER)
        # Where a thread of C++ aborts, advice about finding bugs may follow.
        failed = [line for line in words.splitlines() if names_gpu(line)]
        if failed:
            return cls.by_gpu(failed[-1])
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
    """Python's error, or that of a device."""
    return isinstance(error, MemoryError) or is_device_full(error)


def is_device_full(error: BaseException) -> bool:
    """Torch's error, of a GPU or of main memory: a RuntimeError that only its words tell apart."""
    return isinstance(error, RuntimeError) and _has(str(error), _MEMORY_WORDS)


def is_of_gpu(error: BaseException) -> bool:
    """Whether a GPU or its driver failed, and not what was computed."""
    if isinstance(error, GpuGone):
        return True
    return isinstance(error, RuntimeError) and names_gpu(str(error))


def names_gpu(words: str) -> bool:
    """Whether the words of an error say that a GPU or its driver failed."""
    return _has(words, _GPU_WORDS)


def _has(text: str, words: Iterable[str]) -> bool:
    text = text.lower()
    return any(word in text for word in words)

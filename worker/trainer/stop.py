"""Reasons to put work down: a signal from the worker, or a client's cancel.

Training checks ``Stop.reason`` between steps and puts its work down in good order. Where it cannot
check (a long evaluation, an import), it is interrupted after a while and resumes later from its
last saved state. Knows the process's signals and the job's cancel file, and nothing of training.
"""

import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Literal, Self

from worker.jobs import Job

Reason = Literal["cancel", "shutdown"]

SHUTDOWN = (signal.SIGUSR1, signal.SIGTERM)
"""Signals that ask a horse to put its job down."""

_INTERRUPT = signal.SIGUSR2
_POLL = 0.1
"""Seconds between two looks for a reason."""

_PATIENCE: dict[Reason, float] = {"cancel": 1.0, "shutdown": 5.0}
"""Seconds until work that does not check is interrupted: a cancel takes at most 2, an exit 10."""

_AGAIN = 1.0
"""Seconds until it is interrupted again."""

_shutdown = threading.Event()
_flag: Path | None = None


class PutDown(BaseException):
    """Interrupts work that has not checked ``Stop.reason`` for too long."""


def listen() -> None:
    """Makes ``SHUTDOWN`` signals ask for a stop instead of killing, even those sent before."""
    for number in SHUTDOWN:
        signal.signal(number, _ask)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SHUTDOWN)


def heed(flag: Path) -> None:
    """Takes a file that is put there for a ``SHUTDOWN`` signal, too."""
    global _flag
    _flag = flag


def is_shutdown() -> bool:
    """Whether a ``SHUTDOWN`` signal has come."""
    return _shutdown.is_set() or (_flag is not None and _flag.exists())


def shut_down() -> None:
    """Does as a ``SHUTDOWN`` signal."""
    _shutdown.set()


def _ask(_number: int, _frame: FrameType | None) -> None:
    _shutdown.set()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise PutDown


class Stop:
    """Watches for reasons to stop during a ``with`` block, in the main thread.

    Raises:
        PutDown: anywhere in the block, unless ``acknowledge`` was called in time.
    """

    def __init__(self, job: Job) -> None:
        self.reason: Reason | None = None
        self.looks = False
        """Whether the work checks ``reason`` now; else it is interrupted at once."""
        self._job = job
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stop", daemon=True)

    def acknowledge(self) -> None:
        """Stops interrupting the work, which is being put down or has ended."""
        self._done.set()

    def __enter__(self) -> Self:
        signal.signal(_INTERRUPT, _interrupt)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.acknowledge()
        self._thread.join()
        signal.signal(_INTERRUPT, signal.SIG_IGN)

    def _watch(self) -> None:
        asked = 0.0
        while not self._done.wait(_POLL):
            if self.reason is None:
                self.reason = self._asked()
                asked = time.monotonic()
            if self.reason is None:
                continue
            if not self.looks or time.monotonic() - asked > _PATIENCE[self.reason]:
                os.kill(os.getpid(), _INTERRUPT)
                # Repeated: an exception that is raised in a destructor is lost.
                self._done.wait(_AGAIN)

    def _asked(self) -> Reason | None:
        if self._job.cancel_requested():
            return "cancel"
        return "shutdown" if is_shutdown() else None

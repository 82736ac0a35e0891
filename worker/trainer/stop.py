"""When work must be put down: a signal from the worker, or a client's cancel.

Who works looks at ``Stop.reason`` between steps and puts the work down in good order. Where it
can't look (a long evaluation, an import), it is interrupted after a while and goes on later from
what it last saved. Knows the process's signals and the job's cancel file; not what is put down.
"""

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Literal, Self

from worker.jobs import Job

Reason = Literal["cancel", "shutdown"]

SHUTDOWN = (signal.SIGUSR1, signal.SIGTERM)
"""Signals that ask a horse to put its job down."""

_INTERRUPT = signal.SIGUSR2
_POLL = 0.1
_PATIENCE: dict[Reason, float] = {"cancel": 1.0, "shutdown": 5.0}
"""Seconds until who doesn't look is interrupted: a cancel is promised within 2, an exit in 10."""

_AGAIN = 1.0

_shutdown = threading.Event()


class PutDown(BaseException):
    """Interrupts work that did not look at ``Stop.reason`` for too long."""


def listen() -> None:
    """Lets ``SHUTDOWN`` signals ask for a stop rather than kill; sent before, they count too."""
    for number in SHUTDOWN:
        signal.signal(number, _ask)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SHUTDOWN)


def is_shutdown() -> bool:
    """Whether a ``SHUTDOWN`` signal came."""
    return _shutdown.is_set()


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
        """Whether the work looks at ``reason``; else it is interrupted at once."""
        self._job = job
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stop", daemon=True)

    def acknowledge(self) -> None:
        """From now on the work is not interrupted any more: it is being put down."""
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
                # Again after a while: an exception that is raised in a destructor gets lost.
                self._done.wait(_AGAIN)

    def _asked(self) -> Reason | None:
        if self._job.cancel_requested():
            return "cancel"
        return "shutdown" if is_shutdown() else None

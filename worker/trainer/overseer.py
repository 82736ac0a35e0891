"""Watches the process of a job: what it prints, whether it heeds a cancel, whether it lives.

A process that is stopped or hangs cannot end its job, and would hold the queue for ever. It is
killed some seconds after a cancel, or after a long time without any use of the processor; one that
computes is believed, however long it takes. Time in which the worker itself was stopped does not
count. Knows no RQ, and of a job only its cancel file.
"""

import os
import select
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from worker import logs
from worker.trainer.stop import Reason

TICK = 0.5
"""Seconds between two looks; the end of the process is noticed at once."""

PATIENCE: Mapping[Reason, float] = {"cancel": 5.0, "shutdown": 8.0}
"""Seconds for a process to put its job down: that includes saving its state."""

STOPPED_PATIENCE = 1.0
"""The same for one that is stopped by a signal."""

STUCK_SECONDS = 900.0
"""Seconds of idleness after which a process counts as hung."""

IDLE_SHARE, IDLE_SECONDS = 0.01, 0.2
"""The use of the processor that counts as idleness, as a share of the time and at any time: threads
that only look at a file use that much."""

MAX_KEPT = 4096
"""Bytes of what a process printed last that are kept."""

_SHORTEST_TICK = 0.01

Ended = tuple[int | None, int | None, Any]
"""Process id, exit status and usage of an ended process, as ``os.wait4`` gives them."""

log = logs.logger(__name__)


class Overseer:
    """Watches one child.

    Args:
        pid: the child, leader of its process group.
        output: the reading end of a pipe that is the child's standard error; closed by ``close``.
        asked: why the child should end, if so.
    """

    def __init__(self, pid: int, output: int, asked: Callable[[], Reason | None]) -> None:
        self._pid = pid
        self._output = output
        self._asked = asked
        self._printed = b""
        self._is_cut = False
        self._ended: Ended | None = None
        self._pause = _SHORTEST_TICK
        self._looked_at = time.monotonic()
        self._waited = 0.0
        self._idle = 0.0
        self._used = 0.0
        self._killed = False

    @property
    def status(self) -> int | None:
        """The exit status of the child, once it has ended and is known."""
        return self._ended[1] if self._ended else None

    @property
    def printed(self) -> bytes:
        """The last whole lines that the child printed."""
        return self._printed.partition(b"\n")[2] if self._is_cut else self._printed

    def wait(self) -> Ended:
        """Waits for the end of the child. An exception may interrupt it; it can be called again."""
        while self._ended is None:
            self._read(TICK)
            with suppress(ChildProcessError):
                pid, status, usage = os.wait4(self._pid, os.WNOHANG)
                if pid:
                    self._ended = pid, status, usage
                else:
                    self._look()
                continue
            self._ended = None, None, None
        self._read(0)
        return self._ended

    def close(self) -> None:
        if self._output >= 0:
            os.close(self._output)
            self._output = -1

    def _read(self, seconds: float) -> None:
        """Passes on what the child prints, for at most so long."""
        if self._output < 0:
            # It is about to end, or it has closed its output and lives on.
            time.sleep(min(self._pause, seconds))
            self._pause = min(2 * self._pause, TICK)
        elif select.select([self._output], [], [], seconds)[0]:
            data = os.read(self._output, 1 << 16)
            if not data:
                self.close()
            with suppress(OSError):
                os.write(2, data)
            self._is_cut |= len(self._printed) + len(data) > MAX_KEPT
            self._printed = (self._printed + data)[-MAX_KEPT:]

    def _look(self) -> None:
        now = time.monotonic()
        passed, self._looked_at = min(now - self._looked_at, 2 * TICK), now
        state, used = _state(self._pid)
        reason = self._asked()
        self._waited = self._waited + passed if reason else 0.0
        self._idle += passed
        if used - self._used > IDLE_SHARE * self._idle + IDLE_SECONDS:
            self._idle, self._used = 0.0, used
        if reason:
            patience = STOPPED_PATIENCE if state in ("T", "t") else PATIENCE[reason]
            if self._waited > patience:
                self._kill(f"it did not heed a {reason}")
        elif state and self._idle > STUCK_SECONDS:
            self._kill(f"it did nothing for {STUCK_SECONDS:.0f} s")

    def _kill(self, why: str) -> None:
        if not self._killed:
            log.warning("the training process is killed: %s", why)
        self._killed = True
        with suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)


def _state(pid: int) -> tuple[str, float]:
    """A process's state, such as T, and the seconds of processor time that it has used.

    Its children's count too: of several devices, each is computed for by one (``launch``).

    An empty state where the system does not tell.
    """
    try:
        fields = _fields(pid)
        # With those of children that have ended.
        used = sum(map(int, fields[11:15]))
    except (OSError, IndexError, ValueError):
        return "", 0.0
    # Where the system does not list the children, or one ends meanwhile, it counts without them.
    with suppress(OSError, IndexError, ValueError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split():
            used += sum(map(int, _fields(child)[11:13]))
    return fields[0], used / os.sysconf("SC_CLK_TCK")


def _fields(pid: int | str) -> list[str]:
    """The fields of a process's ``stat`` after its name."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()

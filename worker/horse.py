"""The process that trains one job: ``python -m worker.horse``, started by a worker for each.

It is tied to the worker: if that is killed, this dies too, before anybody else is given the job.
Importing comes late, so that neither a signal nor the worker's death is missed meanwhile.
"""

import ctypes
import os
import signal
import sys

WORKER_PID = "CHARLOOM_WORKER_PID"
"""Names the worker in a horse's environment."""

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Ties this process to its parent. The kernel of macOS has no such tie; the lock has to do."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have died before it was asked for.
    if os.getppid() != parent:
        os._exit(1)


def main() -> None:
    die_with(int(os.environ[WORKER_PID]))
    from worker import stop

    stop.listen()
    from worker import runner

    runner.perform()


if __name__ == "__main__":
    main()

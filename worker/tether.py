"""Ties a child to its parent: however the parent dies, the kernel then kills the child too.

A Python process ties itself with ``die_with``. Any other command is started through this file, run
by a bare interpreter that ties itself and then becomes the command. That costs about 20 ms and,
unlike ``preexec_fn``, nothing runs between fork and exec in a process that may have threads.

The tie is to the *thread* that starts the child: start it from one that lives as long as the child.
Where the kernel has no such tie (macOS) only the niceness is set. Knows nothing of what it starts.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Ties this process to its parent, or exits where the parent has died already."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def tethered(command: Sequence[str], nice: int = 0) -> list[str]:
    """The command line that runs ``command`` tied to this process, ``nice`` steps nicer than it."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(nice), *command]


def main(parent: str, nice: str, *command: str) -> None:
    die_with(int(parent))
    os.nice(int(nice))
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(*sys.argv[1:])

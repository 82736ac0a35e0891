"""Ties a child to its parent: however the parent dies, the kernel then kills the child too.

This file is run by a bare interpreter, which ties itself and then becomes the command. That costs
about 20 ms and, unlike ``preexec_fn``, nothing runs between fork and exec in a process that may
have threads. Where the kernel has no such tie (macOS) only the niceness is set.

The tie is to the *thread* that starts the child: start it from one that lives as long as the child.
Knows nothing of the command.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1


def tethered(command: Sequence[str], nice: int = 0) -> list[str]:
    """Returns a command line that runs ``command`` tied to this process, ``nice`` steps nicer."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(nice), *command]


def main(parent: str, nice: str, *command: str) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have died before the tie was made.
        if os.getppid() != int(parent):
            sys.exit(1)
    os.nice(int(nice))
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Whether CUDA computes on each GPU that a worker sees: a process of its own finds out.

The worker itself must not: a process that has made a CUDA context keeps its memory of the GPU, and
cannot use CUDA again once a GPU has failed. What goes wrong is printed last. Knows no job.
"""

import os
import subprocess
import sys

from worker.tether import die_with
from worker.trainer.quoting import quotable

SECONDS = 120.0
"""After which a GPU counts as one that does not answer: a busy one takes some seconds."""


def trouble(seconds: float = SECONDS) -> str | None:
    """What is wrong with the GPUs of this process, in words for people; None if all compute."""
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "worker.trainer.probe", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it does not answer within {seconds:g} s"
    except OSError as error:
        return f"it cannot be tried: {error.strerror}"
    if ended.returncode == 0:
        return None
    said = quotable(ended.stderr.decode(errors="replace").strip().rpartition("\n")[2])
    return said or f"a process that tried it ended with {ended.returncode}"


def main(parent: str) -> None:
    die_with(int(parent))
    from worker.trainer.device import compute_on_all

    try:
        compute_on_all()
    except Exception as error:
        # Its first line: what CUDA adds is about finding bugs.
        sys.exit(str(error).partition("\n")[0] or repr(error))


if __name__ == "__main__":
    main(*sys.argv[1:])

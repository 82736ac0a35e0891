"""Which machine a process runs on, where its death shows. Knows no job and no Redis."""

import hashlib
import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self


@cache
def machine() -> str:
    """The running kernel and its process numbers, which containers on it may have for themselves.

    Not the host's name, which two machines may share.
    """
    try:
        kernel = Path("/proc/sys/kernel/random/boot_id").read_text("ascii")
        numbers = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        kernel, numbers = "", socket.gethostname()
    return hashlib.sha256(f"{kernel}\n{numbers}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Process:
    """A process somewhere."""

    machine: str
    pid: int

    @classmethod
    def this(cls) -> Self:
        return cls(machine(), os.getpid())

    def is_gone(self) -> bool:
        """Whether it has certainly ended, which shows on its own machine only."""
        if self.machine != machine():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            # Somebody else's process, or no number of one.
            pass
        return False

"""Gives memory back to the system when there is some to give. Knows no model.

The C library keeps freed memory for itself, piecemeal; glibc can be told to return it.
"""

import ctypes
import os
import threading
import weakref
from contextlib import suppress
from pathlib import Path

GROWTH_BYTES = 32 << 20
"""Growth of the process after which part of it is taken to be free again: loading a model, or
writing a large answer, needs several times what it keeps."""

_STATM = Path("/proc/self/statm")


class Memory:
    """The process's memory; one object is enough for a process. Threads may share it."""

    def __init__(self) -> None:
        self._gone = threading.Event()
        self._known = resident_bytes()

    def watch(self, large: object) -> None:
        """Makes the next ``give_back`` work once this object is gone."""
        weakref.finalize(large, self._gone.set).atexit = False

    def give_back(self) -> bool:
        """Returns free memory to the system if a watched object is gone or the process has grown.

        Takes milliseconds per gigabyte, and holds no lock of Python's. Returns whether it did.
        """
        if not self._gone.is_set() and resident_bytes() < self._known + GROWTH_BYTES:
            return False
        self._gone.clear()
        with suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        self._known = resident_bytes()
        return True


def resident_bytes() -> int:
    """Returns how much of this process is in memory; 0 where the system does not tell."""
    try:
        return int(_STATM.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


MEMORY = Memory()
"""This process's."""

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

ARENAS = 2
"""Heaps that all threads share: most allocate while they hold the interpreter's lock."""

MAPPED_BYTES = 4 << 20
"""Size from which a block is mapped by itself, and goes back when it is freed. The arrays of a tick
are smaller: mapped, they would make it half as fast."""

_M_MXFAST, _M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = 1, -1, -3, -8
"""Parameters of mallopt(3), from malloc.h."""

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


def configure_allocator() -> None:
    """Keeps glibc from scattering what large objects leave; call it before threads start.

    With an arena for each thread and a threshold that grows with every large block that is freed,
    400 models loaded and deleted left the process at 250 to 274 MB; so it stays at 161. A threshold
    that is set also stops the one for trimming from growing: at its 128 kB, what a tick frees could
    go back to the system with every character, which made 64 rows of 2×256 half as fast.
    """
    with suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, ARENAS)
        mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
        mallopt(_M_TRIM_THRESHOLD, 2 * MAPPED_BYTES)
        # Small blocks merge when they are freed, not all of them whenever a large one is needed.
        mallopt(_M_MXFAST, 0)

"""Locks on files (flock), for one process at a time, on all hosts that share a disk with its locks.

The kernel lets go of one when its process has died. One that is frozen keeps it; then the file is
replaced, so that its lock is on a file that counts for nothing. Knows no file's use.
"""

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.places import open_lock


@contextmanager
def held(path: Path, patience: float) -> Iterator[int | None]:
    """The descriptor that holds a lock during the block; None if another process has it.

    A process that inherits the descriptor holds the lock too, even after the block.
    """
    deadline = time.monotonic() + patience
    while True:
        descriptor = open_lock(path)
        try:
            is_ours = _try(descriptor, deadline)
            if is_ours and not is_current(path, descriptor):
                # It was replaced while we waited.
                continue
            yield descriptor if is_ours else None
            return
        finally:
            os.close(descriptor)


def is_current(path: Path, descriptor: int) -> bool:
    """Whether a descriptor is of the lock that counts."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def is_held(path: Path) -> bool:
    """Returns whether a process holds a lock now; False if the file does not exist."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def replaced(path: Path) -> Iterator[int]:
    """Holds a new lock in the place of one whose owner is frozen or cut off."""
    staged = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = open_lock(staged)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        staged.replace(path)
        yield descriptor
    finally:
        os.close(descriptor)


def _try(descriptor: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        else:
            return True

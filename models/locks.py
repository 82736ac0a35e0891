"""Locks on files (flock), for one process at a time, on all hosts that share a disk with its locks.

The kernel lets go of one when its process has died. One that is frozen keeps it; then the file is
replaced, so that its lock is on a file that counts for nothing. Knows no file's use.
"""

import errno
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from models.errors import Unavailable
from models.places import set_aside

PATIENCE = 20.0
"""Seconds that others wait for a lock of ``locked``: who holds it for longer counts as frozen."""

_SHORTEST, _LONGEST = 0.001, 0.02
"""Seconds between two tries of a lock that another holds, at first and later."""


class LockLost(Unavailable):
    """This process held a lock for so long that others took it for frozen."""

    code = "lock_lost"

    def __init__(self) -> None:
        super().__init__(
            "the server was frozen in the middle of this, and another has taken over: try again"
        )


@contextmanager
def locked(
    path: Path, lock: int = fcntl.LOCK_EX, patience: float = PATIENCE
) -> Iterator[Callable[[], None]]:
    """Holds a lock across processes during the block; waits for it.

    Whoever holds it for longer than others have patience is frozen or cut off, and loses it. Should
    it come back in the middle of a change, it must go no further: the block gets a function for
    that, to be called right before each step, which raises LockLost.

    Args:
        path: the file; it is made. It may be anything, a directory too.
        lock: ``LOCK_SH`` for one that is shared among those who ask for that.
        patience: seconds until another's lock is taken away; infinite where some hold it for long.
    """
    descriptor = _taken(path, lock, patience)

    def check() -> None:
        if not is_current(path, descriptor):
            raise LockLost

    try:
        yield check
    finally:
        os.close(descriptor)


def _taken(path: Path, lock: int, patience: float) -> int:
    """The descriptor that holds a lock."""
    while True:
        descriptor = open_lock(path)
        touched = os.fstat(descriptor).st_mtime_ns
        is_ours = False
        try:
            # Whoever takes it touches it: only the wait for one and the same process counts.
            while not (is_held := _try(descriptor, time.monotonic() + patience, lock)):
                if touched == (touched := os.fstat(descriptor).st_mtime_ns):
                    break
            # It may have been taken away while we waited.
            is_ours = is_held and is_current(path, descriptor)
            if is_ours:
                with suppress(OSError):
                    os.utime(descriptor)
                return descriptor
            if not is_held:
                _take_away(path, descriptor)
        finally:
            if not is_ours:
                os.close(descriptor)


def _take_away(path: Path, descriptor: int) -> None:
    """Removes a file whose lock another process does not let go, unless it was replaced since."""
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        # One at a time: the next may have a new one already.
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_current(path, descriptor):
            path.unlink()
    except OSError:
        time.sleep(_LONGEST)
    finally:
        os.close(directory)


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


def open_lock(path: Path) -> int:
    """Opens what is to be locked, a new file if there is nothing; returns the descriptor.

    Anything can be locked, a directory too, and everybody has to lock the same.
    """
    # Not through a link, which may lead to another's lock.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o666)
    except IsADirectoryError:
        return os.open(path, os.O_RDONLY)
    except PermissionError:
        path.chmod(0o600)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        set_aside(path)
    return os.open(path, flags, 0o666)


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


def _try(descriptor: int, deadline: float, lock: int = fcntl.LOCK_EX) -> bool:
    pause = _SHORTEST
    while True:
        try:
            fcntl.flock(descriptor, lock | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST)
        else:
            return True

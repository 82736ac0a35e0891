"""The lock on a data directory: one service holds it, and tells others its URL.

The kernel drops the lock however the process ends, so only the lock counts, never the text in its
file. Knows nothing of what the service consists of.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.supervisor.errors import UserError
from worker.data import DataDirectory

LOCK_PATIENCE = 0.2
"""Seconds to wait for a held lock: a process that only looks holds it for an instant."""


@contextmanager
def data_lock(directory: Path, url: str) -> Iterator[None]:
    """Holds ``directory`` for this process; the lock file tells others its pid and ``url``.

    Raises:
        UserError: another process holds it.
        OSError: the file cannot be opened.
    """
    descriptor = os.open(DataDirectory(directory).lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        deadline = time.monotonic() + LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UserError(_already(*_holder(directory))) from None
                time.sleep(0.01)
        _tell(descriptor, f"{os.getpid()} {url}\n".encode())
        yield
    finally:
        os.close(descriptor)


def _tell(descriptor: int, text: bytes) -> None:
    try:
        # Over the text from before: on a full disk its block is all there is.
        os.pwrite(descriptor, text, 0)
        os.ftruncate(descriptor, len(text))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        # Others cannot find it without --url, but it can run.
        os.ftruncate(descriptor, 0)


def _already(pid: str, url: str) -> str:
    return f"already running at {url} (pid {pid})" if url else "already starting"


def running_url(directory: Path) -> str | None:
    """The URL of the holder of ``directory``, empty before it has one; None if there is none.

    Raises:
        UserError: the lock file is there, but this user cannot read it.
    """
    try:
        file = DataDirectory(directory).lock.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(directory)[1]
    return None


def url_of(directory: Path, pid: int) -> str | None:
    """The URL that a process wrote into ``directory``'s lock file, once it holds the lock."""
    try:
        holder, url = _holder(directory)
    except FileNotFoundError:
        return None
    return url if holder == str(pid) and url else None


def _holder(directory: Path) -> tuple[str, str]:
    text = DataDirectory(directory).lock.read_text("utf-8", errors="replace")
    pid, _, url = text.strip().partition(" ")
    return pid, url

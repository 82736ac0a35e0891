"""Places in the data directory: made, swept and removed, whatever lies there.

A disk repair, a backup or a person may leave a file where a directory belongs, a link to nowhere,
or something that may not be read. Nothing of that may keep the rest from being served. Knows no
file's content.
"""

import errno
import fcntl
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

_FRESH = 10.0
"""Seconds in which whoever makes a directory has it locked."""

_ABANDONED = 3600.0
"""Seconds after which nobody can still be at work on what cannot be locked."""

_WRITTEN = re.compile(r"^\..+\.[0-9a-f]{16}$", re.ASCII)

log = logging.getLogger(f"charloom.{__name__}")


@lru_cache(maxsize=1000)
def tell_once(words: str) -> None:
    """Logs an error, once for each process: what is damaged is read again and again."""
    log.error("%s", words)


def is_there(path: Path) -> bool:
    """Whether anything has this name, be it a link to nowhere."""
    return os.path.lexists(path)


def is_directory(path: Path) -> bool:
    """As ``Path.is_dir``, which raises an error where it may not look."""
    try:
        return path.is_dir()
    except OSError:
        return False


def names_in(directory: Path) -> list[str]:
    """The names in a directory; none if there is no such directory or it cannot be read."""
    try:
        return [path.name for path in directory.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        tell_once(f"{directory} cannot be read: {error.strerror}")
        return []


def make_directory(path: Path) -> None:
    """Makes a directory, with its parents; what is in its place is set aside.

    Raises:
        OSError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        # A looping link cannot even be looked at.
        if error.errno not in (errno.EEXIST, errno.ELOOP):
            raise
        set_aside(path)
        path.mkdir()
    if not os.access(path, os.R_OK | os.X_OK):
        # One that may only not be written is meant to be so.
        with suppress(OSError):
            path.chmod(0o700)
            log.error("%s could not be read: its mode is 0700 now", path)


def set_aside(path: Path) -> None:
    """Renames what is in the place of something else, so that nothing is lost."""
    aside = path.with_name(f".damaged-{path.name}-{secrets.token_hex(4)}")
    path.rename(aside)
    log.error("%s is not what belongs there: it is set aside as %s", path, aside.name)


def remove(path: Path) -> None:
    """Removes a file, a link or a directory with all that is in it, as far as it can be."""
    if not path.is_symlink() and is_directory(path):
        shutil.rmtree(path, ignore_errors=True)
        if is_there(path):
            _open_up(path)
            shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _open_up(directory: Path) -> None:
    """Makes a directory and those in it writable: in others nothing can be removed."""
    with suppress(OSError):
        directory.chmod(0o700)
        for part in directory.iterdir():
            if part.is_dir() and not part.is_symlink():
                _open_up(part)


@contextmanager
def staged(path: Path) -> Iterator[None]:
    """Owns a directory to prepare something in, removed after the block unless it was renamed.

    It is locked meanwhile, so that ``sweep_staged`` can tell that its owner lives.
    """
    path.mkdir(exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # Where directories cannot be locked, age has to tell.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        remove(path)
        os.close(descriptor)


def sweep(paths: Iterable[Path], seconds: float) -> None:
    """Removes what nobody has touched for so long: a process that died left it half done."""
    for path in paths:
        with suppress(OSError):
            if _touched(path) < time.time() - seconds:
                remove(path)


def sweep_staged(paths: Iterable[Path]) -> None:
    """Removes directories whose owners have died: nobody holds them, or touches them for long."""
    for path in paths:
        with suppress(OSError):
            age = time.time() - _touched(path)
            if age > _ABANDONED or (age > _FRESH and _is_free(path)):
                remove(path)


def sweep_written(root: Path) -> None:
    """Removes the files below a directory that ``write_durably`` was killed over."""
    # Not rglob, which raises an error where a directory goes meanwhile.
    for directory, _, names in os.walk(root):
        for path in (Path(directory, name) for name in names if _WRITTEN.search(name)):
            with suppress(OSError):
                if time.time() - path.lstat().st_mtime > _ABANDONED:
                    path.unlink()


def _is_free(path: Path) -> bool:
    """Whether no process has locked it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _touched(path: Path) -> float:
    parts = path.iterdir() if is_directory(path) else ()
    return max(float(one.lstat().st_mtime) for one in (path, *parts))

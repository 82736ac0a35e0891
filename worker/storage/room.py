"""Room on a disk that is a cache: large files that nobody uses make way, the longest unused first.

They become stand-ins, which are brought again. Knows no bucket: what it takes away is there.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from models.places import is_directory, remove
from worker.storage import copies

_HELD = ".using"


class Room:
    """The large files below a directory.

    Args:
        root: the directory.
        most: bytes that they may take, besides those in use.
        is_kept: whether the bucket has a file, given its folder, its path in it and its size.
    """

    def __init__(self, root: Path, most: int, is_kept: Callable[[Path, str, int], bool]) -> None:
        self._root = root
        self._most = most
        self._is_kept = is_kept
        self._used: dict[Path, float] = {}

    @contextmanager
    def held(self, folder: Path) -> Iterator[None]:
        """Keeps the large files of a folder during the block, from children's processes too."""
        if not is_directory(folder):
            yield
            return
        descriptor = os.open(folder / _HELD, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield
        finally:
            os.close(descriptor)

    def note_use(self, path: Path) -> None:
        self._used[path] = time.time()

    def make(self) -> None:
        """Takes away what is too much."""
        found = list(self._large())
        taken = sum(size for _, _, _, size in found)
        for _, folder, path, size in sorted(found):
            if taken <= self._most:
                return
            if self._take_away(folder, path, size):
                taken -= size

    def _large(self) -> Iterator[tuple[float, Path, Path, int]]:
        """Last use, folder, path and size of what may be taken away."""
        for kind in ("corpora", "models"):
            with suppress(FileNotFoundError):
                for folder in (self._root / kind).iterdir():
                    if is_directory(folder) and not folder.name.startswith("."):
                        yield from self._large_in(folder)

    def _large_in(self, folder: Path) -> Iterator[tuple[float, Path, Path, int]]:
        for path in folder.rglob("*"):
            name = path.relative_to(folder).as_posix()
            is_encoded = path.suffix == ".ids"
            with suppress(OSError):
                if not (copies.is_large(name) or is_encoded) or copies.is_stand_in(path):
                    continue
                status = path.stat()
                used = self._used.get(path, status.st_mtime)
                yield used, folder, path, status.st_blocks * 512

    def _take_away(self, folder: Path, path: Path, size: int) -> bool:
        """Whether it could be: nobody uses it."""
        try:
            descriptor = os.open(folder / _HELD, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            full = path.stat().st_size
            if path.suffix == ".ids":
                remove(path)
            elif self._is_kept(folder, path.relative_to(folder).as_posix(), full):
                copies.stand_in(path, full)
            else:
                # It is about to be sent.
                return False
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return size > 0

"""Whose corpora are, so that what one client keeps can be bounded.

``<root>/<owner>/corpora/<id>`` is a file that says how large one is, made before the corpus itself.
A corpus may have several owners, and counts in full for each. Who cannot be told from others owns
nothing. Knows no store: whoever asks says what is there.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from models.locks import locked
from models.places import names_in
from models.storage import ONE_DISK, Storage

KIND = "corpora"

MAKING_SECONDS = 24 * 3600.0
"""After which what was not made will not be: an upload takes less."""


def owner_named(name: str) -> str:
    """The owner that a caller's name stands for, without telling the name."""
    return hashlib.sha256(f"owner {name}".encode()).hexdigest()[:16]


class Owners:
    """What clients own, below one directory. Processes may share it."""

    def __init__(self, root: Path, storage: Storage = ONE_DISK) -> None:
        self._root = root
        self._storage = storage

    @contextmanager
    def changing(self, owner: str) -> Iterator[None]:
        """Allows one change at a time of what an owner has, across processes of one disk."""
        directory = self._root / owner
        directory.mkdir(parents=True, exist_ok=True)
        with locked(directory / "lock"):
            yield

    def note(self, owner: str, name: str, size: int) -> None:
        directory = self._root / owner / KIND

        def note() -> None:
            directory.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(str(size))

        self._storage.change(self._root / owner, note)

    def forget(self, name: str, owner: str = "*") -> None:
        """Forgets what is gone, for one owner or for all."""
        self._storage.refresh(self._root)
        for path in self._root.glob(f"{owner}/{KIND}/{name}"):
            self._forget(path)

    def _forget(self, path: Path) -> None:
        self._storage.change(path.parent.parent, lambda: path.unlink(missing_ok=True))

    def owned(self, owner: str, is_there: Callable[[str], bool]) -> dict[str, int]:
        """The sizes of what an owner has or is about to have; forgets what never came to be."""
        directory, found = self._root / owner / KIND, {}
        self._storage.refresh(self._root / owner)
        for name in names_in(directory) if directory.is_dir() else ():
            path = directory / name
            with suppress(OSError, ValueError):
                if is_there(name) or time.time() - path.stat().st_mtime < MAKING_SECONDS:
                    found[name] = int(path.read_text() or "0")
                else:
                    self._forget(path)
        return found

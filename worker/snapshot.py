"""A snapshot: what a data directory holds at one moment, beside it, while others work there.

It takes an instant: a file is linked, not copied. Files are replaced, not changed in place, so a
link stays what it was; only a job's events grow, and a snapshot of them may end within a line. What
is linked first was written last, so a snapshot is what a power cut would have left. Every corpus of
a job and every model of its events is there. Knows no file's content.
"""

import errno
import io
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from models.checkpoints.registry import Registry
from models.places import is_there, names_in, remove, staged, sweep_staged
from worker.corpora import CorpusStore
from worker.data import DataDirectory

KEPT = ("corpora", "experiments", "jobs", "models", "secret", "texts")
"""What is kept of a data directory, with its format. What belongs to one installation is not:
locks, devices, and Redis' data, whose jobs are put back from the disk."""

_FORMAT_MARK = re.compile(r"format-\d{1,9}", re.ASCII)

_STAGES = ".snapshot-*"

GROWING = "events.jsonl"

_HIDDEN = (".keys", ".pretrained")
"""All other hidden names are of what is half done, half gone, damaged or locked."""

_MADE_ANEW = re.compile(r"lock|\w+\.ids|\w+\.sha256", re.ASCII)
"""Locks, and encoded corpora, which are larger than their texts."""

_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)
"""Another file system is mounted there, or this one has no links."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was taken, in a directory of its own."""

    root: Path
    _ends: dict[Path, int] = field(default_factory=dict)

    def files(self) -> list[Path]:
        """Every file, in order."""
        return sorted(path for path in self.root.rglob("*") if path.is_file())

    def size(self, path: Path) -> int:
        """The bytes of a file that count: it may have grown since."""
        return self._ends[path] if path in self._ends else path.stat().st_size

    def open(self, path: Path) -> IO[bytes]:
        """Opens a file. Of one that grows there are the whole lines of that moment."""
        if path not in self._ends:
            return path.open("rb")
        with path.open("rb") as file:
            data = file.read(self._ends[path])
        return io.BytesIO(data[: data.rfind(b"\n") + 1])

    def take_jobs(self, source: Path, target: Path) -> None:
        """Takes job by job: none is missed that is unended, none is there in part."""
        target.mkdir()
        for name in filter(_is_kept, names_in(source)):
            while not self.take(source / name, target / name):
                # Something went meanwhile, such as a state that a newer one replaced.
                remove(target / name)
            if not is_there(source / name):
                # It was deleted, and may lack any part.
                remove(target / name)

    def take(self, source: Path, target: Path) -> bool:
        """Links a file, or all files in a directory; returns whether no part went meanwhile."""
        try:
            if source.is_dir():
                target.mkdir()
                names = [path.name for path in source.iterdir() if _is_kept(path.name)]
                taken = [self.take(source / n, target / n) for n in sorted(names, key=_order)]
                return all(taken)
            if source.is_file():
                _link(source, target)
                if source.name == GROWING:
                    self._ends[target] = target.stat().st_size
        except FileNotFoundError:
            return False
        return True


@contextmanager
def snapshot(data: DataDirectory) -> Iterator[Snapshot]:
    """A snapshot, which is gone after the block.

    While it is taken no corpus is deleted, and no model is published or deleted.

    Raises:
        OSError: a file cannot be read, or the data directory not be written.
    """
    sweep_staged(data.root.glob(_STAGES))
    place = data.root / _STAGES.replace("*", secrets.token_hex(8))
    with staged(place):
        taken = Snapshot(place)
        with CorpusStore(data.corpora).all_kept():
            taken.take_jobs(data.jobs, place / data.jobs.name)
            taken.take(data.corpora, place / data.corpora.name)
            with Registry(data.models).changing():
                taken.take(data.models, place / data.models.name)
        for name in filter(is_part, names_in(data.root)):
            if not is_there(place / name):
                taken.take(data.root / name, place / name)
        yield taken


def is_part(name: str) -> bool:
    """Whether what has this name in a data directory is kept."""
    return name in KEPT or _FORMAT_MARK.fullmatch(name) is not None


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copyfile(source, target)


def _is_kept(name: str) -> bool:
    return name in _HIDDEN if name.startswith(".") else not _MADE_ANEW.fullmatch(name)


def _order(name: str) -> tuple[int, str]:
    """Of a job's files: its end is written after its last event, a state after its events."""
    return {"result.json": 0, "state": 1, GROWING: 3}.get(name, 2), name

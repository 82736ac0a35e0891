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
from itertools import count
from pathlib import Path
from typing import IO

from models.checkpoints.registry import Registry
from models.places import is_there, names_in, staged, sweep_staged
from worker.corpora import CorpusStore
from worker.data import DataDirectory

KEPT = ("corpora", "experiments", "jobs", "models", "owners", "secret", "texts")
"""What is kept of a data directory, with its format. What belongs to one installation is not:
locks, devices, the store's id, and Redis's data, whose jobs are put back from the disk."""

_FORMAT_MARK = re.compile(r"format-\d{1,9}", re.ASCII)

_STAGES = ".snapshot-*"

_EVENTS = re.compile(r"jobs/[^/]+/events\.jsonl")
"""What grows. Patterns are of whole paths: a model, a tag or an experiment may have any name."""

_HIDDEN = (".keys", ".pretrained")
"""All other hidden names are of what is half done, half gone, damaged or locked."""

_MADE_ANEW = re.compile(r"(jobs/[^/]+|owners/[0-9a-f]{16})/lock|corpora/[^/]+/[^/]+\.(ids|sha256)")
"""Locks, and encoded corpora, which are larger than their texts."""

_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)
"""Another file system is mounted there, or this one has no links."""


class Snapshot:
    """What was taken: files by their names in the data directory.

    Its directory has them in a row: making directories and removing them costs far more than links.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._files: dict[str, Path] = {}
        self._ends: dict[str, int] = {}
        self._numbers = count()

    def names(self) -> list[str]:
        return sorted(self._files)

    def size(self, name: str) -> int:
        """The bytes of a file that count: it may have grown since."""
        return self._ends[name] if name in self._ends else self._files[name].stat().st_size

    def open(self, name: str) -> IO[bytes]:
        """Opens a file. Of one that grows there are the whole lines of that moment."""
        file = self._files[name].open("rb")
        if name not in self._ends:
            return file
        with file:
            data = file.read(self._ends[name])
        return io.BytesIO(data[: data.rfind(b"\n") + 1])

    def take_jobs(self, source: Path) -> None:
        """Takes job by job: none is missed that is unended, none is there in part."""
        for name in names_in(source):
            job, path = f"{source.name}/{name}", source / name
            if not _is_kept(job):
                continue
            while not self.take(path, job):
                # Something went meanwhile, such as a state that a newer one replaced.
                self._drop(job)
            if not is_there(path):
                # It was deleted, and may lack any part.
                self._drop(job)

    def take(self, source: Path, name: str) -> bool:
        """Links a file, or all files in a directory; returns whether no part went meanwhile."""
        try:
            if source.is_dir():
                parts = sorted((path.name for path in source.iterdir()), key=_order)
                kept = [part for part in parts if _is_kept(f"{name}/{part}")]
                taken = [self.take(source / part, f"{name}/{part}") for part in kept]
                return all(taken)
            if source.is_file():
                link = self._place / str(next(self._numbers))
                _link(source, link)
                self._files[name] = link
                if _EVENTS.fullmatch(name):
                    self._ends[name] = link.stat().st_size
        except FileNotFoundError:
            return False
        return True

    def _drop(self, folder: str) -> None:
        for name in [name for name in self._files if name.startswith(f"{folder}/")]:
            del self._files[name]


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
            taken.take_jobs(data.jobs)
            taken.take(data.corpora, data.corpora.name)
            with Registry(data.models).changing() as check:
                taken.take(data.models, data.models.name)
                # Else a model may have changed half way.
                check()
        orderly = (data.jobs.name, data.corpora.name, data.models.name)
        for name in filter(is_part, names_in(data.root)):
            if name not in orderly:
                taken.take(data.root / name, name)
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
    """Whether a file or directory, by its path in the data directory, belongs into a snapshot."""
    last = name.rpartition("/")[2]
    return last in _HIDDEN if last.startswith(".") else not _MADE_ANEW.fullmatch(name)


def _order(name: str) -> tuple[int, str]:
    """Of a job's files: its end is written after its last event, a state after its events."""
    return {"result.json": 0, "state": 1, "events.jsonl": 3}.get(name, 2), name

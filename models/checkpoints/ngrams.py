"""The files of a model's n-gram baselines, each named by its sha256.

A card names the n-gram model that its checkpoint is compared with; the checkpoints of a job share
one. Knows no card and nothing about a file's contents (``models.ngram``).
"""

import hashlib
import time
from pathlib import Path

from models.files import CheckpointError, read_bounded, sync_directory, write_durably

MAX_NGRAM = (16 << 20) + (64 << 10)
"""Maximum size of an n-gram model's file in bytes."""

_UNNAMED_SECONDS = 3600.0
"""Age up to which a file that no card names is kept: a job may be about to name it."""


class NGramFiles:
    """The n-gram models in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def add(self, data: bytes) -> str:
        """Writes a file durably and returns its digest."""
        digest = hashlib.sha256(data).hexdigest()
        self.directory.mkdir(parents=True, exist_ok=True)
        sync_directory(self.directory.parent)
        write_durably(self.directory / digest, data)
        return digest

    def has(self, digest: str) -> bool:
        return (self.directory / digest).is_file()

    def read(self, digest: str) -> bytes:
        """Returns a file's bytes.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        data = read_bounded(self.directory / digest, MAX_NGRAM)
        if hashlib.sha256(data).hexdigest() != digest:
            raise CheckpointError("the n-gram model does not match its digest")
        return data

    def prune(self, named: set[str]) -> None:
        """Removes the files that are not among those named, unless they are new."""
        if not self.directory.is_dir():
            return
        for path in self.directory.iterdir():
            if path.name not in named and path.stat().st_mtime < time.time() - _UNNAMED_SECONDS:
                path.unlink(missing_ok=True)

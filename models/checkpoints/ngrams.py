"""The files of a model's n-gram baselines, each named by its sha256.

A card names the n-gram model that its checkpoint is compared with; the checkpoints of a job share
one. Knows no card and nothing about a file's contents (``models.ngram``).
"""

import hashlib
from pathlib import Path

from models.checkpoints.reference import DIGEST
from models.files import CheckpointError, read_bounded, sync_directory, write_durably
from models.places import is_there, make_directory, names_in, sweep

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
        make_directory(self.directory)
        sync_directory(self.directory.parent)
        write_durably(self.directory / digest, data)
        return digest

    def has(self, digest: str) -> bool:
        return is_there(self.directory / digest)

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
        unnamed = set(filter(DIGEST.fullmatch, names_in(self.directory))) - named
        sweep((self.directory / digest for digest in unnamed), _UNNAMED_SECONDS)

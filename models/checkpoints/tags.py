"""The tags of one model: files that name a checkpoint by its digest.

A second line contains the digest that the tag named before, in case the new checkpoint is damaged.
A tag moves by renaming a new file over it, so a reader finds the old digest or the new one. Callers
that change tags hold the registry's lock. Knows no checkpoint.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from models.checkpoints.reference import DIGEST, TAG
from models.files import CheckpointError, read_bounded, sync_directory, write_durably
from models.places import is_directory, make_directory, names_in, remove

_MAX_TAG = 1000


class Tags:
    """The tags in one directory.

    Args:
        directory: it need not exist.
        check: raises an error if nothing may be changed any more; called right before each change.
    """

    def __init__(self, directory: Path, check: Callable[[], None] | None = None) -> None:
        self.directory = directory
        self._check = check

    def names(self) -> list[str]:
        if not is_directory(self.directory):
            return []
        return list(filter(TAG.fullmatch, names_in(self.directory)))

    def digest(self, tag: str) -> str | None:
        """Returns the digest that a tag names; None if there is no such tag or it is damaged."""
        return next(iter(self.digests(tag)), None)

    def digests(self, tag: str) -> list[str]:
        """Returns the digest that a tag names and the one before, as far as they are known."""
        digests = self.remains(tag).decode("ascii", "replace").split()
        return digests[:2] if all(map(DIGEST.fullmatch, digests)) else []

    def remains(self, tag: str) -> bytes:
        """Returns what is left of a tag's file; nothing if there is none or it cannot be read."""
        try:
            return read_bounded(self.directory / tag, _MAX_TAG)
        except CheckpointError:
            return b""

    def naming(self, digest: str) -> list[str]:
        """Returns the tags that name a digest, sorted."""
        return sorted(tag for tag in self.names() if self.digest(tag) == digest)

    def write(self, tag: str, *digests: str) -> None:
        """Points a tag at a digest; a second one is recorded as the one before."""
        make_directory(self.directory)
        write_durably(self.directory / tag, "\n".join(digests).encode("ascii"), check=self._check)

    def remove(self, tags: Iterable[str]) -> None:
        for tag in tags:
            if self._check:
                self._check()
            remove(self.directory / tag)
        if is_directory(self.directory):
            sync_directory(self.directory)

"""The tags of one model: files that name a checkpoint by its digest.

A second line contains the digest that the tag named before, in case the new checkpoint is damaged.
A tag moves by renaming a new file over it, so a reader finds the old digest or the new one. Callers
that change tags hold the registry's lock. Knows no checkpoint.
"""

from collections.abc import Iterable
from pathlib import Path

from models.checkpoints.reference import DIGEST, TAG
from models.files import sync_directory, write_durably


class Tags:
    """The tags in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def names(self) -> list[str]:
        if not self.directory.is_dir():
            return []
        return [path.name for path in self.directory.iterdir() if TAG.fullmatch(path.name)]

    def digest(self, tag: str) -> str | None:
        """Returns the digest that a tag names; None if there is no such tag or it is damaged."""
        return next(iter(self.digests(tag)), None)

    def digests(self, tag: str) -> list[str]:
        """Returns the digest that a tag names and the one before, as far as they are known."""
        try:
            digests = (self.directory / tag).read_text("ascii").split()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, UnicodeDecodeError):
            return []
        return digests[:2] if all(map(DIGEST.fullmatch, digests)) else []

    def all_digests(self) -> set[str]:
        """Returns all digests in tags, including previous ones."""
        return {digest for tag in self.names() for digest in self.digests(tag)}

    def naming(self, digest: str) -> list[str]:
        """Returns the tags that name a digest, sorted."""
        return sorted(tag for tag in self.names() if self.digest(tag) == digest)

    def write(self, tag: str, *digests: str) -> None:
        """Points a tag at a digest; a second one is recorded as the one before."""
        write_durably(self.directory / tag, "\n".join(digests).encode("ascii"))

    def remove(self, tags: Iterable[str]) -> None:
        for tag in tags:
            (self.directory / tag).unlink(missing_ok=True)
        sync_directory(self.directory)

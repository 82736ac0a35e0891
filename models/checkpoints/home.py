"""A model's directory: its checkpoints, the tags that name them, its n-gram models.

A tag that is damaged is mended where it can be known what it named; until then nothing of the model
is pruned, since that may be what the tag named. Callers that change anything hold the registry's
lock, and give a home its check: a process that was frozen in the middle of a change, and whose lock
another has taken since, changes nothing more. Knows no other model.
"""

import logging
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from models.checkpoints.format import read
from models.checkpoints.ngrams import NGramFiles
from models.checkpoints.reference import DIGEST, LATEST
from models.checkpoints.stored import StoredCheckpoint
from models.checkpoints.tags import Tags
from models.files import CheckpointError, sync_directory
from models.places import is_directory, is_there, names_in, remove, sweep_staged, tell_once

Naming = dict[str, list[str]]
"""By tag, the digest that it names and the one before; none if the tag is damaged."""

_JOB = re.compile(r"[0-9a-f]{22}", re.ASCII)
"""A job's id, as in ``worker.jobs.JOB_ID``."""

_ALIKE = 24
"""Characters of 64 that two digests share if one is what is left of the other; by chance, 4."""

log = logging.getLogger(f"charloom.{__name__}")


class Home:
    """The directory of one model; it need not exist."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.check: Callable[[], None] = lambda: None
        """Raises an error if nothing may be changed any more; called right before each step."""
        self.tags = Tags(directory / "tags", lambda: self.check())
        self.ngrams = NGramFiles(directory / "ngrams")

    @property
    def name(self) -> str:
        return self.directory.name

    def checkpoint(self, digest: str) -> StoredCheckpoint:
        """Raises CheckpointError: it is gone, or the digest is none."""
        stored = StoredCheckpoint(self.directory / digest)
        if not DIGEST.fullmatch(digest) or not stored.is_there:
            raise CheckpointError("the checkpoint is gone")
        return stored

    def digests(self) -> set[str]:
        """The digests of all checkpoints that are there, named or not."""
        found = filter(DIGEST.fullmatch, names_in(self.directory))
        return {name for name in found if is_directory(self.directory / name)}

    # Tags

    def named(self, tag: str) -> list[str]:
        """The digest that a tag names and the one before; none if it is damaged or not there."""
        found = self.tags.digests(tag)
        return found if all(is_directory(self.directory / one) for one in found) else []

    def naming(self) -> Naming:
        """What every tag names."""
        return {tag: self.named(tag) for tag in self.tags.names()}

    def lacks(self, naming: Naming) -> bool:
        """Whether a tag is damaged, or may be missing: a checkpoint that is there has a tag."""
        return not all(naming.values()) or (
            LATEST not in naming and not self.digests() <= _all(naming)
        )

    def mended(self, naming: Naming) -> Naming:
        """What every tag names, damaged ones as far as it can be known.

        What is left of a tag tells, else that no other tag names a checkpoint. ``latest`` is the
        newest of such; another tag is known only if there is one of each.
        """
        there = self.digests()
        found = naming.copy()
        for tag in (tag for tag, digests in naming.items() if not digests):
            found[tag] = _alike(self.tags.remains(tag), there)
        unknown = [tag for tag, digests in found.items() if not digests]
        orphans = self._newest_first(there - _all(found))
        if LATEST in unknown:
            found[LATEST] = orphans[:2] or self._newest_first(there)[:1]
        elif len(unknown) == len(orphans) == 1:
            found[unknown[0]] = orphans
        elif LATEST not in found and orphans and not unknown:
            found[LATEST] = orphans[:2]
        return found

    def mend(self) -> Naming:
        """Writes the tags as ``mended`` says, and returns what every tag names."""
        naming = self.naming()
        if not self.lacks(naming):
            return naming
        mended = self.mended(naming)
        for tag, digests in mended.items():
            if digests and digests != naming.get(tag):
                self.tags.write(tag, *digests)
                log.error(
                    "%s:%s was damaged: it names the checkpoint %s again",
                    *(self.name, tag, digests[0][:12]),
                )
            elif not digests:
                tell_once(
                    f"the tag {self.tags.directory / tag} is damaged: nothing of {self.name} is "
                    "removed until it is deleted or published again"
                )
        if naming.get(LATEST) != mended.get(LATEST):
            # It was a guess: what else it may have named must not be pruned.
            for digest in self.digests() - _all(mended):
                self.keep(digest)
        return mended

    def _newest_first(self, digests: Iterable[str]) -> list[str]:
        """Sorts digests by when their checkpoints were made, sound ones first."""

        def age(digest: str) -> tuple[bool, str, int, float, int]:
            stored = StoredCheckpoint(self.directory / digest)
            manifest = stored.signature()[0]
            written = manifest[1] if manifest else 0
            try:
                card = stored.card()
                stored.check()
            except CheckpointError:
                return False, "", written, 0, 0
            # The last: a card is published again when there is more to say.
            return True, card.get("created_at") or "", written, card.get("step") or 0, len(card)

        return sorted(digests, key=age, reverse=True)

    def keep(self, digest: str) -> None:
        """Tags a checkpoint with its job's id, or with part of its digest if that is taken."""
        tag = self.job_of(digest)
        if not _JOB.fullmatch(tag) or self.tags.digest(tag) not in (None, digest):
            tag = digest[:22]
        self.tags.write(tag, digest)

    def job_of(self, digest: str) -> str:
        """Returns the id of the job that made a checkpoint; empty if the card names none."""
        try:
            return self.checkpoint(digest).card().get("job_id") or ""
        except CheckpointError:
            return ""

    def place(self, staged: Path, digest: str) -> None:
        """Moves a checkpoint into its place, unless the same is there already and sound."""
        target = self.directory / digest
        if is_directory(target):
            with suppress(CheckpointError):
                read(target)
                return
        if is_there(target):
            self.check()
            set_gone(target, target.parent)
        self.check()
        staged.rename(target)
        sync_directory(target.parent)

    # What is no longer needed

    def prune(self) -> None:
        """Removes the checkpoints that no tag names and the n-gram models that no card names.

        Nothing, while a tag cannot be read; no n-gram model, while a card cannot be read.
        """
        naming = self.naming()
        if not all(naming.values()):
            return
        named = _all(naming)
        for digest in self.digests() - named:
            self.check()
            set_gone(self.directory / digest, self.directory)
        with suppress(CheckpointError):
            cards = [self.checkpoint(digest).card() for digest in named]
            self.ngrams.prune({card["ngram"] for card in cards if card.get("ngram")})

    def sweep(self) -> None:
        """Removes what killed processes left half-written or half-deleted."""
        for path in self.directory.glob(".gone-*"):
            remove(path)
        # Other processes write there without the lock.
        sweep_staged(self.directory.glob(".stage-*"))

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the model is there, and no job is writing a checkpoint."""
        return not self.tags.names() and not self.is_written

    @property
    def is_written(self) -> bool:
        """Whether a checkpoint is being written."""
        return any(self.directory.glob(".stage-*"))


def set_gone(path: Path, parent: Path) -> None:
    """Removes a directory, renamed before: readers find it complete or not at all."""
    remove(path.rename(parent / f".gone-{secrets.token_hex(8)}"))


def _all(naming: Mapping[str, list[str]]) -> set[str]:
    return {digest for digests in naming.values() for digest in digests}


def _alike(remains: bytes, there: set[str]) -> list[str]:
    """The digests that what is left of a tag must have named."""
    found = []
    for place in (0, 65):
        left = remains[place : place + 64]
        shared = {digest: _shared(left, digest) for digest in there}
        best = max(there, key=shared.__getitem__, default="")
        if best and shared[best] >= _ALIKE and best not in found:
            found.append(best)
    return found


def _shared(left: bytes, digest: str) -> int:
    return sum(one == other for one, other in zip(left, digest.encode(), strict=False))

"""Publishes, tags, lists and deletes the models in one directory.

A checkpoint is an immutable directory ``<root>/<name>/<digest>/`` (``models.checkpoints.format``).
It is written next to its place, synced and renamed, so it is there as a whole or not at all. Tags
are files in ``<root>/<name>/tags/`` (``models.checkpoints.tags``), n-gram baselines are in
``<root>/<name>/ngrams/`` (``models.checkpoints.ngrams``). The baseline named by the card of
``latest`` is the model ``name:ngram``.

Knows no torch, no Redis and no HTTP.
"""

import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from models.checkpoints.card import Card, read_card
from models.checkpoints.format import (
    FILES,
    MANIFEST,
    MAX_JSON,
    Checkpoint,
    read,
    read_config,
    read_vocabulary,
    write,
)
from models.checkpoints.history import HistoryPoint, read_history
from models.checkpoints.ngrams import NGramFiles
from models.checkpoints.reference import (
    DIGEST,
    LATEST,
    NAME,
    NGRAM,
    NoNGram,
    NotANetwork,
    Reference,
    UnknownModel,
)
from models.checkpoints.tags import Tags
from models.config import NetworkConfig
from models.files import CheckpointError, open_file, parse_object, read_bounded, sync_directory
from models.text.vocab import Vocabulary

_JOB = re.compile(r"[0-9a-f]{22}", re.ASCII)

_ABANDONED_SECONDS = 3600.0
"""Age from which a half-written checkpoint belongs to a process that died."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A published checkpoint without its weights, as listings show it."""

    reference: Reference
    digest: str
    tags: list[str]
    config: NetworkConfig
    card: Card


class Registry:
    """The models in one directory. Processes may share it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def publish(
        self, reference: Reference, checkpoint: Checkpoint, *, keep_before: bool = False
    ) -> str:
        """Writes a checkpoint and points the tag at it.

        The checkpoint that the tag named until now is kept, the one before that is removed unless
        another tag names it. With ``keep_before`` the former gets its own tag, as in
        ``keep_latest``.

        Returns:
            The digest.

        Raises:
            ValueError: the tag is reserved.
            CheckpointError: a file of it would be larger than ``read`` accepts.
        """
        check_publishable(reference)
        name, tag = reference.name, reference.tag
        home, tags = self.root / name, self._tags(name)
        staged = home / f".stage-{secrets.token_hex(8)}"
        with self._changing():
            tags.directory.mkdir(parents=True, exist_ok=True)
            sync_directory(self.root)
            _sweep(home)
            staged.mkdir()
        try:
            digest = write(staged, checkpoint)
            with self._changing():
                if not (home / digest).exists():
                    staged.rename(home / digest)
                    sync_directory(home)
                named = tags.digests(tag)
                if keep_before and named and named[0] != digest:
                    self._keep(name, named[0])
                before = [one for one in named if one != digest]
                tags.write(tag, digest, *before[:1])
                self._prune(name)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        return digest

    def tag(self, reference: Reference, digest: str) -> None:
        """Points a tag at an existing checkpoint.

        Raises:
            ValueError: the tag is reserved.
            CheckpointError: the checkpoint is gone.
        """
        check_publishable(reference)
        with self._changing():
            self._directory(reference.name, digest)
            self._tags(reference.name).write(reference.tag, digest)

    def keep_latest(self, name: str, besides: str) -> None:
        """Keeps the checkpoint that ``latest`` names: its job's id becomes a tag of it.

        Args:
            name: the model's name.
            besides: the id of a job whose own checkpoint need not be kept.
        """
        with self._changing():
            digest = self._tags(name).digest(LATEST)
            if digest and self._job_of(name, digest) != besides:
                self._keep(name, digest)

    def _keep(self, name: str, digest: str) -> None:
        """Tags a checkpoint with its job's id, or with part of its digest if that is taken."""
        tags, tag = self._tags(name), self._job_of(name, digest)
        if not _JOB.fullmatch(tag) or tags.digest(tag) not in (None, digest):
            tag = digest[:22]
        tags.write(tag, digest)

    def _job_of(self, name: str, digest: str) -> str:
        """Returns the id of the job that made a checkpoint; empty if the card names none."""
        try:
            return read_card(self._directory(name, digest)).get("job_id") or ""
        except CheckpointError:
            return ""

    def delete(self, reference: Reference) -> None:
        """Removes a tag, and the checkpoints that no tag names any more.

        Raises:
            UnknownModel: there is no such model or tag.
        """
        with self._changing():
            self._delete(reference.name, [reference.tag])

    def delete_name(self, name: str) -> None:
        """Removes every tag of a name, and their checkpoints.

        Raises:
            ValueError: the name is invalid.
            UnknownModel: there is no such model.
        """
        name = Reference(name).name
        with self._changing():
            self._delete(name, self._tags(name).names())

    def _delete(self, name: str, deleted: list[str]) -> None:
        home, tags = self.root / name, self._tags(name)
        if not any(map(tags.digest, deleted)):
            raise UnknownModel(name)
        tags.remove(deleted)
        self._prune(name)
        # A job may be writing its next checkpoint there.
        if not tags.names() and not any(home.glob(".stage-*")):
            doomed = _set_aside(home, self.root)
            sync_directory(self.root)
            shutil.rmtree(doomed, ignore_errors=True)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Allows one change at a time, across processes.

        Without it, one process could prune a checkpoint that another has just renamed into place
        and not tagged yet, or remove a name's directory that another is about to publish in.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".changing").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _prune(self, name: str) -> None:
        """Removes the checkpoints that no tag names and the n-gram models that no card names."""
        home, named = self.root / name, self._tags(name).all_digests()
        for path in home.iterdir():
            if DIGEST.fullmatch(path.name) and path.name not in named:
                shutil.rmtree(_set_aside(path, home), ignore_errors=True)
        cards = []
        for digest in named:
            with suppress(CheckpointError):
                cards.append(read_card(home / digest))
        self._ngrams(name).prune({card["ngram"] for card in cards if card.get("ngram")})

    # N-gram baselines

    def publish_ngram(self, name: str, data: bytes) -> str:
        """Stores an n-gram model for the checkpoints of a name and returns its digest.

        It is removed with the last checkpoint whose card names it.

        Raises:
            ValueError: the name is invalid.
        """
        files = self._ngrams(Reference(name).name)
        with self._changing():
            return files.add(data)

    def ngram(self, name: str) -> tuple[str, str]:
        """Returns the digests of a name's n-gram model and of the checkpoint with its vocabulary.

        Raises:
            UnknownModel: there is no such model, or it has no n-gram model.
        """
        latest = self.entry(Reference(name))
        digest = latest.card.get("ngram")
        if digest is None or not DIGEST.fullmatch(digest) or not self._ngrams(name).has(digest):
            raise NoNGram(name)
        return digest, latest.digest

    def ngram_bytes(self, name: str, digest: str) -> bytes:
        """Returns an n-gram model's file.

        Raises:
            CheckpointError: it is damaged.
        """
        return self._ngrams(name).read(digest)

    # Reading

    def resolve(self, reference: Reference) -> str:
        """Returns the digest of the checkpoint that a reference names now.

        Raises:
            UnknownModel: there is no such model or tag, or it is an n-gram model.
        """
        if reference.is_ngram:
            raise NotANetwork(reference)
        digest = self._tags(reference.name).digest(reference.tag)
        if digest is None:
            raise UnknownModel(reference)
        return digest

    def serves(self, name: str, digest: str) -> bool:
        """Returns whether a tag of a name, or its n-gram model, has this digest now."""
        if self._tags(name).naming(digest):
            return True
        try:
            return self.ngram(name)[0] == digest
        except (UnknownModel, CheckpointError):
            return False

    def before(self, reference: Reference) -> str | None:
        """Returns the digest that a tag named before the current one; None if unknown."""
        return next(iter(self._tags(reference.name).digests(reference.tag)[1:]), None)

    def load(self, name: str, digest: str) -> Checkpoint:
        """Reads and checks a checkpoint.

        Raises:
            CheckpointError: it is damaged.
        """
        return read(self._directory(name, digest))

    @contextmanager
    def opened(self, name: str, digest: str) -> Iterator[dict[str, IO[bytes]]]:
        """Opens a checkpoint's files, by name; they stay readable even if it is deleted meanwhile.

        Raises:
            CheckpointError: a file is missing or has another size than the manifest says.
        """
        directory = self._directory(name, digest)
        manifest = parse_object(read_bounded(directory / MANIFEST, MAX_JSON), MANIFEST)
        with ExitStack() as held:
            files = {}
            for file in FILES:
                stated = manifest.get(file)
                files[file] = held.enter_context(open_file(directory / file))
                size = os.fstat(files[file].fileno()).st_size
                if not isinstance(stated, dict) or stated.get("bytes") != size:
                    raise CheckpointError(f"{file} is damaged: not the size in the manifest")
            files[MANIFEST] = held.enter_context(open_file(directory / MANIFEST))
            yield files

    def vocabulary(self, name: str, digest: str) -> Vocabulary:
        """Reads a checkpoint's vocabulary, without its weights.

        Raises:
            CheckpointError: it is damaged.
        """
        directory = self._directory(name, digest)
        data = read_bounded(directory / "vocab.json", MAX_JSON)
        return read_vocabulary(data, read_config(directory))

    def entry(self, reference: Reference) -> Entry:
        """Reads a model without its weights.

        Raises:
            UnknownModel: there is no such model or tag.
            CheckpointError: it is damaged.
        """
        digest = self.resolve(reference)
        directory = self._directory(reference.name, digest)
        tags = self._tags(reference.name).naming(digest)
        return Entry(reference, digest, tags, read_config(directory), read_card(directory))

    def history(self, reference: Reference) -> list[HistoryPoint]:
        """Reads a model's losses, then its samples, over the steps, oldest first, thinned.

        Raises:
            UnknownModel: there is no such model or tag.
            CheckpointError: it is damaged.
        """
        directory = self._directory(reference.name, self.resolve(reference))
        with open_file(directory / "history.jsonl") as file:
            return read_history(file)

    def entries(self) -> Iterator[Entry]:
        """Yields every undamaged model and tag, in the order of ``references``."""
        for reference in self.references():
            try:
                yield self.entry(reference)
            except (UnknownModel, CheckpointError):
                continue

    def references(self) -> Iterator[Reference]:
        """Yields every model and tag, by name, ``latest`` first."""
        for name in self.names():
            found = (Reference(name, tag) for tag in self._tags(name).names())
            yield from sorted(found, key=lambda reference: reference.place)

    def names(self) -> list[str]:
        if not self.root.is_dir():
            return []
        found = (path.name for path in self.root.iterdir() if NAME.fullmatch(path.name))
        return sorted(name for name in found if self._tags(name).names())

    def _tags(self, name: str) -> Tags:
        return Tags(self.root / name / "tags")

    def _ngrams(self, name: str) -> NGramFiles:
        return NGramFiles(self.root / name / "ngrams")

    def _directory(self, name: str, digest: str) -> Path:
        directory = self.root / name / digest
        if not NAME.fullmatch(name) or not DIGEST.fullmatch(digest) or not directory.is_dir():
            raise CheckpointError("the checkpoint is gone")
        return directory


def check_publishable(reference: Reference) -> None:
    """Raises ValueError if the tag is reserved."""
    if reference.is_ngram:
        raise ValueError(f"the tag {NGRAM} is reserved for the n-gram model: choose another")


def _set_aside(path: Path, parent: Path) -> Path:
    """Renames a directory before its deletion, so that readers find it complete or not at all."""
    return path.rename(parent / f".gone-{secrets.token_hex(8)}")


def _sweep(home: Path) -> None:
    """Removes what killed processes left half-written or half-deleted; needs the lock."""
    for path in home.glob(".gone-*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in home.glob(".stage-*"):
        # Other processes write there without the lock.
        with suppress(FileNotFoundError):
            newest = max(part.stat().st_mtime for part in (path, *path.iterdir()))
            if newest < time.time() - _ABANDONED_SECONDS:
                shutil.rmtree(path, ignore_errors=True)

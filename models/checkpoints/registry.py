"""The models below one directory: published, tagged, listed, deleted.

A checkpoint is an immutable directory ``<root>/<name>/<digest>/`` (``models.checkpoints.format``).
A tag is a file ``<root>/<name>/tags/<tag>`` that holds a digest and, on a second line, the one
before, which is kept in case the new one is damaged; a tag moves by renaming a new file onto it.
A checkpoint is written in a directory beside, synced, and renamed into place: it is there whole
or not at all.

The n-gram model that a checkpoint is compared with (``models.ngram``) is a file of its own,
``<root>/<name>/ngrams/<sha256>``, which the card names: checkpoints of one job share it. What the
card of ``latest`` names is the model ``name:ngram``.

Knows no torch, no Redis and no HTTP.
"""

import fcntl
import hashlib
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

from models.checkpoints.card import Card, HistoryPoint, parse_point, read_card
from models.checkpoints.format import (
    FILES,
    MANIFEST,
    MAX_HISTORY,
    MAX_JSON,
    Checkpoint,
    read,
    read_config,
    read_vocabulary,
    write,
)
from models.checkpoints.reference import (
    DIGEST,
    LATEST,
    NAME,
    NGRAM,
    TAG,
    NoNGram,
    NotANetwork,
    Reference,
    UnknownModel,
)
from models.config import NetworkConfig
from models.files import (
    CheckpointError,
    open_file,
    parse_object,
    read_bounded,
    sync_directory,
    write_durably,
)
from models.text.vocab import Vocabulary

_JOB = re.compile(r"[0-9a-f]{22}", re.ASCII)


MAX_NGRAM = (16 << 20) + (64 << 10)
"""Bytes of an n-gram model's file."""


_ABANDONED = 3600.0
"""Seconds after which a checkpoint half written belongs to a process that is no more."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A published checkpoint as listings show it, weights unread."""

    reference: Reference
    digest: str
    tags: list[str]
    config: NetworkConfig
    card: Card


class Registry:
    """The models below one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def publish(
        self, reference: Reference, checkpoint: Checkpoint, *, keep_before: bool = False
    ) -> str:
        """Writes a checkpoint and points the tag at it.

        What the tag named before goes, unless another tag names it; the one before stays. With
        ``keep_before`` it is given a tag of its own, as ``keep_latest`` does.

        Returns:
            The digest.

        Raises:
            ValueError: the tag is the n-gram model's.
            CheckpointError: a part of it is larger than ``read`` takes.
        """
        check_publishable(reference)
        name, tag = reference.name, reference.tag
        home = self.root / name
        staged = home / f".stage-{secrets.token_hex(8)}"
        with self._changing():
            (home / "tags").mkdir(parents=True, exist_ok=True)
            sync_directory(self.root)
            _sweep(home)
            staged.mkdir()
        try:
            digest = write(staged, checkpoint)
            with self._changing():
                if not (home / digest).exists():
                    staged.rename(home / digest)
                    sync_directory(home)
                named = self._read_tag_file(name, tag)
                if keep_before and named and named[0] != digest:
                    self._keep(name, named[0])
                before = [one for one in named if one != digest]
                self._write_tag(name, tag, digest, *before[:1])
                self._prune(name)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        return digest

    def tag(self, reference: Reference, digest: str) -> None:
        """Points a tag at a checkpoint that is there.

        Raises:
            ValueError: the tag is the n-gram model's.
            CheckpointError: the checkpoint is gone.
        """
        check_publishable(reference)
        with self._changing():
            self._directory(reference.name, digest)
            self._write_tag(reference.name, reference.tag, digest)

    def publish_ngram(self, name: str, data: bytes) -> str:
        """Keeps an n-gram model for the checkpoints of a name, and returns its digest.

        It goes with the last checkpoint whose card names it.

        Raises:
            ValueError: it is not a name.
        """
        directory = self.root / Reference(name).name / "ngrams"
        digest = hashlib.sha256(data).hexdigest()
        with self._changing():
            directory.mkdir(parents=True, exist_ok=True)
            sync_directory(self.root / name)
            write_durably(directory / digest, data)
        return digest

    def ngram(self, name: str) -> tuple[str, str]:
        """Digests of the n-gram model of a name, and of the checkpoint whose symbols it has.

        Raises:
            UnknownModel: there is no such name, or it has no n-gram model.
        """
        latest = self.entry(Reference(name))
        digest = latest.card.get("ngram")
        if digest is None or not DIGEST.fullmatch(digest):
            raise NoNGram(name)
        if not (self.root / name / "ngrams" / digest).is_file():
            raise NoNGram(name)
        return digest, latest.digest

    def ngram_bytes(self, name: str, digest: str) -> bytes:
        """An n-gram model's file. Raises CheckpointError: it is damaged."""
        data = read_bounded(self.root / name / "ngrams" / digest, MAX_NGRAM)
        if hashlib.sha256(data).hexdigest() != digest:
            raise CheckpointError("the n-gram model does not match its digest")
        return data

    def keep_latest(self, name: str, besides: str) -> None:
        """What ``latest`` names stays, whoever takes its place: under the id of its job.

        Args:
            name: the model's.
            besides: the id of a job; what is of it need not stay.
        """
        with self._changing():
            digest = self._read_tag(name, LATEST)
            if digest and self._job_of(name, digest) != besides:
                self._keep(name, digest)

    def _keep(self, name: str, digest: str) -> None:
        """Gives a checkpoint the tag of its job, or part of its digest where that is taken."""
        tag = self._job_of(name, digest)
        if not _JOB.fullmatch(tag) or self._read_tag(name, tag) not in (None, digest):
            tag = digest[:22]
        self._write_tag(name, tag, digest)

    def _job_of(self, name: str, digest: str) -> str:
        """The id of the job that made a checkpoint; nothing where it names none."""
        try:
            return str(read_card(self._directory(name, digest)).get("job_id") or "")
        except CheckpointError:
            return ""

    def delete(self, reference: Reference) -> None:
        """Removes a tag, and the checkpoints that no tag names then.

        Raises:
            UnknownModel: nothing has that name or tag.
        """
        with self._changing():
            self._delete(reference.name, [reference.tag])

    def delete_name(self, name: str) -> None:
        """Removes every tag of a name, with their checkpoints.

        Raises:
            ValueError: it is not a name.
            UnknownModel: nothing has that name.
        """
        name = Reference(name).name
        with self._changing():
            self._delete(name, self._tags(name))

    def _delete(self, name: str, tags: list[str]) -> None:
        home = self.root / name
        if not any(self._read_tag(name, tag) for tag in tags):
            raise UnknownModel(name)
        for tag in tags:
            (home / "tags" / tag).unlink(missing_ok=True)
        sync_directory(home / "tags")
        self._prune(name)
        # A job may be writing its next checkpoint there.
        if not self._tags(name) and not any(home.glob(".stage-*")):
            doomed = self.root / f".gone-{secrets.token_hex(8)}"
            home.rename(doomed)
            sync_directory(self.root)
            shutil.rmtree(doomed, ignore_errors=True)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One change at a time, in all processes.

        Nobody may prune what was just renamed in and has no tag yet, or remove a home that
        somebody is about to publish in.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".changing").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def resolve(self, reference: Reference) -> str:
        """Returns the digest of the checkpoint that a reference names now.

        Raises:
            UnknownModel: nothing has that name or tag, or it is an n-gram model.
        """
        if reference.is_ngram:
            raise NotANetwork(reference)
        digest = self._read_tag(reference.name, reference.tag)
        if digest is None:
            raise UnknownModel(reference)
        return digest

    def before(self, reference: Reference) -> str | None:
        """Digest of what a tag named before it named what it does; None if that is not known."""
        return next(iter(self._read_tag_file(reference.name, reference.tag)[1:]), None)

    def load(self, name: str, digest: str) -> Checkpoint:
        """Reads and checks a checkpoint.

        Raises:
            CheckpointError: it is damaged.
        """
        return read(self._directory(name, digest))

    @contextmanager
    def opened(self, name: str, digest: str) -> Iterator[dict[str, IO[bytes]]]:
        """A checkpoint's files by name, which stay readable even if it is deleted meanwhile.

        Raises:
            CheckpointError: it is damaged, as far as sizes tell.
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
                    raise CheckpointError(f"{file} is damaged: it is not as long as it was")
            files[MANIFEST] = held.enter_context(open_file(directory / MANIFEST))
            yield files

    def vocabulary(self, name: str, digest: str) -> Vocabulary:
        """A checkpoint's symbols, without its weights.

        Raises:
            CheckpointError: it is damaged.
        """
        directory = self._directory(name, digest)
        data = read_bounded(directory / "vocab.json", MAX_JSON)
        return read_vocabulary(data, read_config(directory))

    def entry(self, reference: Reference) -> Entry:
        """A model without its weights.

        Raises:
            UnknownModel: nothing has that name or tag.
            CheckpointError: it is damaged.
        """
        name, digest = reference.name, self.resolve(reference)
        directory = self._directory(name, digest)
        tags = sorted(tag for tag in self._tags(name) if self._read_tag(name, tag) == digest)
        return Entry(reference, digest, tags, read_config(directory), read_card(directory))

    def history(self, reference: Reference) -> list[HistoryPoint]:
        """Losses and samples over the steps, oldest first.

        Raises:
            UnknownModel: nothing has that name or tag.
            CheckpointError: it is damaged.
        """
        directory = self._directory(reference.name, self.resolve(reference))
        data = read_bounded(directory / "history.jsonl", MAX_HISTORY)
        return [parse_point(line) for line in data.splitlines()]

    def entries(self) -> Iterator[Entry]:
        """Every sound model and tag, in the order of ``references``; damaged ones are left out."""
        for reference in self.references():
            try:
                yield self.entry(reference)
            except (UnknownModel, CheckpointError):
                continue

    def references(self) -> Iterator[Reference]:
        """Every model and tag, by name, ``latest`` first."""
        for name in self.names():
            found = (Reference(name, tag) for tag in self._tags(name))
            yield from sorted(found, key=lambda reference: reference.place)

    def names(self) -> list[str]:
        if not self.root.is_dir():
            return []
        found = (p.name for p in self.root.iterdir() if NAME.fullmatch(p.name))
        return sorted(name for name in found if self._tags(name))

    def _tags(self, name: str) -> list[str]:
        directory = self.root / name / "tags"
        if not directory.is_dir():
            return []
        return [p.name for p in directory.iterdir() if TAG.fullmatch(p.name)]

    def _directory(self, name: str, digest: str) -> Path:
        directory = self.root / name / digest
        if not NAME.fullmatch(name) or not DIGEST.fullmatch(digest) or not directory.is_dir():
            raise CheckpointError("the checkpoint is gone")
        return directory

    def _read_tag(self, name: str, tag: str) -> str | None:
        return next(iter(self._read_tag_file(name, tag)), None)

    def _read_tag_file(self, name: str, tag: str) -> list[str]:
        """The digest that a tag names, and the one before."""
        try:
            digests = (self.root / name / "tags" / tag).read_text("ascii").split()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, UnicodeDecodeError):
            return []
        return digests[:2] if all(map(DIGEST.fullmatch, digests)) else []

    def _write_tag(self, name: str, tag: str, *digests: str) -> None:
        write_durably(self.root / name / "tags" / tag, "\n".join(digests).encode("ascii"))

    def _prune(self, name: str) -> None:
        """Removes what no tag names, be it as the one before."""
        named = {digest for tag in self._tags(name) for digest in self._read_tag_file(name, tag)}
        for path in (self.root / name).iterdir():
            if DIGEST.fullmatch(path.name) and path.name not in named:
                # Renamed first: a reader finds the directory whole or gone, never half deleted.
                doomed = path.with_name(f".gone-{secrets.token_hex(8)}")
                path.rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)
        self._prune_ngrams(name, named)

    def _prune_ngrams(self, name: str, checkpoints: set[str]) -> None:
        """Removes n-gram models that no checkpoint names, and that no job is about to name."""
        home = self.root / name
        if not (home / "ngrams").is_dir():
            return
        named = set()
        for digest in checkpoints:
            with suppress(CheckpointError):
                named.add(read_card(home / digest).get("ngram"))
        for path in (home / "ngrams").iterdir():
            if path.name not in named and path.stat().st_mtime < time.time() - _ABANDONED:
                path.unlink(missing_ok=True)


def check_publishable(reference: Reference) -> None:
    """Raises ValueError: the tag is the n-gram model's."""
    if reference.is_ngram:
        raise ValueError(f"the tag {NGRAM} is the n-gram model's: choose another")


def _sweep(home: Path) -> None:
    """Removes what a killed process left half written or half deleted; under the lock."""
    for path in home.glob(".gone-*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in home.glob(".stage-*"):
        # Others write there without the lock.
        with suppress(FileNotFoundError):
            if max(p.stat().st_mtime for p in (path, *path.iterdir())) < time.time() - _ABANDONED:
                shutil.rmtree(path, ignore_errors=True)

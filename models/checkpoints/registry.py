"""Publishes, tags, lists and deletes the models in one directory.

A checkpoint is an immutable directory ``<root>/<name>/<digest>/`` (``models.checkpoints.format``).
It is written next to its place, synced and renamed, so it is there as a whole or not at all. Tags
are files in ``<root>/<name>/tags/`` (``models.checkpoints.tags``), n-gram baselines are in
``<root>/<name>/ngrams/`` (``models.checkpoints.ngrams``). The baseline named by the card of
``latest`` is the model ``name:ngram``.

Knows no torch, no Redis and no HTTP.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from models.checkpoints.card import Card
from models.checkpoints.format import Checkpoint, read, write
from models.checkpoints.history import HistoryPoint
from models.checkpoints.home import Home, Naming, set_gone
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
from models.checkpoints.stored import Soundness, StoredCheckpoint
from models.config import NetworkConfig
from models.files import CheckpointError, sync_directory
from models.places import (
    locked,
    make_directory,
    names_in,
    remove,
    staged,
    tell_once,
)
from models.text.vocab import Vocabulary


@dataclass(frozen=True, slots=True)
class Entry:
    """A published checkpoint without its weights, as listings show it.

    ``damaged`` says what is wrong with the newer checkpoint in whose place it is served.
    """

    reference: Reference
    digest: str
    tags: list[str]
    config: NetworkConfig
    card: Card
    damaged: list[str]


def _may() -> None:
    """Of whoever may publish."""


class Registry:
    """The models in one directory. Processes may share it.

    Where the checkpoint that a tag names is damaged, the one before it is served in its place.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._soundness = Soundness()

    @property
    def damaged(self) -> set[Path]:
        """Directories of checkpoints that this process found damaged."""
        return self._soundness.damaged

    def publish(
        self,
        reference: Reference,
        checkpoint: Checkpoint,
        *,
        keep_before: bool = False,
        check: Callable[[], None] = _may,
    ) -> str:
        """Writes a checkpoint and points the tag at it.

        The checkpoint that the tag named until now is kept, the one before that is removed unless
        another tag names it. With ``keep_before`` the former gets its own tag, as in
        ``keep_latest``. ``check`` raises an error where nothing may be published any more.

        Returns:
            The digest.

        Raises:
            ValueError: the tag is reserved.
            CheckpointError: a file of it would be larger than ``read`` accepts.
        """
        check_publishable(reference)
        home, tag = self._home(reference.name), reference.tag
        place = home.directory / f".stage-{secrets.token_hex(8)}"
        with self.changing():
            make_directory(home.directory)
            make_directory(home.tags.directory)
            sync_directory(self.root)
            home.sweep()
            place.mkdir()
        with staged(place):
            digest = write(place, checkpoint)
            with self.changing():
                check()
                # Before the checkpoint is in its place, where it is the only one without a tag.
                named = home.mend().get(tag, [])
                home.place(place, digest)
                if keep_before and named and named[0] != digest:
                    home.keep(named[0])
                before = [one for one in named if one != digest]
                home.tags.write(tag, digest, *before[:1])
                home.prune()
        return digest

    def sweep(self) -> None:
        """Removes what killed processes left half written or half deleted."""
        for path in self.root.glob(".gone-*"):
            remove(path)
        for name in filter(NAME.fullmatch, names_in(self.root)):
            if any((self.root / name).glob(".*-*")):
                with self.changing():
                    self._home(name).sweep()

    def tag(self, reference: Reference, digest: str) -> None:
        """Points a tag at an existing checkpoint.

        Raises:
            ValueError: the tag is reserved.
            CheckpointError: the checkpoint is gone.
        """
        check_publishable(reference)
        home = self._home(reference.name)
        with self.changing():
            home.checkpoint(digest)
            home.tags.write(reference.tag, digest)

    def keep_latest(self, name: str, besides: str) -> None:
        """Tags what ``latest`` names with the id of its job, unless that is ``besides``."""
        home = self._home(name)
        with self.changing():
            for digest in home.mend().get(LATEST, [])[:1]:
                if home.job_of(digest) != besides:
                    home.keep(digest)

    def delete(self, reference: Reference) -> None:
        """Removes a tag, and the checkpoints that no tag names any more.

        Raises:
            UnknownModel: there is no such model or tag.
        """
        home = self._home(reference.name)
        with self.changing():
            if reference.tag not in home.mend():
                raise UnknownModel(reference)
            self._delete(home, [reference.tag])

    def delete_name(self, name: str) -> None:
        """Removes every tag of a name, and their checkpoints.

        Raises:
            ValueError: the name is invalid.
            UnknownModel: there is no such model.
        """
        home = self._home(Reference(name).name)
        with self.changing():
            if not (tags := [*home.mend()]):
                raise UnknownModel(name)
            self._delete(home, tags)

    def _delete(self, home: Home, tags: list[str]) -> None:
        home.tags.remove(tags)
        home.prune()
        if home.is_empty:
            set_gone(home.directory, self.root)
            sync_directory(self.root)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Allows one change at a time, across processes.

        Without it, one process could prune a checkpoint that another has just renamed into place
        and not tagged yet, or remove a name's directory that another is about to publish in.
        """
        make_directory(self.root)
        with locked(self.root / ".changing"):
            yield

    # N-gram baselines

    def publish_ngram(self, name: str, data: bytes) -> str:
        """Stores an n-gram model for the checkpoints of a name and returns its digest.

        It is removed with the last checkpoint whose card names it.

        Raises:
            ValueError: the name is invalid.
        """
        files = self._home(Reference(name).name).ngrams
        with self.changing():
            return files.add(data)

    def ngram(self, name: str) -> tuple[str, str]:
        """Returns the digests of a name's n-gram model and of the checkpoint with its vocabulary.

        Raises:
            UnknownModel: there is no such model, or it has no n-gram model.
        """
        latest = self.entry(Reference(name))
        digest = latest.card.get("ngram")
        if (
            digest is None
            or not DIGEST.fullmatch(digest)
            or not self._home(name).ngrams.has(digest)
        ):
            raise NoNGram(name)
        return digest, latest.digest

    def ngram_bytes(self, name: str, digest: str) -> bytes:
        """Returns an n-gram model's file.

        Raises:
            CheckpointError: it is damaged.
        """
        return self._home(name).ngrams.read(digest)

    # Reading

    def resolve(self, reference: Reference) -> str:
        """Returns the digest of the checkpoint that is served for a reference now.

        Raises:
            UnknownModel: there is no such model or tag, or it is an n-gram model.
            CheckpointError: it is damaged.
        """
        return self._served(reference)[0]

    def _served(self, reference: Reference) -> tuple[str, list[str]]:
        """The digest, and what is wrong with the checkpoint in whose place it is served."""
        if reference.is_ngram:
            raise NotANetwork(reference)
        home, before = self._home(reference.name), None
        while True:
            named = home.named(reference.tag) or self.naming(reference.name).get(reference.tag)
            if named is None:
                raise UnknownModel(reference)
            digest, wrong = self._soundness.first(home.directory / digest for digest in named)
            if digest:
                return digest, wrong
            if named == before:
                why = wrong[0] if wrong else "its tag cannot be read"
                raise CheckpointError(f"{reference.full}: {why}")
            # Once more: it may have been replaced meanwhile.
            before = named

    def serves(self, name: str, digest: str) -> bool:
        """Returns whether a tag of a name, or its n-gram model, has this digest now."""
        references = [Reference(name, tag) for tag in self._home(name).tags.names()]
        for reference in references:
            with suppress(UnknownModel, CheckpointError):
                if self.resolve(reference) == digest:
                    return True
        with suppress(UnknownModel, CheckpointError):
            return self.ngram(name)[0] == digest
        return False

    def load(self, name: str, digest: str) -> Checkpoint:
        """Reads and checks a checkpoint.

        Raises:
            CheckpointError: it is damaged.
        """
        stored = self._stored(name, digest)
        with self._soundness.noting(stored):
            return read(stored.directory)

    @contextmanager
    def opened(self, name: str, digest: str) -> Iterator[dict[str, IO[bytes]]]:
        """Opens a checkpoint's files, by name; they stay readable even if it is deleted meanwhile.

        Raises:
            CheckpointError: one is missing or damaged.
        """
        stored = self._stored(name, digest)
        with ExitStack() as held:
            with self._soundness.noting(stored):
                files = held.enter_context(stored.opened())
            yield files

    def vocabulary(self, name: str, digest: str) -> Vocabulary:
        """Reads a checkpoint's vocabulary, without its weights.

        Raises:
            CheckpointError: it is damaged.
        """
        return self._stored(name, digest).vocabulary()

    def entry(self, reference: Reference) -> Entry:
        """Reads a model without its weights.

        Raises:
            UnknownModel: there is no such model or tag.
            CheckpointError: it is damaged.
        """
        digest, damaged = self._served(reference)
        home = self._home(reference.name)
        tags = {reference.tag, *home.tags.naming(digest)}
        config, card = home.checkpoint(digest).examine()
        return Entry(reference, digest, sorted(tags), config, card, damaged)

    def history(self, reference: Reference) -> list[HistoryPoint]:
        """Reads a model's losses, then its samples, over the steps, oldest first, thinned.

        Raises:
            UnknownModel: there is no such model or tag.
            CheckpointError: it is damaged.
        """
        stored = self._stored(reference.name, self.resolve(reference))
        with self._soundness.noting(stored):
            return stored.history()

    def entries(self) -> Iterator[Entry]:
        """Yields every undamaged model and tag, in the order of ``references``."""
        for reference in self.references():
            with suppress(UnknownModel, CheckpointError):
                yield self.entry(reference)

    def references(self) -> Iterator[Reference]:
        """Yields every model and tag, by name, ``latest`` first; also damaged ones."""
        for name in self.names():
            found = (Reference(name, tag) for tag in self.naming(name))
            yield from sorted(found, key=lambda reference: reference.place)

    def names(self) -> list[str]:
        return sorted(filter(self.naming, filter(NAME.fullmatch, names_in(self.root))))

    def naming(self, name: str) -> Naming:
        """What the tags of a model name, once those are mended that can be."""
        home = self._home(name)
        naming = home.naming()
        if not home.lacks(naming):
            return naming
        try:
            with self.changing():
                return home.mend()
        except OSError as error:
            tell_once(f"the tags of {home.name} cannot be mended: {error.strerror}")
            return home.mended(naming)

    def _home(self, name: str) -> Home:
        if not NAME.fullmatch(name):
            raise CheckpointError("the checkpoint is gone")
        return Home(self.root / name)

    def _stored(self, name: str, digest: str) -> StoredCheckpoint:
        return self._home(name).checkpoint(digest)


def check_publishable(reference: Reference) -> None:
    """Raises ValueError if the tag is reserved."""
    if reference.is_ngram:
        raise ValueError(f"the tag {NGRAM} is reserved for the n-gram model: choose another")

"""Reads, lists and mends what is published in one directory (``models.checkpoints.registry``).

Where the checkpoint that a tag names is damaged, the one before it is served in its place. Knows no
torch, no Redis and no HTTP.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from models.checkpoints.about import About, read_about
from models.checkpoints.card import Card
from models.checkpoints.format import Checkpoint, read
from models.checkpoints.history import HistoryPoint
from models.checkpoints.home import Home, Naming
from models.checkpoints.reference import (
    DIGEST,
    NAME,
    NoNGram,
    NotANetwork,
    Reference,
    UnknownModel,
)
from models.checkpoints.stored import Soundness, StoredCheckpoint
from models.config import NetworkConfig
from models.files import CheckpointError
from models.locks import locked
from models.places import is_there, make_directory, names_in, tell_once
from models.storage import ONE_DISK, Done, Storage, StorageAway
from models.text.vocab import Vocabulary


@dataclass(frozen=True, slots=True)
class Entry:
    """A published checkpoint without its weights, as listings show it.

    ``is_list`` says that it has the lines of a list, and so names to give; ``damaged``, what is
    wrong with the newer checkpoint in whose place it is served.
    """

    reference: Reference
    digest: str
    tags: list[str]
    config: NetworkConfig
    card: Card
    is_list: bool
    about: About
    damaged: list[str]


class PublishedModels:
    """The models in one directory, for who only reads them. Processes may share it."""

    def __init__(self, root: Path, storage: Storage = ONE_DISK) -> None:
        self.root = root
        self.storage = storage
        self._soundness = Soundness()

    @property
    def damaged(self) -> set[Path]:
        """Directories of checkpoints that this process found damaged."""
        return self._soundness.damaged

    def _change(self, home: Home, act: Callable[[], Done], *, is_long: bool = False) -> Done:
        """Changes a model, one change at a time but for one that is ``is_long``."""

        def alone() -> Done:
            with self.changing() as home.check:
                return act()

        return self.storage.change(home.directory, act if is_long else alone)

    @contextmanager
    def changing(self) -> Iterator[Callable[[], None]]:
        """Allows one change at a time, across processes; as ``locked``.

        Without it, one process could prune a checkpoint that another has just renamed into place
        and not tagged yet, or remove a name's directory that another is about to publish in.
        """
        make_directory(self.root)
        with locked(self.root / ".changing") as check:
            yield check

    def ngram(self, name: str) -> tuple[str, str]:
        """Returns the digests of a name's n-gram model and of the checkpoint with its vocabulary.

        Raises:
            UnknownModel: the model does not exist, or has no n-gram model.
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
        files = self._home(name).ngrams
        with self.storage.using(files.directory / digest):
            return files.read(digest)

    def resolve(self, reference: Reference) -> str:
        """Returns the digest of the checkpoint that is served for a reference now.

        Raises:
            UnknownModel: the model or tag does not exist, or is an n-gram model.
            CheckpointError: it is damaged.
        """
        return self._served(reference)[0]

    def _served(self, reference: Reference) -> tuple[str, list[str]]:
        """The digest, and what is wrong with the checkpoint in whose place it is served."""
        if reference.is_ngram:
            raise NotANetwork(reference)
        home, before = self._home(reference.name), None
        self._refresh(home)
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

    def refresh(self) -> None:
        """Brings what others published or deleted, all models at once."""
        self.storage.refresh(self.root)

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
        with self.storage.using(stored.directory), self._soundness.noting(stored):
            return read(stored.directory)

    @contextmanager
    def opened(self, name: str, digest: str) -> Iterator[dict[str, IO[bytes]]]:
        """Opens a checkpoint's files, by name; they stay readable even if it is deleted meanwhile.

        Raises:
            CheckpointError: one is missing or damaged.
        """
        stored = self._stored(name, digest)
        with ExitStack() as held:
            with self.storage.using(stored.directory), self._soundness.noting(stored):
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
            UnknownModel: the model or tag does not exist.
            CheckpointError: it is damaged.
        """
        digest, damaged = self._served(reference)
        home = self._home(reference.name)
        tags = {reference.tag, *home.tags.naming(digest)}
        config, card, is_list = home.checkpoint(digest).examine()
        about = read_about(home.directory)
        return Entry(reference, digest, sorted(tags), config, card, is_list, about, damaged)

    def history(self, reference: Reference) -> list[HistoryPoint]:
        """Reads a model's losses, then its samples, over the steps, oldest first, thinned.

        Raises:
            UnknownModel: the model or tag does not exist.
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
        self.refresh()
        return sorted(filter(self.naming, filter(NAME.fullmatch, names_in(self.root))))

    def naming(self, name: str) -> Naming:
        """What the tags of a model name, once those are mended that can be."""
        home = self._home(name)
        self._refresh(home)
        naming = home.naming()
        if not home.lacks(naming):
            return naming
        try:
            return self._change(home, home.mend)
        except (OSError, StorageAway) as error:
            tell_once(f"the tags of {home.name} cannot be mended: {error}")
            return home.mended(naming)

    def _refresh(self, home: Home) -> None:
        self.storage.refresh(home.directory)
        if not is_there(home.directory):
            # Another host may have published it a moment ago.
            self.storage.refresh(home.directory, is_needed=True)

    def _home(self, name: str) -> Home:
        if not NAME.fullmatch(name):
            raise CheckpointError("the checkpoint is gone")
        return Home(self.root / name)

    def _stored(self, name: str, digest: str) -> StoredCheckpoint:
        return self._home(name).checkpoint(digest)

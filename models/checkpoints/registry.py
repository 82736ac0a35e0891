"""Publishes, tags, lists and deletes the models in one directory.

A checkpoint is an immutable directory ``<root>/<name>/<digest>/`` (``models.checkpoints.format``).
It is written next to its place, synced and renamed, so it is there as a whole or not at all. Tags
are files in ``<root>/<name>/tags/`` (``models.checkpoints.tags``), n-gram baselines are in
``<root>/<name>/ngrams/`` (``models.checkpoints.ngrams``), what people say of it is in
``<root>/<name>/about.json`` (``models.checkpoints.about``). The baseline named by the card of
``latest`` is the model ``name:ngram``.

Knows no torch, no Redis and no HTTP.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from models.checkpoints.about import read_about, write_about
from models.checkpoints.format import Checkpoint, write
from models.checkpoints.home import Home, set_gone
from models.checkpoints.published import Entry as Entry
from models.checkpoints.published import PublishedModels
from models.checkpoints.reference import (
    LATEST,
    NAME,
    NGRAM,
    ModelBusy,
    ModelExists,
    Reference,
    UnknownModel,
)
from models.files import sync_directory
from models.places import make_directory, names_in, remove, staged


def _may() -> None:
    """Of whoever may publish."""


class Registry(PublishedModels):
    """The models in one directory. Processes may share it."""

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
        return self._change(
            home, lambda: self._publish(home, tag, checkpoint, keep_before, check), is_long=True
        )

    def _publish(
        self,
        home: Home,
        tag: str,
        checkpoint: Checkpoint,
        keep_before: bool,
        check: Callable[[], None],
    ) -> str:
        place = home.directory / f".stage-{secrets.token_hex(8)}"
        with self.changing():
            make_directory(home.directory)
            make_directory(home.tags.directory)
            sync_directory(self.root)
            home.sweep()
            place.mkdir()
        with staged(place):
            digest = write(place, checkpoint)
            with self.changing() as is_alone:

                def may() -> None:
                    check()
                    is_alone()

                home.check = may
                may()
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

        def tag() -> None:
            home.checkpoint(digest)
            home.tags.write(reference.tag, digest)

        self._change(home, tag)

    def keep_latest(self, name: str, besides: str) -> None:
        """Tags what ``latest`` names with the id of its job, unless that is ``besides``."""
        home = self._home(name)

        def keep() -> None:
            for digest in home.mend().get(LATEST, [])[:1]:
                if home.job_of(digest) != besides:
                    home.keep(digest)

        self._change(home, keep)

    def describe(self, name: str, **said: Any) -> None:
        """Changes what is said of a model, the fields of ``About`` that are named.

        Raises:
            ValueError: the name is invalid.
            UnknownModel: the model does not exist.
        """
        home = self._home(Reference(name).name)

        def describe() -> None:
            if not home.mend():
                raise UnknownModel(name)
            write_about(home.directory, replace(read_about(home.directory), **said))

        self._change(home, describe)

    def rename(self, name: str, new: str) -> None:
        """Gives a model another name, with all of its tags and what is said of it.

        Whoever is killed meanwhile leaves it whole (``models.storage.Storage.move``).

        Raises:
            ValueError: a name is invalid.
            UnknownModel: the model does not exist.
            ModelExists: another has the new name.
            ModelBusy: a checkpoint is being written under one of the names.
        """
        home, target = (self._home(Reference(one).name) for one in (name, new))

        @contextmanager
        def allowed() -> Iterator[None]:
            with self.changing() as check:
                home.check = target.check = check
                naming = home.mend()
                if not naming:
                    raise UnknownModel(name)
                # Where locks are not shared, it may be what an earlier try left there.
                is_left = not self.storage.shares_locks and target.naming() == naming
                if not is_left and target.mend():
                    raise ModelExists(new)
                for one in (home, target):
                    one.sweep()
                    if one.is_written:
                        raise ModelBusy(one.name)
                yield

        if name != new:
            self.storage.move(home.directory, target.directory, allowed)

    def delete(self, reference: Reference) -> None:
        """Removes a tag, and the checkpoints that no tag names any more.

        Raises:
            UnknownModel: the model or tag does not exist.
        """
        home = self._home(reference.name)

        def delete() -> None:
            if reference.tag not in home.mend():
                raise UnknownModel(reference)
            self._delete(home, [reference.tag])

        self._change(home, delete)

    def delete_name(self, name: str) -> None:
        """Removes every tag of a name, and their checkpoints.

        Raises:
            ValueError: the name is invalid.
            UnknownModel: the model does not exist.
        """
        home = self._home(Reference(name).name)

        def delete() -> None:
            if not (tags := [*home.mend()]):
                raise UnknownModel(name)
            self._delete(home, tags)

        self._change(home, delete)

    def _delete(self, home: Home, tags: list[str]) -> None:
        home.tags.remove(tags)
        home.prune()
        if home.is_empty:
            home.check()
            set_gone(home.directory, self.root)
            sync_directory(self.root)

    def publish_ngram(self, name: str, data: bytes) -> str:
        """Stores an n-gram model for the checkpoints of a name and returns its digest.

        It is removed with the last checkpoint whose card names it.

        Raises:
            ValueError: the name is invalid.
        """
        home = self._home(Reference(name).name)
        return self._change(home, lambda: home.ngrams.add(data))


def check_publishable(reference: Reference) -> None:
    """Raises ValueError if the tag is reserved."""
    if reference.is_ngram:
        raise ValueError(f"the tag {NGRAM} is reserved for the n-gram model: choose another")

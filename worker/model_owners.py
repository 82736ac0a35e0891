"""Whose the models are, each tag by itself, so that what one client keeps can be bounded.

``<root>/<name>`` is the record of a model name: whose its tags are, and whose those are that come
of training. A name without one is nobody's. Knows no registry: whoever asks says which tags there
are.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from models.files import write_durably
from models.locks import locked
from models.places import make_directory, tell_once
from models.storage import ONE_DISK, Done, Storage
from worker.records import DamagedRecord, Records

Tags = Callable[[], Iterable[str]]
"""The tags that a name has now."""


@dataclass(frozen=True, slots=True)
class Shares:
    """The record of a name: the owner of its newest job, whose all tags are that are not in
    ``tags``, the owners of the others. An empty owner is nobody."""

    trainer: str = ""
    tags: dict[str, str] = field(default_factory=dict)

    def owner_of(self, tag: str) -> str:
        return self.tags.get(tag, self.trainer)

    def only(self, tags: Iterable[str]) -> dict[str, str]:
        """The owners of these tags."""
        return {tag: self.owner_of(tag) for tag in tags}


_SHARES = Records(Shares)


class ModelOwners:
    """The records below one directory. Processes may share it."""

    def __init__(self, root: Path, storage: Storage = ONE_DISK) -> None:
        self._root = root
        self._storage = storage

    def shares(self, name: str) -> Shares:
        """A damaged record gives nobody anything."""
        self._storage.refresh(self._root)
        try:
            return _SHARES.read(self._root / name) or Shares()
        except DamagedRecord as error:
            tell_once(f"whose {name} is cannot be read: {error}")
            return Shares()

    def train(self, owner: str, name: str, tags: Tags) -> None:
        """Gives an owner what comes of training from now on; what is there stays whose it is."""

        def train() -> None:
            before = self.shares(name)
            if owner or before != Shares():
                self._keep(name, Shares(owner, before.only(tags())))

        self._change(train)

    @contextmanager
    def importing(self, owner: str, name: str, tag: str, tags: Tags) -> Iterator[None]:
        """Gives an owner the tag under which the block publishes.

        What the tag named may get another one meanwhile, and stays whose it was.
        """

        def take() -> dict[str, str]:
            before = self.shares(name)
            known = before.only(tags())
            self._keep(name, Shares(before.trainer, known | {tag: owner}))
            return known

        known = self._change(take)
        was = known.get(tag, owner)
        try:
            yield
        except BaseException:
            self._add(name, {tag: was} if tag in known else {})
            raise
        self._add(name, {new: was for new in tags() if new not in known and new != tag})

    def rename(self, name: str, new: str) -> None:
        """Whose a model is stays whose it was."""

        def rename() -> None:
            before = self.shares(name)
            self._keep(new, before)
            self._keep(name, Shares())

        self._change(rename)

    def clean(self, name: str, left: Iterable[str], *, is_trained: bool) -> None:
        """Forgets whose the tags were that are not left, and, where none is and no job is to
        publish under the name, whose that was."""

        def clean() -> None:
            before = self.shares(name)
            tags = before.only(left)
            self._keep(name, Shares(before.trainer if tags or is_trained else "", tags))

        self._change(clean)

    def _add(self, name: str, tags: dict[str, str]) -> None:
        def add() -> None:
            before = self.shares(name)
            self._keep(name, replace(before, tags=before.tags | tags))

        if tags:
            self._change(add)

    def _change(self, act: Callable[[], Done]) -> Done:
        make_directory(self._root)
        with locked(self._root / ".lock"):
            return self._storage.change(self._root, act)

    def _keep(self, name: str, shares: Shares) -> None:
        make_directory(self._root)
        path = self._root / name
        if shares.trainer or any(shares.tags.values()):
            write_durably(path, json.dumps(asdict(shares)).encode())
        else:
            path.unlink(missing_ok=True)

"""Where what is kept becomes true: on one disk, or in a bucket for hosts with a disk each.

A *folder* is a directory, or a single file, that changes as a whole: a job, a model with its tags,
a corpus. Stores read and write files of a directory, whichever storage there is; they say when they
are about to change a folder, to read one that others may have changed, or what may be large. On one
disk nothing of that takes any work. In a bucket (``worker.storage``) the directory is a cache, and
what a store does there counts once the bucket has it.

Knows no store.
"""

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from models.errors import Unavailable
from models.files import sync_directory
from models.places import is_there, remove

Done = TypeVar("Done")
Allowed = Callable[[], AbstractContextManager[None]]


class StorageAway(Unavailable):
    """The bucket does not answer, or refuses for now."""

    code = "storage_away"

    def __init__(self) -> None:
        super().__init__("the storage does not answer: try again in a moment")


@runtime_checkable
class Storage(Protocol):
    """What stores ask of a storage."""

    @property
    def shares_locks(self) -> bool:
        """Whether a lock on a file is seen by all who work with the storage."""

    def refresh(self, place: Path, *, is_needed: bool = False) -> None:
        """Brings what others changed of a folder, or of all folders in a directory.

        Args:
            place: the folder, or the directory.
            is_needed: what is here already does not do.

        Raises:
            StorageAway: only where it is needed.
        """

    def change(self, folder: Path, act: Callable[[], Done]) -> Done:
        """Changes a folder, for all hosts or not at all; it is true once this returns.

        Args:
            folder: the folder, which is fresh when ``act`` begins.
            act: changes files of the folder and returns what this does. It may run again, if
                another host changed the folder in the same moment. What it raises undoes it.

        Raises:
            StorageAway: nothing was changed, as far as can be known.
        """

    def exclude(self, folder: Path, act: Callable[[], Done]) -> Done | None:
        """As ``change``, for what no two hosts may do at once; where they share a lock, which the
        caller holds, nothing need be written down, and the result is None."""

    def move(self, folder: Path, target: Path, allowed: Allowed) -> None:
        """Gives a folder another name, and removes what is there.

        On one disk at once. In a bucket whoever is killed meanwhile leaves the whole folder under
        both names: moved again, it is under the new one only.

        Args:
            folder: the folder.
            target: in the same directory.
            allowed: holds for the length of a block whatever keeps others from changing either, and
                raises an error where they may not be moved. Both are fresh then.

        Raises:
            StorageAway: the folder is under its old name, and may be under both.
        """

    def using(self, place: Path) -> AbstractContextManager[None]:
        """Brings a large file, or those of a folder, and keeps them here during the block.

        Raises:
            StorageAway: one is not here and cannot be brought.
            FileNotFoundError: it was deleted meanwhile.
        """

    def sweep(self) -> None:
        """Removes what killed processes left there half done, now and then."""


class OneDisk:
    """The storage of those who share one disk with its locks: what is written there is true."""

    shares_locks = True

    def refresh(self, place: Path, *, is_needed: bool = False) -> None:
        return

    def change(self, _folder: Path, act: Callable[[], Done]) -> Done:
        return act()

    def exclude(self, _folder: Path, _act: Callable[[], Done]) -> Done | None:
        return None

    def move(self, folder: Path, target: Path, allowed: Allowed) -> None:
        with allowed():
            if is_there(target):
                remove(target.rename(target.with_name(f".gone-{secrets.token_hex(8)}")))
            folder.rename(target)
            sync_directory(folder.parent)

    def using(self, _place: Path) -> AbstractContextManager[None]:
        return nullcontext()

    def sweep(self) -> None:
        return


ONE_DISK = OneDisk()

"""A data directory as the copy of a bucket: folders are brought, changed and sent back as a whole.

Each folder has a head in the bucket (``worker.storage.heads``), which is the truth; only who has
seen the newest head can replace it, so of two who change a folder at once one has to look again.
Files that a head names are sent before it, under keys of their own, and removed after it, so
whoever loses has left nothing that counts. A directory belongs to one process and its children.
Knows no store.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath

from models.errors import NotFound
from models.files import CheckpointError
from models.places import names_in, tell_once
from models.storage import Allowed, Done, StorageAway
from worker.storage import copies
from worker.storage.bucket import Bucket, Stale
from worker.storage.contents import Contents
from worker.storage.heads import NAME, Head, Part, Stored
from worker.storage.placing import apply, gather
from worker.storage.room import Room
from worker.storage.sweeping import sweep

FRESH = 1.0
"""Seconds for which a look at the bucket counts, where a request need not see the newest."""

THREADS = 16
"""Folders that are brought at once."""

ROUNDS = 5
"""Times that a head is read again whose objects are gone, since there is a newer one. What is gone
all the same has been lost, and whoever reads it finds out."""

SWEEP_SECONDS = 3600.0
"""Between two looks for what nobody needs in the bucket."""

_KINDS = ("corpora", "jobs", "models", "owners")
"""Directories of folders. What is hidden in them is no folder of theirs, but may be one."""


class FolderGone(NotFound):
    """The folder was deleted, and does not come back."""


@dataclass(frozen=True, slots=True)
class Known:
    """The newest head that was seen of a folder; without a version there is none."""

    version: str | None = None
    head: Head = field(default_factory=Head)


class Mirror:
    """A ``models.storage.Storage`` whose truth is in a bucket.

    Args:
        root: the directory; no other process uses it but children of this one.
        bucket: the bucket.
        cache_bytes: that large files may take here, besides those in use.
    """

    shares_locks = False

    def __init__(self, root: Path, bucket: Bucket, cache_bytes: int) -> None:
        self.root = root
        self.bucket = bucket
        self._contents = Contents(bucket)
        self._room = Room(root, cache_bytes, self._is_kept)
        self._swept = -SWEEP_SECONDS
        self._known: dict[Path, Known] = {}
        self._looked: dict[Path, float] = {}
        self._locks: defaultdict[Path, threading.RLock] = defaultdict(threading.RLock)
        copies.sweep(root)

    # As models.storage has it

    def refresh(self, place: Path, *, is_needed: bool = False) -> None:
        if not is_needed and (self.bucket.is_away or self._is_fresh(place)):
            return
        try:
            if self._is_kind(place):
                self._pull_all(place, is_needed)
            else:
                self._pull_alone(self._folder(place), is_needed)
        except StorageAway:
            if is_needed:
                raise

    def change(self, folder: Path, act: Callable[[], Done]) -> Done:
        with self.locked(folder):
            while True:
                self._pull(folder, is_thorough=True)
                try:
                    done = act()
                    self._push(folder)
                except Stale:
                    continue
                except BaseException:
                    self._undo(folder)
                    raise
                return done

    def _undo(self, folder: Path) -> None:
        """Makes the copy of a folder what its head says, at once or when the bucket is back."""
        known = self._known.pop(folder)
        with suppress(StorageAway, FileNotFoundError):
            apply(self._contents, folder, known.head, known.head.files.keys())
            self._known[folder] = known

    def exclude(self, folder: Path, act: Callable[[], Done]) -> Done | None:
        return self.change(folder, act)

    def move(self, folder: Path, target: Path, allowed: Allowed) -> None:
        def copy() -> None:
            with allowed():
                copies.link(folder, target)

        with ExitStack() as held:
            for one in sorted((folder, target)):
                held.enter_context(self.locked(one))
            while True:
                head = self.change(folder, lambda: self.known(folder).head)
                with self.using(folder):
                    self.change(target, copy)
                if self.change(folder, partial(_drop, folder, head, self.known)):
                    return
                # Another host changed it meanwhile.
                self.change(target, lambda: copies.drop(target))

    @contextmanager
    def using(self, place: Path) -> Iterator[None]:
        folder = self._folder(place)
        with self._room.held(folder):
            with self.locked(folder):
                try:
                    self._bring(folder, place)
                except StorageAway:
                    if not copies.is_here(place):
                        raise
            yield

    def sweep(self) -> None:
        now = time.monotonic()
        if now - self._swept > SWEEP_SECONDS:
            self._swept = now
            sweep(self.bucket)

    # For worker.storage.shipping

    @contextmanager
    def locked(self, folder: Path) -> Iterator[None]:
        """Holds a folder, so that no other thread brings or sends it."""
        with self._locks[folder]:
            yield

    def learn(self, folder: Path) -> None:
        """Reads the head of a folder whose copy another process keeps fresh."""
        with self.locked(folder):
            self._known[folder] = self._read(folder, Known()) or Known()

    def known(self, folder: Path) -> Known:
        return self._known.get(folder, Known())

    def ship(self, folder: Path, may: Callable[[Head], bool], *, looks: bool = True) -> bool:
        """Takes over what others changed in a folder, and sends what is changed here.

        Unlike ``change``, whatever differs here counts, whoever changed it when.

        Args:
            folder: the folder.
            may: whether we may still change it, as its head says. If not, nothing is sent.
            looks: at the head even if nothing is to be sent.

        Returns:
            What ``may`` did. If it is False, the copy is wrong until the folder is refreshed.
        """
        with self.locked(folder):
            while True:
                before = self.known(folder)
                if not looks and self._files(folder, before.head) == before.head.files:
                    return True
                found = self._read(folder, before)
                # Also where it is the same: an error may have kept it from being heeded.
                if not may((found or before).head):
                    self._known.pop(folder, None)
                    return False
                if found is not None:
                    theirs = found.head.changed(before.head)
                    apply(self._contents, folder, found.head, theirs, is_whole=False)
                    self._known[folder] = found
                with suppress(Stale):
                    self._push(folder)
                    return True

    # Bringing

    def _is_fresh(self, place: Path) -> bool:
        now = time.monotonic()
        looks = (self._looked.get(one, -FRESH) for one in (place, place.parent))
        return any(now - look < FRESH for look in looks)

    def _relative(self, place: Path) -> PurePath:
        return place.relative_to(self.root)

    def _is_kind(self, place: Path) -> bool:
        parts = self._relative(place).parts
        return len(parts) == 1 and parts[0] in _KINDS

    def _folder(self, place: Path) -> Path:
        """The folder that a place is in, or is."""
        parts = self._relative(place).parts
        depth = 1 if parts[0] not in _KINDS else 3 if parts[1] in (".keys", ".names") else 2
        return self.root.joinpath(*parts[:depth])

    def _key(self, folder: Path) -> str:
        parts = self._relative(folder).parts
        kind = "claims" if any(part.startswith(".") for part in parts) else "heads"
        return "/".join((kind, *parts))

    def _pull_all(self, place: Path, is_needed: bool) -> None:
        """Brings all folders of a kind that others changed, made or deleted."""
        began = time.monotonic()
        listed = {
            place / name: found.version
            for found in self.bucket.list(self._key(place))
            if NAME.fullmatch(name := found.key.removeprefix(f"{self._key(place)}/"))
        }
        here = {place / name for name in names_in(place) if not name.startswith(".")}
        here |= {folder for folder in list(self._known) if folder.parent == place}
        todo = [
            folder
            for folder in here | listed.keys()
            if listed.get(folder, "") != (self.known(folder).version or "")
            or (folder in here and folder not in self._known)
        ]
        if len(todo) < 2:
            for folder in todo:
                self._pull_alone(folder, is_needed)
        else:
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(lambda folder: self._pull_alone(folder, is_needed), todo))
        self._looked[place] = began

    def _pull_alone(self, folder: Path, is_needed: bool) -> None:
        """Brings a folder; one that is just being changed or brought is waited for if need be."""
        lock = self._locks[folder]
        if not lock.acquire(blocking=is_needed):
            return
        try:
            self._pull(folder)
        except CheckpointError as error:
            # The others can be read.
            tell_once(f"{folder}: {error}")
        finally:
            lock.release()

    def _pull(self, folder: Path, *, is_thorough: bool = False) -> None:
        """Makes the copy of a folder what its head says.

        Args:
            folder: the folder.
            is_thorough: whatever is here, and not only where the head is another one.
        """
        began = time.monotonic()
        for turn in range(ROUNDS):
            before = self._known.get(folder)
            found = self._read(folder, before or Known())
            after = found or before or Known()
            is_all = is_thorough or before is None
            changed = after.head.changed((before or after).head)
            wanted = after.head.files.keys() if is_all else changed
            try:
                apply(self._contents, folder, after.head, wanted, is_whole=is_all)
            except FileNotFoundError as error:
                if turn + 1 < ROUNDS:
                    continue
                tell_once(f"{error} is not in the bucket, and {folder.name} lacks it")
            self._known[folder] = after
            self._looked[folder] = began
            return

    def _read(self, folder: Path, before: Known) -> Known | None:
        """The head of a folder; None if it is the same as before."""
        found = self.bucket.read(self._key(folder), before.version)
        if found is None:
            return Known() if before.version else None
        data, version = found
        return Known(version, Head.parse(data)) if version else None

    def _bring(self, folder: Path, place: Path) -> None:
        """Brings the large files at a place."""
        for _ in range(ROUNDS):
            if folder in self._known and self._bring_named(folder, place):
                return
            self._pull(folder)

    def _bring_named(self, folder: Path, place: Path) -> bool:
        """Brings what the newest head names; False if an object is gone."""
        under = "" if place == folder else place.relative_to(folder).as_posix()
        for path, part in self._known[folder].head.files.items():
            if under in ("", path) or path.startswith(f"{under}/"):
                target = copies.at(folder, path)
                is_here = copies.is_here(target)
                if not self._contents.bring(target, part):
                    return False
                self._room.note_use(target)
                if not is_here:
                    self._make_room(folder)
        return True

    def _make_room(self, folder: Path) -> None:
        """After something was added to a folder of those that may be large."""
        if self._relative(folder).parts[0] in ("corpora", "models"):
            self._room.make()

    def _is_kept(self, folder: Path, path: str, size: int) -> bool:
        """Whether a file of a size is in a folder's head."""
        try:
            known = self._known.get(folder) or self._read(folder, Known()) or Known()
        except (StorageAway, CheckpointError):
            return False
        part = known.head.files.get(path)
        return isinstance(part, Stored) and part.bytes == size

    # Sending

    def _push(self, folder: Path) -> None:
        """Sends what is here and not in the head. Raises Stale."""
        before = self.known(folder)
        files = self._files(folder, before.head)
        if files == before.head.files:
            return
        if before.version and before.head.is_gone and self._relative(folder).parts[0] == "jobs":
            raise FolderGone(folder.name)
        head = Head(files)
        try:
            version = self.bucket.write(self._key(folder), head.to_bytes(), before.version)
        except StorageAway:
            self._contents.forget_sent(folder)
            raise
        self._contents.forget_sent(folder)
        self._known[folder] = Known(version, head)
        if head.keys() - before.head.keys():
            self._make_room(folder)
        with suppress(StorageAway):
            self.bucket.delete(sorted(before.head.keys() - head.keys()))

    def _files(self, folder: Path, before: Head) -> dict[str, Part]:
        key = "/".join(("data", *self._relative(folder).parts))
        return gather(self._contents, folder, before, key)


def _drop(folder: Path, head: Head, known: Callable[[Path], Known]) -> bool:
    """Removes a folder if its newest head is still this one."""
    if is_same := known(folder).head == head:
        copies.drop(folder)
    return is_same

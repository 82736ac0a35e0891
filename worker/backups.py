"""Backups: a data directory as one file, made while others work there, and checked when restored.

A backup is a tar archive of a snapshot (``worker.snapshot``). ``manifest.json``, its last file, has
the SHA-256 of every other: without it the archive is incomplete. Both ways take a name of their own
until all is done, so what has the final name is whole. Knows no file's content but the manifest's.
"""

import fcntl
import hashlib
import io
import json
import os
import secrets
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydantic import with_config

# Not typing's: before Python 3.12 pydantic cannot check those.
from typing_extensions import TypedDict

from models.errors import Invalid
from models.files import sync_directory
from models.places import is_there, names_in, staged, sweep_staged
from worker.clock import timestamp
from worker.data import FORMAT, DataDirectory
from worker.records import RECORD, Count, DamagedRecord, Records
from worker.snapshot import Snapshot, is_part, snapshot

MANIFEST = "manifest.json"

Tell = Callable[[int, int], None]
"""Is given how many bytes are done, and of how many."""

_BLOCK = 1 << 20

_MAX_MANIFEST = 1 << 30

_STAGES = ".restore-*"

_NO_DATA = ("lost+found", "charloom.lock", "store-id")
"""Names in a directory without data: of an empty disk, of one that is held, and the id that an
operator chose for it."""


@with_config(RECORD)
class Manifest(TypedDict):
    """``files`` has the SHA-256 of each file by its path; ``format`` is the data directory's."""

    format: Count
    version: str
    created_at: str
    files: dict[str, str]


_MANIFESTS = Records(Manifest)


class BackupError(Invalid):
    """A backup that cannot be made or restored; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Amount:
    """What a backup has: ``bytes`` of ``files``."""

    files: int
    bytes: int


def back_up(data: DataDirectory, target: Path, version: str, tell: Tell) -> Amount:
    """Writes a backup of a data directory, which may be in use, to a new file.

    Args:
        version: of charloom, which the manifest names.

    Raises:
        BackupError: there is no data, or something has the file's name already.
        OSError: a file cannot be read or written. Nothing has the file's name then.
    """
    if not any(is_part(name) for name in names_in(data.root)):
        raise BackupError(f"{data.root} has no data: name the data directory with --data")
    _refuse_existing(target)
    with _partial(target) as (path, file), snapshot(data) as taken:
        amount = _pack(taken, file, version, tell)
        file.flush()
        os.fsync(file.fileno())
        _refuse_existing(target)
        path.rename(target)
        sync_directory(target.parent)
    return amount


def _refuse_existing(target: Path) -> None:
    if is_there(target):
        raise BackupError(f"{target} exists: move it away, or choose another name")


@contextmanager
def _partial(target: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """A file beside the target, private, which is removed after the block unless it was renamed."""
    path = target.with_name(f"{target.name}.partial")
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "wb") as file:  # noqa: PTH123
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"another backup is writing {path}: wait for it") from None
        try:
            # One that was killed left it.
            file.truncate(0)
            yield path, file
        finally:
            path.unlink(missing_ok=True)


def _pack(taken: Snapshot, file: IO[bytes], version: str, tell: Tell) -> Amount:
    names = taken.names()
    meter, digests = _Meter(tell, sum(map(taken.size, names))), {}
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in names:
            with taken.open(name) as content:
                hashed = _Hashed(content, meter)
                _add(archive, name, content.seek(0, os.SEEK_END), hashed)
            digests[name] = hashed.digest
        manifest: Manifest = {
            "format": FORMAT,
            "version": version,
            "created_at": timestamp(),
            "files": digests,
        }
        data = json.dumps(manifest).encode()
        _add(archive, MANIFEST, len(data), io.BytesIO(data))
    return Amount(len(names), meter.done)


def _add(archive: tarfile.TarFile, name: str, size: int, content: "IO[bytes] | _Hashed") -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o600
    content.seek(0)
    archive.addfile(info, content)


@dataclass
class _Meter:
    """Counts bytes, and tells how far it is."""

    tell: Tell
    total: int
    done: int = 0

    def add(self, count: int) -> None:
        self.done += count
        self.tell(self.done, self.total)


class _Hashed:
    """A file that is hashed and counted as it is read, from its beginning to its end."""

    def __init__(self, file: IO[bytes], meter: _Meter) -> None:
        self._file = file
        self._meter = meter
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def seek(self, place: int) -> int:
        return self._file.seek(place)

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._hash.update(data)
        self._meter.add(len(data))
        return data


# Back again


def check_vacant(root: Path) -> None:
    """Raises BackupError if a directory has any data, whoever may be using it."""
    for name in names_in(root):
        if name not in _NO_DATA and not Path(name).match(_STAGES):
            raise BackupError(
                f"{root} is not empty ({name}): restore into another directory with --data, or "
                "move this one away"
            )


def restore(source: Path, root: Path, tell: Tell) -> Amount:
    """Puts a backup into a directory without data, which the caller holds.

    Raises:
        BackupError: it is not a whole, undamaged backup that this release can read, or the
            directory has data. Nothing was restored then.
        OSError: a file cannot be read or written. Nothing was restored.
    """
    check_vacant(root)
    sweep_staged(root.glob(_STAGES))
    place = root / _STAGES.replace("*", secrets.token_hex(8))
    with _opened(source) as archive, staged(place):
        amount = _unpack(archive, place, tell)
        for directory in (place, *(path for path in place.rglob("*") if path.is_dir())):
            sync_directory(directory)
        for name in sorted(names_in(place), key=_is_last):
            (place / name).rename(root / name)
        sync_directory(root)
    return amount


def _is_last(name: str) -> bool:
    """Jobs need what they name, and the format is that of all the rest."""
    return name == "jobs" or name.startswith("format-")


def verify(source: Path, tell: Tell) -> Amount:
    """Reads a backup and restores nothing.

    Raises:
        BackupError: it is not a whole, undamaged backup that this release can read.
    """
    with _opened(source) as archive:
        return _unpack(archive, None, tell)


@contextmanager
def _opened(source: Path) -> Iterator[tarfile.TarFile]:
    with source.open("rb") as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                yield archive
        except tarfile.TarError:
            raise BackupError(
                f"{source} is not a whole backup of charloom: take another one"
            ) from None


def _unpack(archive: tarfile.TarFile, place: Path | None, tell: Tell) -> Amount:
    """Checks every file of a backup, and writes it below a directory if there is one."""
    *members, last = archive.getmembers() or [tarfile.TarInfo()]
    digests = _manifest(archive, last)["files"]
    if [member.name for member in members] != [*digests] or not all(map(_is_sound, members)):
        raise BackupError("the backup is damaged: its files are not those of its manifest")
    meter = _Meter(tell, sum(member.size for member in members))
    for member in members:
        hashed = _Hashed(_content(archive, member), meter)
        with _target(place, member.name) as file:
            while block := hashed.read(_BLOCK):
                file.write(block)
        if hashed.digest != digests[member.name]:
            raise BackupError(f"the backup is damaged: {member.name} is not what was saved")
    return Amount(len(members), meter.total)


def _manifest(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Manifest:
    if member.name != MANIFEST or member.type != tarfile.REGTYPE or member.size > _MAX_MANIFEST:
        raise BackupError("the backup is incomplete: its last file is not its manifest")
    try:
        manifest = _MANIFESTS.parse(_content(archive, member).read(), MANIFEST)
    except DamagedRecord as error:
        raise BackupError(f"the backup is damaged: {error}") from None
    if manifest["format"] > FORMAT:
        raise BackupError(
            f"charloom {manifest['version']} made this backup, in a format that this release "
            "cannot read: upgrade charloom"
        )
    return manifest


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(member)
    assert content is not None, "a plain file has content"
    return content


def _is_sound(member: tarfile.TarInfo) -> bool:
    """Whether a file of an archive, which anyone may have made, belongs into a data directory."""
    first, *others = member.name.split("/")
    is_inside = is_part(first) and not {"", ".", ".."} & {*others} and "\0" not in member.name
    return member.type == tarfile.REGTYPE and is_inside


@contextmanager
def _target(place: Path | None, name: str) -> Iterator[IO[bytes]]:
    if place is None:
        with Path(os.devnull).open("wb") as nothing:
            yield nothing
        return
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o600 if name == "secret" else 0o666
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:  # noqa: PTH123
        yield file
        file.flush()
        os.fsync(file.fileno())

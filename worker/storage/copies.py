"""The copy of a folder on this disk: what of it is kept, in which order, and what is not here yet.

A large file that is not here yet is a *stand-in*: an empty file of the same size, so that whoever
looks at sizes need not know. Its sticky bit marks it, which means nothing on files. A file that
grows is absent instead. Knows no bucket.
"""

import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from models.places import is_directory, is_there, remove
from worker.storage.heads import LASTING

GROWING = "events.jsonl"

_LARGE = re.compile(r"original|.*/model\.safetensors|state/\d+/tensors\.safetensors|ngrams/.+")
"""What is brought only when it is used; its name, or a file beside it, says what must be in it."""

_LOCAL = re.compile(r"lock|reserve|report\.json|(.*/)?[^/]+\.(ids|sha256)")
"""Locks, room, and what is made anew where it is missing: they stay on one disk."""

_BRINGING = ".bring-"

_LAST = (("epoch.json", 0), ("tags/", 2), ("result.json", 3))
"""The order in which files are put into place, 1 for all others: who has lost a turn hears of it
first, a tag comes after what it names, and a job's end last."""


def is_large(path: str) -> bool:
    return _LARGE.fullmatch(path) is not None


def paths(folder: Path) -> list[str]:
    """The files of a folder that are kept, in an order in which they may be read while others are
    written: a job's end before its states, and these before its events. The path of a folder that
    is one file is empty."""
    if not is_directory(folder):
        return [""] if is_there(folder) else []
    found = [path for path in _below(folder, "") if not _LOCAL.fullmatch(path)]
    return sorted(found, key=lambda path: (_reading_order(path), path))


def _below(directory: Path, prefix: str) -> Iterator[str]:
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _below(directory / entry.name, f"{prefix}{entry.name}/")
            else:
                yield f"{prefix}{entry.name}"


def _reading_order(path: str) -> int:
    # As worker.snapshot has it.
    return {"result.json": 0, GROWING: 3}.get(path, 1 if path.startswith("state/") else 2)


def placing_order(path: str) -> tuple[int, str]:
    return next((rank for start, rank in _LAST if path.startswith(start)), 1), path


def at(folder: Path, path: str) -> Path:
    return folder / path if path else folder


def write(path: Path, data: bytes) -> None:
    """Replaces a file as a whole. Not synced: the bucket has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f"{_BRINGING}{secrets.token_hex(8)}")
    try:
        staged.write_bytes(data)
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


def stage(path: Path) -> Path:
    """A name beside a file or directory, to prepare what is to be there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f"{_BRINGING}{secrets.token_hex(8)}")


def stand_in(path: Path, size: int) -> None:
    """Makes a stand-in for a large file."""
    staged = stage(path)
    with staged.open("wb") as file:
        file.truncate(size)
    staged.chmod(stat.S_IMODE(staged.stat().st_mode) | stat.S_ISVTX)
    staged.replace(path)


def is_stand_in(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and bool(found.st_mode & stat.S_ISVTX)


def is_here(place: Path) -> bool:
    """Whether a file is here, or whether all files below a directory are."""
    if is_directory(place):
        return not any(is_stand_in(place / path) for path in paths(place))
    return is_there(place) and not is_stand_in(place)


Signature = tuple[int, int, int]


def signature(path: Path) -> Signature | None:
    """Says that a file is still the same; None if there is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def digest(path: Path) -> str:
    """Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def drop(path: Path) -> None:
    """Removes a file, or a directory at once."""
    if is_directory(path) and not path.is_symlink():
        doomed = path.with_name(f".gone-{secrets.token_hex(8)}")
        with suppress(FileNotFoundError):
            path.rename(doomed)
            remove(doomed)
    else:
        remove(path)


def link(folder: Path, target: Path) -> None:
    """Makes a folder of the files of another, which are replaced and never changed; without what
    tells of a turn at it."""
    drop(target)
    staged = stage(target)
    staged.mkdir()
    try:
        for path in paths(folder):
            if path != LASTING:
                (staged / path).parent.mkdir(parents=True, exist_ok=True)
                os.link(folder / path, staged / path)
        staged.rename(target)
    finally:
        remove(staged)


def sweep(root: Path) -> None:
    """Removes what a process left that was killed while it brought something."""
    for directory, names, files in os.walk(root):
        for name in [name for name in (*names, *files) if name.startswith(_BRINGING)]:
            remove(Path(directory, name))

"""The files that a text is made of, and the bounds of their number and size.

Judges them by their names: what is left out is left out unread. Knows no archive and no encoding.
"""

import re
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from models.errors import Oversized

MAX_MEMBERS = 10_000
"""Files and folders of a text, those in archives and those that are left out among them."""

MAX_TAGS, MAX_ALL_TAGS = 500_000, 5_000_000
"""Tags of a document, and of all documents of a text: what takes memory and time to read.

A page takes 300 bytes and 2 µs for each, at worst; a Word document counts fivefold.
"""

_MAX_NAME = 1024
_MAX_SHOWN = 200

_FOLDERS = {"node_modules", "__pycache__", "__MACOSX", "site-packages"}
"""Folders that a tool fills."""

_LOCKFILES = {
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "bun.lockb",
    "go.sum",
    "packages.lock.json",
    "gradle.lockfile",
    "package.resolved",
}

_GENERATED = (".min.js", ".min.css", ".map")
_IMAGES = (".svg",)
"""Images that are texts; others are known by their bytes."""


class TooMuch(Oversized):
    """The text, or what it is made of, is larger than it may be."""

    code = "body_too_large"


class LeftOut(Exception):
    """A file that does not become part of the text; the message says why, as of ``it``."""


class Readable(Protocol):
    """A file that is read from its beginning to its end."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Member:
    """A file that is to become part of a text.

    Attributes:
        name: its path, with slashes; not to be trusted.
        open: opens it for reading.
        reason: why it is left out, if that is known before it is read.
    """

    name: str
    open: Callable[[], AbstractContextManager[Readable]]
    reason: str | None = None


class Budget:
    """What is left of the members, bytes and tags that one text may be made of.

    Args:
        limit: bytes, those of files that are left out among them.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._members = 0
        self._tags = 0

    def count(self, members: int) -> None:
        """Raises TooMuch if there are more members than there may be."""
        self._members += members
        if self._members > MAX_MEMBERS:
            raise too_many_members()

    def take(self, size: int) -> None:
        """Raises TooMuch if there are more bytes than there may be."""
        self._bytes += size
        if self._bytes > self._limit:
            raise TooMuch(
                f"the files have more than {self._limit:,} bytes, those in archives unpacked: send "
                "only some"
            )

    def mark_up(self, tags: int, weight: int = 1) -> None:
        """Raises LeftOut if a document has more tags than it may, or all have."""
        if tags > MAX_TAGS:
            raise LeftOut(f"it is a document of more than {MAX_TAGS:,} tags")
        if self._tags + weight * tags > MAX_ALL_TAGS:
            raise LeftOut("the documents before it have as many tags as are read")
        self._tags += weight * tags


def too_many_members() -> TooMuch:
    return TooMuch(
        f"there are more than {MAX_MEMBERS:,} files and folders: join them to fewer first, or send "
        "only some"
    )


def fault_of_name(name: str) -> str | None:
    """Returns why a file is left out by its name; None if nothing is wrong with it."""
    path = name.replace("\\", "/")
    parts = path.split("/")
    if len(name) > _MAX_NAME:
        return "its name is too long"
    if path.startswith("/") or re.match("[A-Za-z]:", path) or ".." in parts or "\0" in name:
        return "its path leads out of its folder"
    if any(part in _FOLDERS for part in parts):
        return "it is in a folder that a tool fills"
    if any(part.startswith(".") and part != "." for part in parts):
        return "it is hidden"
    last = parts[-1].lower()
    if last in _LOCKFILES or last.endswith(".lock"):
        return "it is a lockfile"
    if last.endswith(_GENERATED):
        return "a tool made it"
    if last.endswith(_IMAGES):
        return "it is an image"
    return None


def fault_of_mode(mode: int) -> str | None:
    """Returns why a file is left out by its mode; 0 is that of a file without one."""
    if stat.S_ISLNK(mode):
        return "it is a link"
    if stat.S_IFMT(mode) and not stat.S_ISREG(mode):
        return "it is not a plain file"
    return None


def shown(name: str) -> str:
    """Returns a name for people: cut, and without characters that nobody sees."""
    name = name or "the file"
    name = name.encode("utf-8", "replace").decode("utf-8")
    name = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return name if len(name) <= _MAX_SHOWN else f"{name[: _MAX_SHOWN - 1]}…"

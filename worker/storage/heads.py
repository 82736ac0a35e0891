"""The head of a folder: one object in the bucket that names all that is in the folder.

Small files are in the head itself, larger ones are objects of their own, which never change. A file
that only grows is a row of objects. A head is replaced as a whole, and only by whoever has seen the
one before, so a folder changes as a whole. Knows no bucket and no disk.
"""

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from models.files import CheckpointError, parse_object

INLINE = 4096
"""Most bytes of a file in the head itself."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
"""Of a folder, a directory or a file: none is hidden, and none leads out of its place."""

LASTING = "turn.json"
"""The one file that outlives its folder: whoever lost a turn must find out, deleted or not."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that is an object of its own."""

    key: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Grown:
    """A file that grows: the keys and sizes of its parts, and the digest of the whole."""

    parts: tuple[tuple[str, int], ...]
    sha256: str

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.parts)


Part = str | Stored | Grown


@dataclass(frozen=True, slots=True)
class Head:
    """The files of a folder by their paths in it."""

    files: Mapping[str, Part] = field(default_factory=dict)

    @property
    def is_gone(self) -> bool:
        """Whether the folder was deleted."""
        return not self.files.keys() - {LASTING}

    def keys(self) -> set[str]:
        """The keys of all objects that it names."""
        return {key for part in self.files.values() for key in _keys(part)}

    def changed(self, before: "Head") -> set[str]:
        """The paths of the files that are not as they were."""
        paths = self.files.keys() | before.files.keys()
        return {path for path in paths if self.files.get(path) != before.files.get(path)}

    def to_bytes(self) -> bytes:
        """No two are alike: an object's version may be no more than the sum of its bytes."""
        files = {path: _to_json(part) for path, part in sorted(self.files.items())}
        return json.dumps({"nonce": secrets.token_hex(8), "files": files}).encode()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Raises CheckpointError: it is damaged."""
        try:
            files = parse_object(data, "a head")["files"]
            parts = {str(path): _from_json(part) for path, part in files.items()}
            if not all(map(_is_path, parts)):
                raise ValueError("a path leads out of its folder")
            return cls(parts)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise CheckpointError("a head in the bucket is damaged") from None


def _is_path(path: str) -> bool:
    return not path or all(map(NAME.fullmatch, path.split("/")))


def _keys(part: Part) -> Iterator[str]:
    match part:
        case Stored(key=key):
            yield key
        case Grown(parts=parts):
            yield from (key for key, _ in parts)


def _to_json(part: Part) -> Any:
    match part:
        case Stored(key, size, digest):
            return {"key": key, "bytes": size, "sha256": digest}
        case Grown(parts, digest):
            return {"parts": parts, "sha256": digest}
        case text:
            return text


def _from_json(value: Any) -> Part:
    if isinstance(value, str):
        return value
    if "parts" in value:
        parts = tuple((str(key), _size(size)) for key, size in value["parts"])
        return Grown(parts, str(value["sha256"]))
    return Stored(str(value["key"]), _size(value["bytes"]), str(value["sha256"]))


def _size(value: Any) -> int:
    size = int(value)
    if not 0 <= size < 1 << 53:
        raise ValueError("not a size")
    return size

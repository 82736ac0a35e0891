"""Writes files so that they survive a power cut, and reads files without trusting them.

Knows no checkpoint, only files, sizes, JSON and headers of safetensors.
"""

import errno
import json
import math
import os
import secrets
import stat
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from models.errors import Damaged
from models.places import set_aside

_MAX_DEPTH = 16


class CheckpointError(Damaged):
    """A checkpoint, or a file of one, that cannot be used; the message says what is wrong."""

    code = "damaged_model"


def write_durably(
    path: Path, data: bytes, mode: int = 0o666, check: Callable[[], None] | None = None
) -> None:
    """Replaces a file as a whole; once this returns, a power cut cannot undo it.

    Args:
        check: raises an error if it must not be replaced; asked once all is written.
    """
    staged = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if check:
            check()
        try:
            staged.replace(path)
        except IsADirectoryError:
            set_aside(path)
            staged.replace(path)
        sync_directory(path.parent)
    finally:
        staged.unlink(missing_ok=True)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that the disk, or its user's share of it, is full."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # safetensors raises its own error.
    return f"(os error {errno.ENOSPC})" in str(error)


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unnamed_file(directory: Path) -> IO[bytes]:
    """Opens a file in a directory, which is made, that is gone once closed, however we end."""
    directory.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=directory)


def read_bounded(path: Path, limit: int) -> bytes:
    """Returns a file's bytes, without allocating more than the limit.

    Raises:
        CheckpointError: the file is missing, too large or not a plain file.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise CheckpointError(f"{path.name} is too large")
        try:
            return file.read(size)
        except OSError as error:
            raise CheckpointError(f"{path.name} cannot be read: {error.strerror}") from None


def open_file(path: Path) -> IO[bytes]:
    """Opens a file for reading, without following links or waiting for pipes.

    Raises:
        CheckpointError: the file is missing or not a plain file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"{path.name} is missing") from None
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CheckpointError(f"{path.name} is not a plain file")
    return os.fdopen(descriptor, "rb")


def parse_object(data: bytes, name: str) -> dict[str, Any]:
    """Parses a JSON object that can be written as JSON again, in UTF-8.

    Raises:
        CheckpointError: the data is not such an object.
    """
    try:
        value = json.loads(
            data.decode(),
            parse_float=_finite,
            parse_constant=_finite,
            object_pairs_hook=_without_repeats,
        )
        if b"\\ud" in data.lower():
            # This may be half a surrogate pair, which UTF-8 cannot encode.
            json.dumps(value, ensure_ascii=False).encode()
        _check_depth(value)
    except (ValueError, RecursionError):
        raise CheckpointError(f"{name} is not valid JSON") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{name} is not a JSON object")
    return value


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """The contents that a safetensors file declares; only the form of the header was checked.

    ``tensors`` holds dtypes and shapes by name; ``size`` is the number of bytes before the data.
    """

    tensors: dict[str, tuple[object, object]]
    metadata: dict[str, object]
    size: int


def read_tensor_header(data: bytes, name: str, limit: int) -> TensorHeader:
    """Parses the header of an untrusted safetensors file.

    Args:
        data: the whole file.
        name: the file's name in error messages.
        limit: maximum size of a header in bytes.

    Raises:
        CheckpointError: the header is truncated, too large or not an object of objects.
    """
    if len(data) < 8:
        raise CheckpointError(f"{name} is truncated")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(limit, len(data) - 8):
        raise CheckpointError(f"{name} has an invalid header")
    entries = parse_object(data[8 : 8 + length], f"the header of {name}")
    if not all(isinstance(entry, dict) for entry in entries.values()):
        raise CheckpointError(f"{name} has an invalid header")
    metadata = entries.pop("__metadata__", {})
    tensors = {key: (entry.get("dtype"), entry.get("shape")) for key, entry in entries.items()}
    return TensorHeader(tensors, metadata, 8 + length)


def _check_depth(value: Any) -> None:
    """Raises ValueError if a value is nested so deeply that writing it again might fail."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [inner for outer in level for inner in _parts_of(outer)]
        if not level:
            return
    raise ValueError("nested too deeply")


def _parts_of(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # Readers would disagree about which one counts.
        raise ValueError("a name occurs twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("not a number")
    return number

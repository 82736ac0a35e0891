"""A file is replaced as a whole, and what is read is bounded and sound."""

import errno
import json
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save

from models.errors import Damaged
from models.files import (
    CheckpointError,
    is_disk_full,
    parse_object,
    read_bounded,
    read_tensor_header,
    sync_directory,
    write_durably,
)

# Writing


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, b"one")
    with path.open("rb") as before:
        write_durably(path, b"two")
        assert before.read() == b"one"
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("broken", ["os.fsync", "os.replace"])
def test_a_write_that_fails_leaves_what_was_there(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, say."""
    path = tmp_path / "file"
    path.write_bytes(b"one")

    def fail(*_arguments: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(broken, fail)
    with pytest.raises(OSError, match="No space"):
        write_durably(path, b"two")
    monkeypatch.undo()
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_data_and_names_are_on_disk_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First the bytes, then the name: a power cut in between leaves the old file."""
    happened: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watched(descriptor: int) -> None:
        happened.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def renamed(*arguments: Any) -> None:
        happened.append("renamed")
        replace(*arguments)

    monkeypatch.setattr("os.fsync", watched)
    monkeypatch.setattr("os.replace", renamed)
    write_durably(tmp_path / "file", b"one")
    assert happened == ["file", "renamed", "directory"]
    sync_directory(tmp_path)
    assert happened[3:] == ["directory"]


# Reading


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: path.write_bytes(b"12345"), "file is too large"),
        (lambda path: os.truncate(path, 1 << 40), "file is too large"),
        (Path.unlink, "file is missing"),
        (link, "file cannot be read"),
        (pipe, "file is not a plain file"),
        (directory, "file is not a plain file"),
    ],
    ids=["larger", "endless", "missing", "link", "pipe", "directory"],
)
def test_only_plain_files_within_a_limit_are_read(
    change: Callable[[Path], Any], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1234")
    assert read_bounded(path, 4) == b"1234"
    change(path)
    with pytest.raises(CheckpointError, match=words) as refusal:
        read_bounded(path, 4)
    # People read it: no path of this machine.
    assert str(tmp_path) not in str(refusal.value)
    assert isinstance(refusal.value, Damaged)


def test_below_a_file_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CheckpointError, match="below is missing"):
        read_bounded(tmp_path / "file" / "below", 4)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff",
        '{"a": 1}'.encode("utf-16"),
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": "\\uD83d"}',
        b'{"\\ude00": 1}',
        b'{"a": ' + b"1" * 10_000 + b"}",
        b'{"a":' * 100_000,
        b'{"a":' * 17 + b"1" + b"}" * 17,
        b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}",
    ],
    ids=lambda data: repr(data[:20]),
)
def test_json_that_could_not_be_written_again_is_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"card\.json is not valid JSON"):
        parse_object(data, "card.json")


def test_sound_json_is_read() -> None:
    deep = b'{"a":' * 15 + b"1" + b"}" * 15
    assert parse_object(deep, "card.json") == json.loads(deep)
    assert parse_object(b'{"a": "\\ud83d\\ude00 \\\\ud800"}', "x") == {"a": "😀 \\ud800"}


@pytest.mark.parametrize("data", [b"[]", b"1", b'"text"', b"null"])
def test_json_that_is_not_an_object_is_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError, match="card is not a JSON object"):
        parse_object(data, "card")


# Headers of safetensors files


def under(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_a_header_tells_types_shapes_and_metadata() -> None:
    data = save({"a": np.zeros((2, 3), np.float32)}, {"about": "it"})
    header = read_tensor_header(data, "file", 1000)
    assert header.tensors == {"a": ("F32", [2, 3])}
    assert header.metadata == {"about": "it"}
    assert len(data) - header.size == 2 * 3 * 4


def test_what_a_header_says_is_not_checked() -> None:
    """Whoever reads it compares it with what the file must hold."""
    header = read_tensor_header(under({"a": {"shape": "wide"}, "b": {}}), "file", 1000)
    assert header.tensors == {"a": (None, "wide"), "b": (None, None)}
    assert header.metadata == {}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 7,
        b"\xff" * 100,
        struct.pack("<Q", 0),
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 3) + b"{}",
        struct.pack("<Q", 4) + b"nope",
        struct.pack("<Q", 900) + b"[" * 900,
        under([]),
        under({"a": []}),
        under({"__metadata__": []}),
        under({"a": {"shape": "9" * 2000}}),
    ],
    ids=lambda data: repr(data[:30]),
)
def test_a_header_without_form_is_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError, match="file"):
        read_tensor_header(data, "file", 1000)


# A full disk


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (SafetensorError("I/O error: No space left on device (os error 28)"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (SafetensorError("I/O error: Permission denied (os error 13)"), False),
        (ValueError("No space left on device"), False),
    ],
)
def test_a_full_disk_is_told_from_other_errors(error: Exception, is_full: bool) -> None:
    assert is_disk_full(error) is is_full

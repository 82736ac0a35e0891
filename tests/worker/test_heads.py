"""Heads name all that is in a folder, and are read without trust."""

import pytest

from models.files import CheckpointError
from worker.storage.heads import Grown, Head, Stored

STORED = Stored("data/a", 5000, "0" * 64)
GROWN = Grown((("data/b", 10), ("data/c", 20)), "1" * 64)
HEAD = Head({"spec.json": '{"ü": "\\n"}', "large": STORED, "events.jsonl": GROWN})


def test_a_head_is_what_was_written() -> None:
    assert Head.parse(HEAD.to_bytes()) == HEAD
    assert HEAD.keys() == {"data/a", "data/b", "data/c"}
    assert GROWN.bytes == 30


def test_no_two_are_alike() -> None:
    assert HEAD.to_bytes() != HEAD.to_bytes()


def test_what_changed() -> None:
    after = Head({"spec.json": HEAD.files["spec.json"], "large": "small now", "new": ""})
    assert after.changed(HEAD) == {"large", "events.jsonl", "new"} == HEAD.changed(after)


def test_a_turn_outlives_its_folder() -> None:
    assert Head().is_gone and Head({"turn.json": "1"}).is_gone
    assert not HEAD.is_gone


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"files": 1}',
        b'{"files": {"a": 1}}',
        b'{"files": {"a": {"key": "b"}}}',
        b'{"files": {"a": {"key": "b", "bytes": -1, "sha256": ""}}}',
        b'{"files": {"../a": ""}}',
        b'{"files": {"a/../../b": ""}}',
        b'{"files": {"/etc/passwd": ""}}',
        b'{"files": {"a//b": ""}}',
        b'{"files": {".hidden": ""}}',
    ],
)
def test_damage_is_told(data: bytes) -> None:
    with pytest.raises(CheckpointError):
        Head.parse(data)

"""Large files make way, the longest unused first, but none that is in use."""

import os
from pathlib import Path

import pytest

from worker.storage import copies
from worker.storage.room import Room

BLOCK = 1 << 16


def room_of(root: Path, most: int, kept: str = "abcd") -> Room:
    return Room(root, most, lambda folder, path, size: folder.name in kept and size == BLOCK)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = []
    for number, name in enumerate("abcd"):
        path = tmp_path / "corpora" / name / "original"
        copies.write(path, os.urandom(BLOCK))
        os.utime(path, (number, number))
        made.append(path)
    return made


def are_here(files: list[Path]) -> list[bool]:
    return [not copies.is_stand_in(path) for path in files]


def test_the_longest_unused_makes_way(tmp_path: Path, files: list[Path]) -> None:
    room = room_of(tmp_path, 2 * BLOCK)
    room.note_use(files[0])
    room.make()
    assert are_here(files) == [True, False, False, True]
    assert {path.stat().st_size for path in files} == {BLOCK}
    room.make()
    assert are_here(files) == [True, False, False, True]


def test_what_is_used_stays_however_large(tmp_path: Path, files: list[Path]) -> None:
    room = room_of(tmp_path, 0)
    with room.held(files[1].parent), room_of(tmp_path, 0).held(files[2].parent):
        room.make()
    assert are_here(files) == [False, True, True, False]
    room.make()
    assert are_here(files) == [False] * 4


def test_an_encoded_text_makes_way_too(tmp_path: Path, files: list[Path]) -> None:
    encoded = files[0].with_name("characters.ids")
    encoded.write_bytes(os.urandom(BLOCK))
    room_of(tmp_path, 0).make()
    assert not encoded.exists()


def test_what_the_bucket_does_not_have_stays(tmp_path: Path, files: list[Path]) -> None:
    room_of(tmp_path, 0, kept="ad").make()
    assert are_here(files) == [False, True, True, False]

"""What clients own is on disk, whoever asks."""

import os
from pathlib import Path

from worker.owners import MAKING_SECONDS, Owners, owner_named


def test_an_owner_is_told_from_others_and_not_by_its_name() -> None:
    one, other = owner_named("key abc"), owner_named("address 192.0.2.1")
    assert one == owner_named("key abc") != other
    assert "192" not in other and len(other) == 16


def test_what_is_noted_is_found_by_another_process(tmp_path: Path) -> None:
    here, there = Owners(tmp_path / "owners"), Owners(tmp_path / "owners")
    assert here.owned("a", lambda _: True) == {}
    with here.changing("a"):
        here.note("a", "one", 100)
        here.note("a", "two", 23)
        here.note("b", "two", 23)
    assert there.owned("a", lambda _: True) == {"one": 100, "two": 23}
    there.forget("two")
    assert here.owned("a", lambda _: True) == {"one": 100}
    assert here.owned("b", lambda _: True) == {}


def test_what_never_came_to_be_is_forgotten_after_a_while(tmp_path: Path) -> None:
    owners = Owners(tmp_path)
    owners.note("a", "coming", 5)
    assert owners.owned("a", lambda _: False) == {"coming": 5}
    path = tmp_path / "a" / "corpora" / "coming"
    then = path.stat().st_mtime - MAKING_SECONDS - 1
    os.utime(path, (then, then))
    assert owners.owned("a", lambda _: True) == {"coming": 5}
    assert owners.owned("a", lambda _: False) == {}
    assert not path.exists()


def test_a_damaged_note_counts_nothing(tmp_path: Path) -> None:
    owners = Owners(tmp_path)
    owners.note("a", "one", 5)
    (tmp_path / "a" / "corpora" / "one").write_bytes(b"\xff")
    assert owners.owned("a", lambda _: True) == {}

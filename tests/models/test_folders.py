"""Folders are walked in order, without following links."""

import os
from pathlib import Path

import pytest

from models.text.intake.folders import members_at
from models.text.intake.members import MAX_MEMBERS, TooMuch


def test_a_folder_is_walked_in_order(tmp_path: Path) -> None:
    for name in ("b/c.txt", "b/a.txt", "a.txt", ".git/config", "node_modules/x/y.js"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "passwd").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    found = {member.name: member.reason for member in members_at([tmp_path])}
    assert list(found.items()) == [
        (".git", "it is hidden"),
        ("a.txt", None),
        ("b/a.txt", None),
        ("b/c.txt", None),
        ("loop", "it is a link"),
        ("node_modules", "it is in a folder that a tool fills"),
        ("passwd", "it is a link"),
        ("pipe", "it is not a plain file"),
    ]
    with members_at([tmp_path / "a.txt"])[0].open() as file:
        assert file.read(99) == b"a.txt"


def test_a_folder_of_too_many_files(tmp_path: Path) -> None:
    for n in range(MAX_MEMBERS + 1):
        os.mknod(tmp_path / f"{n}")
    with pytest.raises(TooMuch, match="more than 10,000 files"):
        members_at([tmp_path])


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        members_at([tmp_path / "gone.txt"])

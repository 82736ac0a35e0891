"""Files are judged by their names, and counted."""

import stat

import pytest

from models.text.intake.members import (
    MAX_MEMBERS,
    Budget,
    TooMuch,
    fault_of_mode,
    fault_of_name,
    shown,
)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../../etc/passwd", "out of its folder"),
        ("a/../../b.txt", "out of its folder"),
        ("/etc/passwd", "out of its folder"),
        ("\\\\server\\a.txt", "out of its folder"),
        ("C:\\a.txt", "out of its folder"),
        ("a\0.txt", "out of its folder"),
        ("x" * 2000, "too long"),
        (".git/config", "hidden"),
        ("a/.DS_Store", "hidden"),
        ("__MACOSX/a.txt", "a tool fills"),
        ("web/node_modules/left-pad/index.js", "a tool fills"),
        ("web/package-lock.json", "lockfile"),
        ("Cargo.lock", "lockfile"),
        ("app.min.js", "a tool made it"),
        ("logo.SVG", "an image"),
    ],
)
def test_a_name_that_is_left_out(name: str, words: str) -> None:
    fault = fault_of_name(name)
    assert fault and words in fault


@pytest.mark.parametrize("name", ["a.txt", "", "./a.txt", "src/lock.c", "a..b/c", "Ü/源氏.txt"])
def test_a_name_with_which_nothing_is_wrong(name: str) -> None:
    assert fault_of_name(name) is None


def test_only_plain_files() -> None:
    assert fault_of_mode(0) is fault_of_mode(stat.S_IFREG | 0o644) is None
    assert fault_of_mode(stat.S_IFLNK | 0o777) == "it is a link"
    assert fault_of_mode(stat.S_IFIFO) == "it is not a plain file"


def test_there_is_room_for_so_much() -> None:
    budget = Budget(10)
    budget.take(10)
    budget.count(MAX_MEMBERS)
    with pytest.raises(TooMuch, match="more than 10 bytes"):
        budget.take(1)
    with pytest.raises(TooMuch, match="more than 10,000 files"):
        budget.count(1)


def test_a_name_is_shown_without_what_nobody_sees() -> None:
    assert shown("a\x1b[31m\u202eb\udcff") == "a\ufffd[31m\ufffdb?"
    assert len(shown("x" * 1000)) == 200
    assert shown("") == "the file"

"""Places are made, locked and swept whatever lies there, and nothing is lost by it."""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from models.locks import locked, open_lock
from models.places import is_there, make_directory, names_in, remove, sweep, tell_once

IN_THE_WAY: dict[str, Callable[[Path], object]] = {
    "file": lambda path: path.write_text("kept"),
    "dangling link": lambda path: path.symlink_to("/nowhere"),
    "looping link": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("lies", IN_THE_WAY)
def test_what_is_in_the_way_of_a_directory_is_set_aside(lies: str, tmp_path: Path) -> None:
    place = tmp_path / "jobs"
    IN_THE_WAY[lies](place)
    make_directory(place)
    make_directory(place)
    assert place.is_dir()
    (aside,) = (path for path in tmp_path.iterdir() if path != place)
    assert aside.name.startswith(".damaged-jobs-")
    assert aside.is_symlink() or aside.read_text() == "kept"


@pytest.mark.parametrize("lies", ["nothing", "directory", *IN_THE_WAY])
def test_anything_is_locked_by_one_at_a_time(lies: str, tmp_path: Path) -> None:
    place = tmp_path / "lock"
    others: dict[str, Callable[[Path], object]] = {"nothing": str, "directory": Path.mkdir}
    (others | IN_THE_WAY)[lies](place)
    with locked(place):
        other = open_lock(place)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)
    assert not Path("/nowhere").exists()


def test_everything_is_removed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "tree" / "locked").mkdir(parents=True)
    (tmp_path / "tree" / "locked" / "file").write_text("x")
    (tmp_path / "tree" / "locked").chmod(0)
    (tmp_path / "tree").chmod(0)
    for name in ("file", "link", "tree", "never"):
        remove(tmp_path / name)
        assert not is_there(tmp_path / name)
    assert tmp_path.is_dir()


def test_only_what_was_left_long_ago_is_swept(tmp_path: Path) -> None:
    for name in ("old-file", "young-file"):
        (tmp_path / name).write_text("x")
    for name in ("old", "young"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part").write_text("x")
    (tmp_path / "old-link").symlink_to("/nowhere")
    long_ago = time.time() - 100
    for name in ("old/part", "old", "young", "old-file", "old-link"):
        os.utime(tmp_path / name, (long_ago, long_ago), follow_symlinks=False)
    sweep([*tmp_path.iterdir(), tmp_path / "gone"], 50)
    assert sorted(names_in(tmp_path)) == ["young", "young-file"]


def test_names_in_what_is_no_directory_are_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert names_in(tmp_path / "absent") == []
    assert caplog.text == ""
    (tmp_path / "file").write_text("x")
    for _ in range(2):
        assert names_in(tmp_path / "file") == []
    assert caplog.text.count("cannot be read: Not a directory") == 1


def test_the_same_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for words in ("damaged %s", "damaged %s", "other"):
        tell_once(f"{tmp_path} {words}")
    assert [record.getMessage().split()[1] for record in caplog.records] == ["damaged", "other"]

"""One service holds a data directory, and tells others where it is."""

import os
from pathlib import Path

import pytest

from app.supervisor.errors import UserError
from app.supervisor.lock import data_lock, running_url, url_of


def test_looking_whether_a_service_runs_keeps_none_from_starting(tmp_path: Path) -> None:
    for _ in range(200):
        running_url(tmp_path)
        with data_lock(tmp_path, "http://one"):
            assert running_url(tmp_path) == "http://one"
    assert running_url(tmp_path) is None


def test_a_held_directory_names_its_holder(tmp_path: Path) -> None:
    with (
        data_lock(tmp_path, "http://one"),
        pytest.raises(UserError, match=rf"^already running at http://one \(pid {os.getpid()}\)$"),
        data_lock(tmp_path, "http://two"),
    ):
        pass


@pytest.mark.parametrize("left", [b"", b"\xff\xfe\x00", b"1 http://old:8000/with/a/long/path\n"])
def test_what_a_former_holder_left_is_no_matter(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "charloom.lock").write_bytes(left)
    assert running_url(tmp_path) is None
    url_of(tmp_path, 1)
    with data_lock(tmp_path, "http://one"):
        assert running_url(tmp_path) == url_of(tmp_path, os.getpid()) == "http://one"


def test_a_directory_that_is_none_has_no_holder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert running_url(tmp_path / "file") is None
    (tmp_path / "charloom.lock").symlink_to("charloom.lock")
    with pytest.raises(UserError, match=r"^cannot read .*/charloom\.lock: "):
        running_url(tmp_path)

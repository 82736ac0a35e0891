"""Where things lie: a data directory of an earlier release holds them there already."""

import os
import re
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import SmallDisk
from worker.data import DataDirectory, DataError, open_data


def test_everything_lies_where_earlier_releases_put_it(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    assert data.jobs == tmp_path / "jobs"
    assert data.corpora == tmp_path / "corpora"
    assert data.models == tmp_path / "models"
    assert data.devices == tmp_path / "devices"
    assert data.redis == tmp_path / "redis"
    assert data.secret == tmp_path / "secret"
    assert data.lock == tmp_path / "charloom.lock"
    assert data.text("linux") == tmp_path / "texts" / "linux.txt"
    assert data.experiment("names") == tmp_path / "experiments" / "names"
    assert not list(tmp_path.iterdir())


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def opened(root: Path, version: str | None = "1.0") -> list[str]:
    told: list[str] = []
    open_data(root, told.append, version)
    return told


def test_only_its_owner_may_enter_a_new_one(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "data"
    assert opened(root) == []
    (root / "jobs").mkdir()
    (root / "jobs" / "spec.json").touch()
    assert mode(root) == mode(root / "jobs") == 0o700
    assert mode(root / "jobs" / "spec.json") == mode(root / "format-1") == 0o600


@pytest.mark.parametrize("names", [[], ["charloom.lock", "my notes"], ["texts"]])
def test_others_are_kept_out_of_one_that_they_could_read(tmp_path: Path, names: list[str]) -> None:
    root = tmp_path / "data"
    root.mkdir(mode=0o755)
    for name in names:
        (root / name).touch()
    told = opened(root)
    assert mode(root) == 0o700
    assert len(told) == bool(names)
    assert opened(root) == []


@pytest.mark.parametrize("shared", [0o2770, 0o750])
def test_a_group_may_share_one(tmp_path: Path, shared: int) -> None:
    root = tmp_path / "data"
    root.mkdir()
    root.chmod(shared)
    assert opened(root) == []
    (root / "file").touch()
    (root / "folder").mkdir()
    assert mode(root) == shared
    assert mode(root / "file") == shared & 0o666
    assert mode(root / "folder") & 0o777 == shared & 0o777


@pytest.mark.parametrize(("others", "sticky"), [("someone's letter", 0), ("charloom.lock", 0o1000)])
def test_a_directory_that_is_not_only_charlooms_is_left_as_it_is(
    tmp_path: Path, others: str, sticky: int
) -> None:
    root = tmp_path / "everybody's"
    root.mkdir()
    (root / others).touch()
    root.chmod(0o755 | sticky)
    assert opened(root) == []
    assert mode(root) == 0o755 | sticky


def test_its_format_is_written_down_once_and_read_by_its_name(tmp_path: Path) -> None:
    opened(tmp_path, None)
    assert not list(tmp_path.iterdir())
    opened(tmp_path, "1.0")
    opened(tmp_path, "1.1")
    mark = tmp_path / "format-1"
    assert mark.read_text() == "1.0\n"
    for damaged in (b"", b"\xff\xfe", b"9" * 1000):
        mark.write_bytes(damaged)
        opened(tmp_path)


@pytest.mark.parametrize(
    ("content", "writer"),
    [(b"2.0.1\n", "charloom 2.0.1"), (b"", "a later charloom"), (b"\x1b[2J", "a later charloom")],
)
def test_a_later_releases_is_refused(tmp_path: Path, content: bytes, writer: str) -> None:
    (tmp_path / "format-12").write_bytes(content)
    with pytest.raises(DataError, match=rf"was written by {writer}, in .*: upgrade charloom$"):
        opened(tmp_path)


def test_one_that_cannot_be_used_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file: it is not a directory$"):
        opened(tmp_path / "file")
    with pytest.raises(DataError, match=f"cannot keep data in {re.escape(str(tmp_path))}/file/x: "):
        opened(tmp_path / "file" / "x")


def test_one_on_a_read_only_file_system_is_said(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nobody but root may mount")
    try:
        with pytest.raises(DataError, match=r"the file system is read-only$"):
            opened(tmp_path)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_store_has_one_id_whoever_asks_first(tmp_path: Path) -> None:
    asked = [DataDirectory(tmp_path).store_id() for _ in range(3)]
    with ThreadPoolExecutor(8) as pool:
        other = tmp_path / "other"
        found = set(pool.map(lambda _: DataDirectory(other).store_id(), range(40)))
    assert len(set(asked)) == len(found) == 1
    assert set(asked) != found
    assert [path.name for path in other.iterdir()] == ["store-id"]


@pytest.mark.parametrize("content", [b"", b"no/id", b"\xff\xfe", b"x" * 200])
def test_a_damaged_id_is_set_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "store-id").write_bytes(content)
    found = DataDirectory(tmp_path).store_id()
    assert re.fullmatch("[0-9a-f]{16}", found)
    assert DataDirectory(tmp_path).store_id() == found


def test_a_full_disk_has_room_for_an_id(small_disk: SmallDisk) -> None:
    data = DataDirectory(small_disk.root / "data")
    data.root.mkdir()
    small_disk.fill()
    found = data.store_id()
    assert re.fullmatch("[0-9a-f]{16}", found)
    assert DataDirectory(data.root).store_id() == found
    assert [path.name for path in data.root.iterdir()] == ["store-id"]

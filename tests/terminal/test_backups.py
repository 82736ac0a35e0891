"""``charloom backup`` and ``restore``: beside a running service, in a terminal, and interrupted."""

import os
import signal
import subprocess
from pathlib import Path

import httpx2
import pytest

from app.supervisor.errors import UserError
from app.supervisor.lock import data_lock, running_url
from app.terminal import backups
from tests.commands import CHARLOOM, Terminal, charloom, environment
from tests.serving import eventually, serve
from tests.support import SmallDisk

TEXT = "/sample?model=toy&seed=1&length=200"


def left(folder: Path) -> list[str]:
    """What an interrupted backup could leave."""
    return [str(p) for p in folder.rglob("*") if ".partial" in p.name or ".snapshot" in p.name]


def test_a_service_in_use_is_saved_and_the_copy_writes_the_same(
    models: Path, client: httpx2.Client, tmp_path: Path
) -> None:
    text = client.get(TEXT).text
    saved = charloom("backup", tmp_path / "backup.tar", "--data", models)
    assert saved.returncode == 0, saved.stderr
    assert saved.stderr.startswith(f"{tmp_path}/backup.tar: ") and "files, " in saved.stderr
    checked = charloom("restore", tmp_path / "backup.tar", "--check")
    assert (checked.returncode, checked.stdout) == (0, "")
    assert checked.stderr.startswith(f"{tmp_path}/backup.tar is whole: ")
    restored = charloom("restore", tmp_path / "backup.tar", "--data", tmp_path / "new")
    assert restored.returncode == 0, restored.stderr
    with serve(tmp_path / "new") as copy:
        assert copy.get(TEXT).text == text
    assert left(models) == left(tmp_path) == []


def test_a_directory_in_use_is_not_restored_into(running: Path, tmp_path: Path) -> None:
    charloom("backup", tmp_path / "backup.tar", "--data", running)
    refused = charloom("restore", tmp_path / "backup.tar", "--data", running)
    assert refused.returncode == 1
    assert "is not empty" in refused.stderr and refused.stderr.count("\n") == 1
    assert running_url(running)


def test_a_service_that_is_starting_keeps_its_directory(models: Path, tmp_path: Path) -> None:
    charloom("backup", tmp_path / "backup.tar", "--data", models)
    (tmp_path / "new").mkdir(mode=0o700)
    with data_lock(tmp_path / "new", ""):
        refused = charloom("restore", tmp_path / "backup.tar", "--data", tmp_path / "new")
    assert (refused.returncode, refused.stderr) == (1, "charloom: already starting\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_backup_has_no_name(tmp_path: Path, number: int) -> None:
    data, target = tmp_path / "data", tmp_path / "backup.tar"
    large = data / "texts" / "large.txt"
    large.parent.mkdir(parents=True)
    with large.open("wb") as file:
        # So much that the signal comes before its end; nothing on the disk is as large.
        file.truncate(64 << 30)
    command = [*CHARLOOM, "backup", str(target), "--data", str(data)]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
    partial = target.with_name("backup.tar.partial")
    eventually(lambda: partial.exists() and partial.stat().st_size, 60)
    process.send_signal(number)
    process.wait(60)
    assert not target.exists()
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert left(tmp_path) == []
    # What was killed keeps nobody from the next.
    os.truncate(large, 1000)
    assert charloom("backup", target, "--data", data).returncode == 0
    assert charloom("restore", target, "--data", tmp_path / "new").returncode == 0
    assert (tmp_path / "new" / "texts" / "large.txt").read_bytes() == bytes(1000)


def test_a_full_disk_ends_a_backup_in_one_line(models: Path, small_disk: SmallDisk) -> None:
    small_disk.fill()
    failed = charloom("backup", small_disk.root / "backup.tar", "--data", models)
    assert failed.returncode == 1
    assert "No space left on device" in failed.stderr and failed.stderr.count("\n") == 1
    assert [path.name for path in small_disk.root.iterdir()] == ["ballast"]


def test_what_is_no_backup_is_told_and_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no backup")
    for name, words in (("notes.txt", "is not a whole backup"), ("none.tar", "No such file")):
        told = charloom("restore", tmp_path / name, "--check")
        assert told.returncode == 1 and words in told.stderr and told.stderr.count("\n") == 1
    missing = charloom("restore", tmp_path / "none.tar", "--data", tmp_path / "new")
    assert missing.returncode == 1 and not (tmp_path / "new").exists()


def test_a_terminal_shows_how_far_it_is(models: Path, tmp_path: Path) -> None:
    terminal = Terminal("backup", str(tmp_path / "backup.tar"), "--data", str(models))
    terminal.until(r"━.*MB|━.*kB")
    # Where the line is broken depends on the path.
    terminal.until(r"backup\.tar:\s+\d+\s+files")
    assert terminal.end() == 0


def test_a_bucket_has_backups_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A data directory beside it holds no more than a cache."""
    monkeypatch.setenv("CHARLOOM_STORAGE", "s3://bucket/prefix")
    with pytest.raises(UserError, match="s3://bucket/prefix keeps everything"):
        backups.back_up(tmp_path, tmp_path / "backup.tar")
    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []

"""What killed processes left half made is removed soon; what a living one makes is not."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from models import places
from models.checkpoints.registry import Registry
from models.places import staged, sweep_staged, sweep_written
from worker.corpora import CorpusStore
from worker.jobs import JobStore

OWNER = """
import sys
from pathlib import Path
from models.places import staged
place = Path(sys.argv[1])
with staged(place):
    (place / "half").write_bytes(b"of it")
    print(flush=True)
    input()
"""


@pytest.fixture
def owner(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that has something staged."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / ".stage-1")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.kill()


def test_it_is_swept_when_its_owner_is_dead(
    tmp_path: Path, owner: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / ".stage-1"
    sweep_staged([place])
    monkeypatch.setattr(places, "_FRESH", 0.0)
    sweep_staged([place])
    assert (place / "half").exists()
    owner.kill()
    owner.wait()
    sweep_staged([place, tmp_path / "gone"])
    assert not place.exists()


def test_one_that_was_just_made_is_not_swept(tmp_path: Path) -> None:
    (tmp_path / ".stage-1").mkdir()
    sweep_staged([tmp_path / ".stage-1"])
    assert (tmp_path / ".stage-1").exists()


def test_it_is_gone_after_the_block_unless_it_was_renamed(tmp_path: Path) -> None:
    with staged(tmp_path / "one"):
        (tmp_path / "one" / "file").touch()
    with staged(tmp_path / "two"):
        (tmp_path / "two").rename(tmp_path / "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def age(path: Path, seconds: float = 7200) -> None:
    then = path.lstat().st_mtime - seconds
    os.utime(path, (then, then))


def test_half_written_files_go_after_a_while(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    old, fresh, others = (
        tmp_path / "deep" / "er" / f".{name}"
        for name in ("spec.json.0123456789abcdef", "a.0123456789abcdef", "gitignore")
    )
    for path in (old, fresh, others):
        path.touch()
    age(old)
    age(others)
    sweep_written(tmp_path)
    assert sorted((tmp_path / "deep" / "er").iterdir()) == sorted((fresh, others))


def test_each_store_sweeps_what_was_left(tmp_path: Path) -> None:
    jobs, corpora, models = (
        JobStore(tmp_path / "jobs"),
        CorpusStore(tmp_path / "corpora"),
        Registry(tmp_path / "models"),
    )
    left = [
        jobs.root / ".stage-0",
        jobs.root / ".gone-0",
        jobs.root / ".keys" / ".key.0123456789abcdef",
        corpora.root / ".stage-0",
        corpora.root / ".gone-0",
        models.root / ".gone-0",
        models.root / "toy" / ".stage-0",
        models.root / "toy" / ".gone-0",
    ]
    for path in left:
        path.mkdir(parents=True)
        (path / "half").touch()
        age(path / "half", 60)
        age(path, 60)
    for store in (jobs, corpora, models):
        store.sweep()
    assert [path for path in left if path.exists()] == []

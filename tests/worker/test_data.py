"""Where things lie: a data directory of an earlier release holds them there already."""

from pathlib import Path

from worker.data import DataDirectory


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

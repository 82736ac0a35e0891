"""A worker's environment: one line for people about what is wrong with it."""

import re
from pathlib import Path

import pytest

from models.errors import Invalid
from worker.settings import VARIABLES, SettingsError, WorkerSettings
from worker.storage.opening import CACHE
from worker.trainer import handover

URL = {"CHARLOOM_REDIS_URL": "redis://:sesame@localhost:6379"}

NUMBER = "must be a whole number, at least 1"


def test_a_url_of_redis_is_all_it_needs() -> None:
    settings = WorkerSettings.from_environment(URL)
    assert settings.redis_url == URL["CHARLOOM_REDIS_URL"]
    assert settings.threads is None
    shortest = WorkerSettings.from_environment(URL | {"CHARLOOM_LEASE_SECONDS": "5"})
    assert shortest.lease_seconds == 5 < settings.lease_seconds
    assert settings.data.root == Path("data").resolve()


def test_the_data_directory_does_not_move_with_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = WorkerSettings.from_environment(
        URL | {"CHARLOOM_DATA": "here", "CHARLOOM_THREADS": "3"}
    )
    assert settings.data.root == tmp_path / "here"
    assert settings.threads == 3


def test_a_password_is_not_shown_where_settings_are() -> None:
    assert "sesame" not in repr(WorkerSettings.from_environment(URL))


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "CHARLOOM_REDIS_URL is not set"),
        ({"CHARLOOM_REDIS_URL": ""}, "CHARLOOM_REDIS_URL is not set"),
        ({"CHARLOOM_REDIS_URL": "localhost"}, "CHARLOOM_REDIS_URL: must start with redis://"),
        (URL | {"CHARLOOM_THREADS": "0"}, f"CHARLOOM_THREADS='0': {NUMBER}"),
        (URL | {"CHARLOOM_THREADS": "two"}, f"CHARLOOM_THREADS='two': {NUMBER}"),
        (URL | {"CHARLOOM_LEASE_SECONDS": "4.9"}, "CHARLOOM_LEASE_SECONDS='4.9': must be from 5"),
        (URL | {"CHARLOOM_LEASE_SECONDS": "601"}, "CHARLOOM_LEASE_SECONDS='601': must be from 5"),
        (URL | {"CHARLOOM_LEASE_SECONDS": "nan"}, "CHARLOOM_LEASE_SECONDS='nan': must be from 5"),
        (URL | {"CHARLOOM_LEASE_SECONDS": "x"}, "CHARLOOM_LEASE_SECONDS='x': must be from"),
        (URL | {"CHARLOOM_LOG": "xml"}, "CHARLOOM_LOG='xml': must be json or text"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(environment: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError) as error:
        WorkerSettings.from_environment(environment)
    assert str(error.value).startswith(words)
    assert "\n" not in str(error.value)
    assert isinstance(error.value, Invalid)


@pytest.mark.parametrize(
    "url",
    ["redis://:sesame@localhost:http", "redis://:ses/ame@localhost", "redis://localhost/jobs",
     "redis://localhost/-1", "redis://localhost?database=sesame", "redis://localhost:99999",
     "redis://[::1", "rediss://localhost?ssl_cert_reqs=sesame", "redis://localhost?db=sesame"],
)  # fmt: skip
def test_a_url_that_redis_would_not_take_as_it_is_meant_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(SettingsError) as error:
        WorkerSettings.from_environment({"CHARLOOM_REDIS_URL": url})
    assert str(error.value).startswith("CHARLOOM_REDIS_URL: must be a URL such as redis://")
    assert "ame" not in str(error.value)


def test_all_that_a_worker_reads_is_handed_on_to_it() -> None:
    """The supervisor gives it nothing else of CHARLOOM_…"""
    root = Path(handover.__file__).parents[1]
    read = {
        name
        for path in root.rglob("*.py")
        for name in re.findall(r"\bCHARLOOM_[A-Z_]*[A-Z]\b", path.read_text("utf-8"))
    }
    ours = {CACHE, handover.GPUS, handover.LEASE, handover.LOCK, handover.WORKER_PID}
    assert read - ours == set(VARIABLES)

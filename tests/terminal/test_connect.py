"""A service is found by its data or its URL, or is there for as long as the command."""

import re
from pathlib import Path

import httpx2
import pytest

from app.supervisor.lock import data_lock, running_url
from app.terminal import connect
from tests.commands import charloom, left
from tests.serving import serve


def test_a_running_service_is_found_by_its_data(
    client: httpx2.Client, url: str, models: Path
) -> None:
    with data_lock(models, url):
        done = charloom("sample", "--model=toy:v1", "--seed=3", "--data", models)
        assert running_url(models) == url
    assert done.stdout == client.get("/sample?model=toy:v1&seed=3").text
    assert running_url(models) is None


def test_without_a_service_one_is_there_for_the_command(models: Path) -> None:
    """And for no longer; it takes no key and no port that others know."""
    one = charloom("names", "--model=toy", "-n", "5", "--seed=0", CHARLOOM_DATA=models)
    assert one.returncode == 0 and one.stderr == ""
    assert len(set(one.stdout.splitlines())) == 5
    assert (
        charloom("names", "--model=toy", "-n5", "--seed=0", "--data", models).stdout == one.stdout
    )
    assert left(models) == []


def test_a_service_that_does_not_start_says_why(tmp_path: Path) -> None:
    done = charloom("models", "--data", tmp_path / "data", CHARLOOM_MAX_STREAMS="none")
    assert done.returncode == 1
    assert re.match(
        "charloom: the service does not start: CHARLOOM_MAX_STREAMS='none': ", done.stderr
    )


def test_a_data_directory_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "format-9").write_text("9.1")
    for name, words in {
        "file": "file: it is not a directory",
        "later": "was written by charloom 9.1, in a format that this release cannot read",
    }.items():
        done = charloom("models", "--data", tmp_path / name)
        assert (done.returncode, done.stderr.count("\n"), done.stdout) == (1, 1, "")
        assert re.match(f"charloom: the service does not start: .*{words}", done.stderr)


@pytest.mark.parametrize(
    ("set_", "own", "key"),
    [
        ({}, True, None),
        ({"CHARLOOM_API_KEY": "mine"}, False, "mine"),
        ({"CHARLOOM_API_KEYS": "a:sample,b:train+admin"}, True, "b"),
        ({"CHARLOOM_API_KEYS": "a:sample,b:train+admin"}, False, None),
        ({"CHARLOOM_API_KEYS": "b:admin", "CHARLOOM_API_KEY": "mine"}, True, "mine"),
    ],
)
def test_which_key_is_sent(set_: dict[str, str], own: bool, key: str | None) -> None:
    assert connect._key(set_, own) == key


def test_a_key_opens_a_service_that_wants_one(models: Path) -> None:
    with serve(models, api_keys="open-sesame:sample") as locked:
        url = str(locked.base_url)
        refused = charloom("models", "--url", url)
        assert (
            refused.returncode == 1
            and "needs an API key; set CHARLOOM_API_KEY, or enter it with --key" in refused.stderr
        )
        done = charloom("models", "--url", url, CHARLOOM_API_KEY="open-sesame")
        assert done.returncode == 0 and "toy:v1" in done.stdout
        wrong = charloom("models", "--url", url, CHARLOOM_API_KEY="barley")
        assert wrong.returncode == 1 and "barley" not in wrong.stderr

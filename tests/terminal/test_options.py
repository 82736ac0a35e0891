"""Options that all commands share."""

from pathlib import Path

import pytest

from app.terminal.options import workers_of
from tests.commands import Terminal, charloom
from tests.serving import serve


def test_without_a_terminal_a_key_is_not_asked_for(url: str) -> None:
    done = charloom("models", "--key", "--url", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "charloom: --key needs a terminal; set CHARLOOM_API_KEY instead\n"


def test_a_key_is_asked_for_in_a_terminal_and_never_shown(models: Path) -> None:
    with serve(models, api_keys="open-sesame:sample") as locked:
        terminal = Terminal("models", "--key", "--url", str(locked.base_url))
        terminal.until("Key: ")
        terminal.type("open-sesame\n")
        assert "sesame" not in terminal.until("toy:v1").string
        assert terminal.end() == 0


@pytest.mark.parametrize("value", ["some", "-1", "1.5"])
def test_workers_are_a_number_or_auto(value: str) -> None:
    assert (workers_of("auto"), workers_of("3"), workers_of(0)) == ("auto", 3, 0)
    done = charloom("up", "--workers", value)
    assert done.returncode == 2
    assert "is neither auto nor a whole number" in done.stderr

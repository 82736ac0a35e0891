"""An installation of which pip shows nothing says now and then that it goes on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app import launcher


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What the launcher says; after the second line, what waits at the gate ends."""
    lines: list[str] = []
    os.mkfifo(tmp_path / "gate")

    def say(line: str) -> None:
        lines.append(line)
        if len(lines) == 2:
            (tmp_path / "gate").write_bytes(b"")

    monkeypatch.setattr(launcher, "PULSE_SECONDS", 0.01)
    monkeypatch.setattr(launcher, "say", say)
    return lines


def test_a_silent_installation_says_that_it_goes_on(said: list[str], tmp_path: Path) -> None:
    launcher.Environment(tmp_path, sys.executable)._run(["cat", str(tmp_path / "gate")])
    assert said[:2] == ["still installing, after 0 s"] * 2


def test_one_that_pip_shows_is_not_talked_over(said: list[str], tmp_path: Path) -> None:
    environment = launcher.Environment(tmp_path, sys.executable)
    environment._run(["sleep", "0.1"], is_silent=False)
    assert said == []
    with pytest.raises(subprocess.CalledProcessError):
        environment._run(["false"])

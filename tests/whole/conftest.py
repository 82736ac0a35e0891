"""Fixtures: a whole service, and a voice that is heard while tests run."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service import Up
from tests.serving import eventually
from tests.support import Say


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    running = Up(tmp_path / "service", tmp_path / "log")
    try:
        eventually(running.answers, 60)
        yield running
    finally:
        running.stop()


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    def said(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()

    return said

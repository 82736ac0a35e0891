"""A tethered child ends with its parent, however that ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.supervisor.tether import tethered
from tests.commands import ROOT
from tests.supervised import LINUX, Watched

PARENT = """
import subprocess, sys
from app.supervisor.tether import tethered
child = subprocess.Popen(tethered(["sleep", "1000"]), stdin=subprocess.DEVNULL)
print(child.pid, flush=True)
sys.stdin.read()
"""


@LINUX
def test_a_child_does_not_outlive_a_killed_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout
        child = Watched(int(parent.stdout.readline()))
        parent.kill()
    assert child.end()


@LINUX
def test_a_child_whose_parent_is_gone_already_does_not_start(tmp_path: Path) -> None:
    interpreter, *flags, file, _parent, nice = tethered([])
    nobody = "1"
    started = tmp_path / "started"
    command = [interpreter, *flags, file, nobody, nice, "touch", str(started)]
    assert subprocess.run(command, timeout=20).returncode == 1
    assert not started.exists()


@pytest.mark.parametrize("nice", [0, 3])
def test_a_child_is_nicer(nice: int) -> None:
    script = "import os; print(os.nice(0))"
    command = tethered([sys.executable, "-c", script], nice)
    said = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
    assert int(said) == min(19, os.nice(0) + nice)


def test_a_command_that_is_not_there_is_named() -> None:
    done = subprocess.run(tethered(["/nowhere"]), capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert done.stderr == "cannot start /nowhere: No such file or directory\n"

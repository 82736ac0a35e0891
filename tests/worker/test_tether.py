"""A tied child dies with its parent, however that dies."""

import os
import subprocess
import sys

import pytest

from tests.serving import eventually
from tests.support import ROOT, is_alive
from worker.tether import tethered

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a tie of Linux's kernel")

PARENT = """
import subprocess, sys
from worker.tether import die_with, tethered
child = subprocess.Popen([{command}], stdout=sys.stdout)
child.wait()
"""


@pytest.mark.parametrize(
    "command",
    [
        '*tethered([sys.executable, "-c", "import os, signal; print(os.getpid(), flush=True);'
        ' signal.pause()"])',
        'sys.executable, "-c", "import os, signal; from worker.tether import die_with;'
        ' die_with(os.getppid()); print(os.getpid(), flush=True); signal.pause()"',
    ],
    ids=["any command", "a Python process"],
)
def test_a_tied_child_dies_with_its_parent(command: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(command=command)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    with parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.kill()
        eventually(lambda: not is_alive(child))


def test_a_child_that_comes_too_late_does_not_begin() -> None:
    command = tethered(["true"])
    assert subprocess.run(command, check=False).returncode == 0
    orphaned = [str(os.getppid()) if part == str(os.getpid()) else part for part in command]
    assert subprocess.run(orphaned, check=False).returncode == 1


def test_it_becomes_the_command_with_its_niceness() -> None:
    code = "import os; print(os.getpid(), os.nice(0))"
    niceness = os.nice(0) + 3
    with subprocess.Popen(
        tethered([sys.executable, "-c", code], nice=3), stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        assert child.stdout.read().split() == [str(child.pid), str(min(niceness, 19))]


def test_what_cannot_be_started_is_named() -> None:
    ended = subprocess.run(tethered(["/nowhere"]), capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr == "cannot start /nowhere: No such file or directory\n"

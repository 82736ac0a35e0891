"""A process that has ended is known to have, on its own machine only."""

import os
import subprocess
import sys
from pathlib import Path

from tests.machines import another_machine
from tests.support import ROOT
from worker.machine import Process, machine


def test_the_dead_are_told_from_the_living_and_from_strangers() -> None:
    with subprocess.Popen(["true"]) as child:
        child.wait()
    assert Process(machine(), child.pid).is_gone()
    assert not Process.this().is_gone()
    assert not Process(machine(), os.getppid()).is_gone()
    assert not Process("another machine", child.pid).is_gone()
    assert not Process(machine(), 1 << 80).is_gone()


def test_another_kernel_is_another_machine(tmp_path: Path) -> None:
    code = "from worker.machine import machine; print(machine())"
    said = [
        subprocess.run(
            [*prefix, sys.executable, "-c", code],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for prefix in ([], [], another_machine(tmp_path))
    ]
    assert said[0] == said[1] == machine() != said[2]

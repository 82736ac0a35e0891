"""Supervisors in processes of their own. All is real but the programs, a few lines each."""

import os
import re
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import ROOT

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs the kernel to tie processes")


PATIENCE = 120
"""Seconds after which a test has failed, also on a busy machine."""


class Run:
    """A supervisor in a process of its own. It is killed after a while rather than waited for."""

    def __init__(self, script: str, directory: Path, *arguments: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        for name in [name for name in environment if name.startswith("CHARLOOM_")]:
            del environment[name]
        self.directory = directory
        # What services say comes in any order.
        self._unmatched: list[str] = []
        self.said = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._watchdog = threading.Timer(PATIENCE, self.process.kill)
        self._watchdog.start()

    def until(self, pattern: str) -> re.Match[str]:
        """Waits for a line that matches; each line is matched once."""
        for line in self._lines():
            if found := re.search(pattern, line):
                self._unmatched.remove(line)
                return found
        raise AssertionError(f"no {pattern!r} in:\n{''.join(self._unmatched)}")

    def _lines(self) -> Iterator[str]:
        yield from list(self._unmatched)
        assert self.process.stdout
        for line in self.process.stdout:
            self._unmatched.append(line)
            self.said += line
            yield line

    def pid(self, name: str) -> int:
        return int(self.until(rf"{name} +│ pid (\d+)")[1])

    def end(self) -> int:
        """The exit code, when it has ended by itself."""
        for _ in self._lines():
            pass
        return self.process.wait()

    def close(self) -> None:
        self._watchdog.cancel()
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


class Watched:
    """Processes that are not our children, whose end can still be awaited."""

    def __init__(self, *pids: int) -> None:
        self._descriptors = [os.pidfd_open(pid) for pid in pids]

    def end(self) -> bool:
        """Whether all have ended, at the latest some time from now."""
        ended = [bool(select.select([one], [], [], PATIENCE)[0]) for one in self._descriptors]
        for descriptor in self._descriptors:
            os.close(descriptor)
        return all(ended)

"""The `charloom` command, for tests: in a pipe, as a script runs it, and in a terminal."""

import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHARLOOM = (sys.executable, "-P", "-m", "app.cli")
TINY = ["--hidden-size", "8", "--num-layers", "1", "--batch-size", "8", "--sequence-length", "16"]
ENDLESS = [
    *("--max-steps", "1000000", "--evaluate-every", "1000000", "--sample-at", "10"),
    *("--max-seconds", "90"),
]
"""Nobody waits for its end, which comes all the same: a test that fails frees the worker."""


def environment(**more: str | Path) -> dict[str, str]:
    """This one's, but for what it says of a service."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CHARLOOM_")}
    # No models but the tests'; and threads that share a core would wait for each other.
    ours = {"CHARLOOM_PRETRAINED": "/nowhere", "CHARLOOM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return clean | ours | {name: str(value) for name, value in more.items()}


def charloom(
    *arguments: str | Path, text: str | None = None, **more: str | Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CHARLOOM, *arguments],
        env=environment(**more),
        cwd="/",
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        # As a script that nobody sits before.
        start_new_session=True,
    )


def left(data: Path) -> list[int]:
    """Processes that were told of a data directory."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            told = (directory / "environ").read_bytes() + (directory / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(data) in told:
            found.append(int(directory.name))
    return found


class Terminal:
    """A command in a terminal of its own, 24 lines of 80 columns."""

    def __init__(self, *arguments: str | Path, **variables: str) -> None:
        self.said = ""
        variables = {"TERM": "xterm-256color"} | variables
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            # Before Python starts: it may look at once how wide the terminal is.
            ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
            os.execve(sys.executable, [*CHARLOOM, *map(str, arguments)], environment(**variables))

    def until(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        """Waits for what matches what has been said."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.said)):
            assert time.monotonic() < deadline and self._read(), self.said
        self.said = self.said[found.end() :]
        return found

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def end(self) -> int:
        """The exit code."""
        while self._read():
            pass
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self) -> bool:
        if not select.select([self._terminal], [], [], 1)[0]:
            return True
        try:
            data = os.read(self._terminal, 1 << 16)
        except OSError:
            return False
        self.said += data.decode(errors="replace")
        return bool(data)

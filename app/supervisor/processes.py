"""Keeps programs running, and stops them in order.

A program is a command line. It runs in a session of its own, so that Ctrl-C reaches only the
supervisor, and tied to it, so that not even SIGKILL leaves one behind. Its lines are printed under
its name; when it ends it is started again, with a growing delay. Programs start stage by stage,
each stage when the one before is ready, and stop in the opposite order.

Knows nothing of what the programs are, and nothing of HTTP or Redis.
"""

import asyncio
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from app.supervisor.errors import UserError
from worker import logs
from worker.clock import timestamp
from worker.data import DataDirectory
from worker.tether import tethered

LOCK_PATIENCE = 0.2
"""Seconds to wait for a held lock: a process that only looks holds it for an instant."""

GRACE = 15.0
"""Seconds from SIGTERM to SIGKILL."""

FIRST_DELAY, LONGEST_DELAY = 0.5, 4.0
"""Seconds before an ended program is started again; doubled each time. A killed worker is promised
back within 10."""

STEADY = 10.0
"""A program that ran for this many seconds was well: the delay starts over."""

POLL = 0.1
"""Seconds between two checks whether a program is ready."""

LAST_WORDS = 1.0
"""Seconds to wait for an ended program's last lines."""

LONGEST_LINE = 1 << 16
"""Bytes after which a line is passed on even if it does not end."""

COLOURS = (36, 33, 35, 32, 34)
"""Of the labels, as terminals number them."""

Say = Callable[[str], None]


@contextmanager
def data_lock(directory: Path, url: str) -> Iterator[None]:
    """Holds ``directory`` for this process; the lock file tells others its pid and ``url``.

    The kernel drops the lock however the process ends, so only the lock counts, never the text.

    Raises:
        UserError: another process holds it.
    """
    with DataDirectory(directory).lock.open("a+") as file:
        deadline = time.monotonic() + LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UserError(_already(*_holder(directory))) from None
                time.sleep(0.01)
        file.truncate(0)
        file.write(f"{os.getpid()} {url}\n")
        file.flush()
        yield


def _already(pid: str, url: str) -> str:
    return f"already running at {url} (pid {pid})" if url else "already starting"


def running_url(directory: Path) -> str | None:
    """The URL of the holder of ``directory``, empty before it has one; None if there is none."""
    try:
        file = DataDirectory(directory).lock.open()
    except FileNotFoundError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(directory)[1]
    return None


def url_of(directory: Path, pid: int) -> str | None:
    """The URL that a process wrote into ``directory``'s lock file, once it holds the lock."""
    try:
        holder, url = _holder(directory)
    except FileNotFoundError:
        return None
    return url if holder == str(pid) and url else None


def _holder(directory: Path) -> tuple[str, str]:
    pid, _, url = DataDirectory(directory).lock.read_text().strip().partition(" ")
    return pid, url


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One process to keep running.

    ``ready`` is called, in a thread, until it is true. Lines that contain any of ``noise`` are
    dropped. ``nice`` is added to the supervisor's own niceness.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    nice: int = 0
    ready: Callable[[], bool] | None = None
    noise: Sequence[str] = ()


class Supervisor:
    """Runs ``stages`` of programs in ``directory`` until SIGINT, SIGTERM or SIGHUP.

    A second signal ends the waiting: programs that still run get SIGKILL.
    """

    def __init__(self, stages: Sequence[Sequence[Program]], directory: Path) -> None:
        self._stages = stages
        self._directory = directory
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self, announce: Callable[[], None]) -> None:
        """Returns when all have ended. ``announce`` runs once, in a thread, when all are ready."""
        labels = Labels([program.name for stage in self._stages for program in stage])
        kept: list[list[Keeper]] = []
        with self._signals():
            try:
                for stage in self._stages:
                    kept.append([Keeper(one, self._directory, labels) for one in stage])
                    await self._ready(stage)
                if not self._stopping.is_set():
                    await asyncio.to_thread(announce)
                await self._stopping.wait()
            finally:
                for keepers in reversed(kept):
                    await asyncio.gather(*(keeper.stop(self._hurry) for keeper in keepers))

    def stop(self) -> None:
        """Starts to stop; the second call hurries."""
        if self._stopping.is_set():
            self._hurry.set()
        else:
            say("stopping; press Ctrl-C again to kill")
            self._stopping.set()

    async def _ready(self, stage: Sequence[Program]) -> None:
        for program in stage:
            while program.ready and not self._stopping.is_set():
                if await asyncio.to_thread(program.ready):
                    break
                await _wait(self._stopping, POLL)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        heard = [signal.SIGINT, signal.SIGTERM]
        # nohup ignores it: so do we.
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            heard.append(signal.SIGHUP)
        for number in heard:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in heard:
                loop.remove_signal_handler(number)


class Keeper:
    """Keeps one program running from construction to `stop`."""

    def __init__(self, program: Program, directory: Path, labels: "Labels") -> None:
        self._program = program
        self._directory = directory
        self._say = labels.under(program.name)
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._task = asyncio.create_task(self._keep())

    async def stop(self, hurry: asyncio.Event) -> None:
        """Sends SIGTERM; after `GRACE` seconds, or in a hurry, SIGKILL to all that it started."""
        self._stopping.set()
        self._signal(signal.SIGTERM)
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait(
            (self._task, hurried), timeout=GRACE, return_when=asyncio.FIRST_COMPLETED
        )
        hurried.cancel()
        if not self._task.done():
            self._signal(signal.SIGKILL)
        await self._task

    async def _keep(self) -> None:
        delay = FIRST_DELAY
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                ending = _ending(await self._live())
            except OSError as error:
                ending = f"could not be started: {error}"
            if self._stopping.is_set():
                break
            if time.monotonic() - started > STEADY:
                delay = FIRST_DELAY
            self._say(f"{ending}; starting it again in {delay:g} s")
            await _wait(self._stopping, delay)
            delay = min(2 * delay, LONGEST_DELAY)

    async def _live(self) -> int:
        """Runs the program once; returns its exit code."""
        read_end, write_end = os.pipe()
        pump = asyncio.create_task(self._pump(read_end))
        try:
            self._process = await asyncio.create_subprocess_exec(
                *tethered(self._program.command, self._program.nice),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, **self._program.environment},
                cwd=self._directory,
                start_new_session=True,
            )
        finally:
            os.close(write_end)
        if self._stopping.is_set():
            self._signal(signal.SIGTERM)
        code = await self._process.wait()
        # Its own children go with it.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        # The pipe ends with its last writer, which may be in a session of its own.
        await asyncio.wait((pump,), timeout=LAST_WORDS)
        return code

    async def _pump(self, descriptor: int) -> None:
        async for line in _lines(descriptor):
            if not any(noise in line for noise in self._program.noise):
                self._say(line)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)


class Labels:
    """Puts the name of a program before each line of it, in colour on a terminal."""

    def __init__(self, names: Sequence[str]) -> None:
        self._width = max(map(len, names), default=0)
        self._colours = {
            kind: COLOURS[i % len(COLOURS)]
            for i, kind in enumerate(dict.fromkeys(name.split()[0] for name in names))
        }
        self._coloured = (
            sys.stdout.isatty()
            and not os.environ.get("NO_COLOR")
            and os.environ.get("TERM", "dumb") != "dumb"
        )

    def under(self, name: str) -> Say:
        """Returns what prints a line of a program."""
        if _as_json():
            return lambda line: say(line, name)
        prefix = f"{name:{self._width}} │"
        if self._coloured:
            prefix = f"\x1b[{self._colours[name.split()[0]]}m{prefix}\x1b[0m"
        return lambda line: say(f"{prefix} {line}")


def say(line: str, program: str = "charloom") -> None:
    """Prints a line. If the terminal has gone away, the programs run on."""
    encoding = sys.stdout.encoding
    line = _record(line, program) if _as_json() else line
    with suppress(OSError):
        sys.stdout.write(f"{line}\n".encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()


def _as_json() -> bool:
    return os.environ.get(logs.VARIABLE) == "json"


def _record(line: str, program: str) -> str:
    """A program's line as JSON: its own record, or a new one around it."""
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        message = line.strip()
        record = {"time": timestamp(), "level": "info", "message": message}
    return json.dumps({"service": program} | record)


async def _lines(descriptor: int) -> AsyncIterator[str]:
    """Yields the lines that come through a pipe, and closes it at its end."""
    reader = asyncio.StreamReader()
    with open(descriptor, "rb", buffering=0) as pipe:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        rest = b""
        while chunk := await reader.read(LONGEST_LINE):
            *whole, rest = (rest + chunk).split(b"\n")
            if len(rest) > LONGEST_LINE:
                whole, rest = [*whole, rest], b""
            for line in whole:
                yield line.decode(errors="replace")
        if rest:
            yield rest.decode(errors="replace")
        transport.close()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def _ending(code: int) -> str:
    return f"ended with {code}" if code >= 0 else f"ended by {signal.Signals(-code).name}"

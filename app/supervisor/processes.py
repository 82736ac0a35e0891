"""Keeps programs running, and stops them in order.

A program is a command line. It runs in a session of its own, so that Ctrl-C reaches only the
supervisor, and tied to it, so that not even SIGKILL leaves one behind. Its lines are printed under
its name. When it ends it is started again, after a delay that doubles from half a second to five
minutes; after five short runs in a row it counts as failed, and says so with its last lines. The
rest runs on, unless the program is essential: then all are stopped. One that ends with
``os.EX_CONFIG`` has failed at once: no retry mends its settings. Programs start stage by stage,
each stage when the one before is ready or has failed to be, and stop in the opposite order.

Knows nothing of what the programs are, and nothing of HTTP or Redis.
"""

import asyncio
import json
import math
import os
import re
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from app.supervisor.errors import Misconfigured, UserError
from models.json_lines import parsed
from worker import logs
from worker.clock import timestamp
from worker.tether import tethered

GRACE = 15.0
"""Seconds from SIGTERM to SIGKILL, unless a program drains."""

FIRST_DELAY, LONGEST_DELAY = 0.5, 300.0
"""Seconds before an ended program is started again; doubled each time."""

LONGEST_DELAY_OF_KILLED = 4.0
"""The same for one that was killed from outside: it is promised back within 10."""

STEADY = 10.0
"""A program that ran for this many seconds is well: the delay starts over."""

FAILURES, KILLS = 5, 20
"""Short runs in a row after which a program has failed, and if the last one was killed."""

READY_SECONDS = 20.0
"""After which the next stage starts all the same."""

LAST_LINES = 8
"""Of a program that has failed."""

REMEMBERED = 1000
"""Lines of a program's short runs that are not printed again."""

POLL = 0.1
"""Seconds between two checks whether a program is ready."""

LAST_WORDS = 1.0
"""Seconds to wait for an ended program's last lines."""

LONGEST_LINE = 1 << 16
"""Bytes after which a line is passed on even if it does not end."""

COLOURS = (36, 33, 35, 32, 34)
"""Of the labels, as terminals number them."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One process to keep running.

    Attributes:
        environment: all of it; None is this process's own.
        nice: added to the supervisor's own niceness.
        ready: called, in a thread, until it is true.
        noise: lines that contain any of these are dropped.
        repair: called, in a thread, with the last lines of a short run; returns what it has mended,
            if anything.
        essential: without it, nothing else needs to run.
        drains: seconds for which it finishes what it does at SIGTERM, before its grace begins.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] | None = None
    nice: int = 0
    ready: Callable[[], bool] | None = None
    noise: Sequence[str] = ()
    repair: Callable[[Sequence[str]], str | None] | None = None
    essential: bool = False
    drains: float = 0.0


class Supervisor:
    """Runs ``stages`` of programs in ``directory`` until SIGINT, SIGTERM or SIGHUP.

    A second signal ends the waiting: programs that still run get SIGKILL.
    """

    def __init__(self, stages: Sequence[Sequence[Program]], directory: Path) -> None:
        self._stages = stages
        self._directory = directory
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._failure: UserError | None = None

    async def run(self, announce: Callable[[], None]) -> None:
        """Returns when all have ended. ``announce`` runs once, in a thread, when all are ready.

        Raises:
            Misconfigured: an essential program will not start with these settings.
            UserError: it failed.
        """
        labels = Labels([program.name for stage in self._stages for program in stage])
        kept: list[list[Keeper]] = []
        with self._signals():
            try:
                for stage in self._stages:
                    kept.append([Keeper(one, self._directory, labels, self._lose) for one in stage])
                    await asyncio.gather(*(self._ready(keeper) for keeper in kept[-1]))
                if not self._stopping.is_set():
                    await asyncio.to_thread(announce)
                await self._stopping.wait()
            finally:
                for keepers in reversed(kept):
                    await asyncio.gather(*(keeper.stop(self._hurry) for keeper in keepers))
        if self._failure:
            raise self._failure

    def stop(self) -> None:
        """Starts to stop; the second call hurries."""
        if self._stopping.is_set():
            self._hurry.set()
        else:
            say("stopping; press Ctrl-C again to kill")
            self._stopping.set()

    def _lose(self, reason: UserError) -> None:
        """Stops because an essential program failed."""
        if not self._stopping.is_set():
            self._failure = reason
            say("stopping")
            self._stopping.set()

    async def _ready(self, keeper: "Keeper") -> None:
        program = keeper.program
        deadline = time.monotonic() + READY_SECONDS
        while program.ready and not self._stopping.is_set() and not keeper.has_failed:
            if await asyncio.to_thread(program.ready):
                return
            if time.monotonic() > deadline:
                deadline = math.inf
                rest = "waiting for it" if program.essential else "going on without it"
                say(f"{program.name} is not ready after {READY_SECONDS:g} s; {rest}")
                if not program.essential:
                    return
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
    """Keeps one program running from construction to `stop`.

    ``lose`` is called with the reason if the program is essential and fails.
    """

    def __init__(
        self, program: Program, directory: Path, labels: "Labels", lose: Callable[[UserError], None]
    ) -> None:
        self.program = program
        self.has_failed = False
        self._directory = directory
        self._say = labels.under(program.name)
        self._lose = lose
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._short_runs = 0
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._said: set[str] = set()
        self._task = asyncio.create_task(self._keep())

    async def stop(self, hurry: asyncio.Event) -> None:
        """Sends SIGTERM; after the grace, or in a hurry, SIGKILL to all that it started."""
        self._stopping.set()
        self._signal(signal.SIGTERM)
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait(
            (self._task, hurried),
            timeout=GRACE + self.program.drains,
            return_when=asyncio.FIRST_COMPLETED,
        )
        hurried.cancel()
        if not self._task.done():
            self._signal(signal.SIGKILL)
        await self._task

    async def _keep(self) -> None:
        while not self._stopping.is_set():
            self._short_runs += 1
            self._last_lines.clear()
            settled = asyncio.get_running_loop().call_later(STEADY, self._settle)
            code = 1
            try:
                code = await self._live()
                ending = _ending(code)
            except OSError as error:
                ending = f"could not be started: {error}"
                self._last_lines.append(ending)
            finally:
                settled.cancel()
            if not self._stopping.is_set():
                await self._begin_again(ending, code)

    def _settle(self) -> None:
        """It has run for long enough."""
        if self.has_failed:
            self._say("is well again")
        self._short_runs = 0
        self.has_failed = False
        self._said.clear()

    async def _begin_again(self, ending: str, code: int) -> None:
        # Doubled more often, it would not fit into a float at some time.
        delay = FIRST_DELAY * 2 ** min(max(0, self._short_runs - 1), 20)
        is_hopeless = code == os.EX_CONFIG
        if is_hopeless:
            delay = LONGEST_DELAY
        if code == -signal.SIGKILL and self._short_runs < KILLS:
            delay = min(delay, LONGEST_DELAY_OF_KILLED)
            self._said.clear()
        elif (self._short_runs >= FAILURES or is_hopeless) and not self.has_failed:
            self._fail(ending, Misconfigured if is_hopeless else UserError)
            if self.program.essential:
                return
        elif self._short_runs and self.program.repair and not self.has_failed:
            mended = await asyncio.to_thread(self.program.repair, list(self._last_lines))
            if mended:
                self._say(mended)
        delay = min(delay, LONGEST_DELAY)
        self._say(f"{ending}; starting it again in {delay:g} s")
        await _wait(self._stopping, delay)

    def _fail(self, ending: str, error: type[UserError]) -> None:
        self.has_failed = True
        lines = list(self._last_lines) or ["(nothing)"]
        if self._short_runs > 1:
            ending = f"{ending}, {self._short_runs} times in a row"
        self._say(f"failed: {ending}. It last said:")
        for line in lines:
            self._say(f"  {line}")
        if self.program.essential:
            self._stopping.set()
            reason = f"{ending}; it last said: {_gist(lines[-1])}. Correct that and start again"
            self._lose(error(f"the {self.program.name} has failed: {reason}"))
        else:
            self._say(
                "the rest runs on without it. It is tried again less and less often, at most "
                f"every {LONGEST_DELAY / 60:g} min; once that is corrected, a restart brings it "
                "back at once"
            )

    async def _live(self) -> int:
        """Runs the program once; returns its exit code."""
        read_end, write_end = os.pipe()
        pump = asyncio.create_task(self._pump(read_end))
        environment = self.program.environment
        try:
            self._process = await asyncio.create_subprocess_exec(
                *tethered(self.program.command, self.program.nice),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=asyncio.subprocess.STDOUT,
                env=None if environment is None else dict(environment),
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
            if any(noise in line for noise in self.program.noise):
                continue
            if line.strip():
                self._last_lines.append(line)
            if not self._has_said(line):
                self._say(line)

    def _has_said(self, line: str) -> bool:
        """Whether a short run before this one said the same, but for numbers such as times."""
        shape = re.sub(r"\d+", "0", line)
        if self._short_runs > 1 and shape in self._said:
            return True
        if self._short_runs and len(self._said) < REMEMBERED:
            self._said.add(shape)
        return False

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
        record = parsed(line)
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


def _gist(line: str) -> str:
    """A line for people: of a record in JSON, its message, or the last line of its traceback."""
    try:
        record = parsed(line)
    except ValueError:
        record = None
    if isinstance(record, dict):
        line = str(record.get("exception") or record.get("message", line)).strip().split("\n")[-1]
    return line.strip().rstrip(".")

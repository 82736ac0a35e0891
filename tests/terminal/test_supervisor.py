"""The supervisor brings back what dies, ends all in order, and never leaves a process behind.

Everything is real but the services, which are a few lines each.
"""

import fcntl
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs the kernel to tie processes")

SUPERVISE = """
import asyncio, sys
from pathlib import Path
from app.supervisor.processes import Service, Supervisor

def child(name, script, **options):
    return Service(name=name, command=[sys.executable, "-uc", script, name], **options)

POLITE = '''
import os, signal, sys
def bye(*_):
    print("going")
    with open("journal", "a") as journal:
        journal.write(sys.argv[1] + chr(10))
    sys.exit(0)
signal.signal(signal.SIGTERM, bye)
print("pid", os.getpid(), "session", os.getsid(0), "nice", os.nice(0))
while True: signal.pause()
'''
STUBBORN = POLITE.replace("bye)", "lambda *_: print('no'))")
PARENT = '''
import os, subprocess, signal
print("pid", subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL).pid)
while True: signal.pause()
'''
"""

BRING_UP = """
import sys
from pathlib import Path
from app.supervisor.up import Options, bring_up

SERVER = '''
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()
    def log_message(self, *_): pass
print("pid", os.getpid(), *(os.environ["CHARLOOM_" + name] for name in ("DATA", "INSECURE")))
address = os.environ["CHARLOOM_HOST"], int(os.environ["CHARLOOM_PORT"])
http.server.HTTPServer(address, Handler).serve_forever()
'''
WORKER = '''
import os, signal, redis
with redis.Redis.from_url(os.environ["CHARLOOM_REDIS_URL"]) as client:
    print("pid", os.getpid(), "nice", os.nice(0), "redis", client.info("server")["process_id"])
while True: signal.pause()
'''
options = Options("127.0.0.1", 0, Path(sys.argv[1]), workers=2)
bring_up(options, [sys.executable, "-c", SERVER], [sys.executable, "-c", WORKER])
"""


class Run:
    """A supervisor in a process of its own. It is killed after a while rather than waited for."""

    def __init__(self, script: str, directory: Path, *arguments: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        for name in [name for name in environment if name.startswith("CHARLOOM_")]:
            del environment[name]
        self.directory = directory
        # What services say comes in any order.
        self._unmatched: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._watchdog = threading.Timer(20, self.process.kill)
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


Supervise = Callable[[str], Run]


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    runs: list[Run] = []

    def supervised(stages: str) -> Run:
        run = f"Supervisor({stages}, Path.cwd()).run(lambda: print('all ready', flush=True))"
        runs.append(Run(f"{SUPERVISE}\nasyncio.run({run})", tmp_path))
        return runs[-1]

    yield supervised
    for run in runs:
        run.close()


@pytest.fixture
def brought_up(tmp_path: Path) -> Iterator[Run]:
    run = Run(BRING_UP, tmp_path, str(tmp_path / "data"))
    yield run
    run.close()


class Watched:
    """Processes that are not our children, whose end can still be awaited."""

    def __init__(self, *pids: int) -> None:
        self._descriptors = [os.pidfd_open(pid) for pid in pids]

    def end(self) -> bool:
        """Whether all have ended, at the latest some seconds from now."""
        ended = [bool(select.select([one], [], [], 5)[0]) for one in self._descriptors]
        for descriptor in self._descriptors:
            os.close(descriptor)
        return all(ended)


def test_what_is_killed_is_started_again_and_it_says_so(supervise: Supervise) -> None:
    run = supervise("[[child('worker', POLITE)]]")
    first = run.pid("worker")
    os.kill(first, signal.SIGKILL)
    run.until(r"worker │ ended by SIGKILL; starting it again in 0.5 s")
    assert run.pid("worker") != first


def test_what_cannot_be_started_is_tried_again_ever_later(supervise: Supervise) -> None:
    run = supervise("[[Service(name='worker', command=['/nowhere'])]]")
    run.until("worker │ cannot start /nowhere: No such file or directory")
    run.until(r"worker │ ended with 1; starting it again in 0.5 s")
    run.until(r"worker │ ended with 1; starting it again in 1 s")


@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stages_stop_in_the_opposite_order(
    supervise: Supervise, tmp_path: Path, ends: signal.Signals
) -> None:
    run = supervise("[[child(name, POLITE)] for name in ('redis', 'worker', 'server')]")
    for name in ("redis", "worker", "server"):
        run.pid(name)
    run.process.send_signal(ends)
    assert run.end() == 0
    assert (tmp_path / "journal").read_text().split() == ["server", "worker", "redis"]


def test_a_stage_starts_when_the_one_before_is_ready(supervise: Supervise) -> None:
    run = supervise(
        "[[child('redis', POLITE, ready=lambda: print('asked', flush=True) or Path('up').exists())"
        "], [child('server', POLITE)]]"
    )
    run.pid("redis")
    run.until("asked")
    (run.directory / "up").touch()
    run.pid("server")
    run.until("all ready")


def test_ctrl_c_in_the_terminal_reaches_the_supervisor_alone(supervise: Supervise) -> None:
    run = supervise("[[child('worker', POLITE, nice=3)]]")
    pid, session, nice = run.until(r"pid (\d+) session (\d+) nice (\d+)").groups()
    assert pid == session
    assert int(nice) == os.nice(0) + 3


def test_a_second_signal_kills_what_does_not_end(supervise: Supervise) -> None:
    run = supervise("[[child('worker', STUBBORN)]]")
    pid = run.pid("worker")
    run.process.send_signal(signal.SIGINT)
    run.until("worker │ no")
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@LINUX
def test_what_a_service_has_started_ends_with_it(supervise: Supervise) -> None:
    run = supervise("[[child('worker', PARENT)]]")
    started = Watched(run.pid("worker"))
    run.process.send_signal(signal.SIGTERM)
    assert run.end() == 0
    assert started.end()


@LINUX
def test_nothing_outlives_a_killed_supervisor(supervise: Supervise) -> None:
    run = supervise("[[child('redis', POLITE)], [child('worker', STUBBORN)]]")
    left = Watched(run.pid("redis"), run.pid("worker"))
    run.process.kill()
    assert left.end()


def test_no_output_of_a_service_ends_the_supervisor(supervise: Supervise) -> None:
    script = "import os; os.write(1, b'x' * 300000 + b'\\\\n\\\\xff\\\\n'); print('done'); input()"
    run = supervise(f'[[child("worker", "{script}")]]')
    run.until("worker │ \ufffd")
    run.until("worker │ done")


def test_up_tells_where_it_is_and_how_to_use_it(brought_up: Run, tmp_path: Path) -> None:
    nice = brought_up.until(r"worker [12] │ pid \d+ nice (\d+)")[1]
    assert int(nice) == min(19, os.nice(0) + 10)
    brought_up.until(rf"server   │ pid \d+ {tmp_path}/data 0")
    url = brought_up.until(r"charloom is at (http://127.0.0.1:\d+)")[1]
    assert (tmp_path / "data" / "charloom.lock").read_text() == f"{brought_up.process.pid} {url}\n"
    brought_up.until("device +(CPU, |.*NVIDIA)")
    brought_up.until(f"data +{tmp_path}/data")
    brought_up.until(f"curl --data-binary @your.txt '{url}/train")
    brought_up.until(f"curl -N '{url}/sample")
    brought_up.process.send_signal(signal.SIGINT)
    assert brought_up.end() == 0
    assert not list((tmp_path / "data" / "redis").glob("socket"))


@LINUX
def test_nothing_outlives_a_killed_up_and_the_next_one_starts(
    brought_up: Run, tmp_path: Path
) -> None:
    worker, redis = brought_up.until(r"worker [12] +│ pid (\d+) nice \d+ redis (\d+)").groups()
    left = Watched(int(worker), int(redis), brought_up.pid("server"))
    redis_socket = Path((tmp_path / "data" / "redis" / "socket").read_text())
    brought_up.process.kill()
    assert left.end()
    again = Run(BRING_UP, tmp_path, str(tmp_path / "data"))
    again.until("charloom is at")
    assert not redis_socket.parent.exists()
    again.process.send_signal(signal.SIGTERM)
    assert again.end() == 0
    again.close()


def refused(*arguments: str | Path, **environment: str) -> str:
    """What `charloom up` says in its one line when it does not start."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CHARLOOM_")}
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "up", *arguments],
        cwd=ROOT,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    return done.stderr


def test_a_second_up_on_the_same_data_names_the_first(tmp_path: Path) -> None:
    with (tmp_path / "charloom.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("123 http://127.0.0.1:8000\n")
        lock.flush()
        said = refused("--data", tmp_path)
    assert said == "charloom: already running at http://127.0.0.1:8000 (pid 123)\n"


def test_a_port_in_use_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused("--data", tmp_path, "--port", str(port))
    assert said == f"charloom: cannot listen on 127.0.0.1, port {port}: Address already in use\n"
    assert [path.name for path in tmp_path.iterdir()] == ["charloom.lock"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_without_keys_it_listens_on_loopback_alone(tmp_path: Path, host: str) -> None:
    said = refused("--data", tmp_path, "--host", host)
    assert said == (
        f"charloom: refusing {host} without keys: set CHARLOOM_API_KEYS, or say --insecure\n"
    )


@pytest.mark.parametrize("leave", [{"CHARLOOM_API_KEYS": "k:admin"}, {"CHARLOOM_INSECURE": "1"}])
def test_with_keys_or_told_to_it_listens_elsewhere(tmp_path: Path, leave: dict[str, str]) -> None:
    # An address that is reserved for documentation, hence nobody's: it gets as far as binding.
    said = refused("--data", tmp_path, "--host", "192.0.2.1", **leave)
    assert "cannot listen on 192.0.2.1, port 8000" in said


def test_a_data_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = refused("--data", tmp_path / "file" / "data")
    assert said.startswith(f"charloom: cannot keep data in {tmp_path}/file/data: ")

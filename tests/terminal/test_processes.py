"""The supervisor brings back what dies, ends all in order, and never leaves a process behind."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.supervisor.errors import UserError
from app.supervisor.processes import data_lock, running_url
from tests.supervised import LINUX, Run, Watched

SUPERVISE = """
import asyncio, sys
from pathlib import Path
from app.supervisor.processes import Program, Supervisor

def child(name, script, **options):
    return Program(name=name, command=[sys.executable, "-uc", script, name], **options)

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


def test_what_is_killed_is_started_again_and_it_says_so(supervise: Supervise) -> None:
    run = supervise("[[child('worker', POLITE)]]")
    first = run.pid("worker")
    os.kill(first, signal.SIGKILL)
    run.until(r"worker │ ended by SIGKILL; starting it again in 0.5 s")
    assert run.pid("worker") != first


def test_what_cannot_be_started_is_tried_again_ever_later(supervise: Supervise) -> None:
    run = supervise("[[Program(name='worker', command=['/nowhere'])]]")
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


def test_looking_whether_a_service_runs_keeps_none_from_starting(tmp_path: Path) -> None:
    for _ in range(200):
        running_url(tmp_path)
        with data_lock(tmp_path, "http://one"):
            assert running_url(tmp_path) == "http://one"
    assert running_url(tmp_path) is None


def test_a_held_directory_names_its_holder(tmp_path: Path) -> None:
    with (
        data_lock(tmp_path, "http://one"),
        pytest.raises(UserError, match=rf"^already running at http://one \(pid {os.getpid()}\)$"),
        data_lock(tmp_path, "http://two"),
    ):
        pass

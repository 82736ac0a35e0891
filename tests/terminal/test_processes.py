"""The supervisor brings back what dies, ends all in order, and never leaves a process behind."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.supervised import LINUX, Run, Watched

SUPERVISE = """
import asyncio, signal, sys
from pathlib import Path
from app.supervisor import processes
from app.supervisor.processes import Program, Supervisor

# However busy the machine is, nothing is killed for being slow.
processes.GRACE = 120

# Under nohup we inherit that it is ignored, which a test below is about.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

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


POLITE_IN_ONE_LINE = "import signal; signal.pause()"

Supervise = Callable[..., Run]


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    runs: list[Run] = []

    def supervised(stages: str, before: str = "", **constants: float) -> Run:
        run = f"Supervisor({stages}, Path.cwd()).run(lambda: print('all ready', flush=True))"
        given = "".join(f"processes.{name} = {value}\n" for name, value in constants.items())
        runs.append(Run(f"{SUPERVISE}\n{given}{before}\nasyncio.run({run})", tmp_path))
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


def test_what_cannot_be_started_is_tried_again_ever_later_and_fails(supervise: Supervise) -> None:
    run = supervise(
        "[[Program(name='worker', command=['./nowhere'])], [child('server', POLITE)]]",
        FIRST_DELAY=0.05,
    )
    server = run.pid("server")
    run.until("worker │ cannot start ./nowhere: No such file or directory")
    for delay in ("0.05", "0.1", "0.2", "0.4"):
        run.until(rf"worker │ ended with 1; starting it again in {delay} s")
    run.until("worker │ failed: ended with 1, 5 times in a row. It last said:")
    run.until("worker │   cannot start ./nowhere: No such file or directory")
    run.until("worker │ the rest runs on without it.*at most every 5 min")
    run.until("worker │ ended with 1; starting it again in 0.8 s")
    os.kill(server, 0)
    run.process.send_signal(signal.SIGTERM)
    assert run.end() == 0
    assert run.said.count("cannot start ./nowhere") == 2


CRASH = "import sys; print('at', __import__('time').time()); sys.exit('no such thing')"


def test_the_failure_of_what_is_essential_ends_all(supervise: Supervise, tmp_path: Path) -> None:
    run = supervise(
        f'[[child("redis", POLITE)], [child("server", "{CRASH}", essential=True)]]',
        FIRST_DELAY=0.01,
    )
    run.until("server │ failed: ended with 1, 5 times in a row")
    assert run.end() == 1
    assert (tmp_path / "journal").read_text().split() == ["redis"]
    assert re.search(
        "UserError: the server has failed: ended with 1, 5 times in a row; it last said: no such "
        "thing. Correct that and start again$",
        run.said,
    )
    # Printed when it came first, and again as its last words; its times differ.
    assert len(re.findall(r"server │ +no such thing", run.said)) == 2
    assert len(re.findall(r"server │ +at \d", run.said)) == 2


def test_wrong_settings_are_not_tried_again(supervise: Supervise) -> None:
    wrong = "import os, sys; print('THREADS must be a number'); sys.exit(os.EX_CONFIG)"
    run = supervise(f'[[child("worker", "{wrong}"), child("server", POLITE)]]')
    run.until("worker │ failed: ended with 78. It last said:")
    run.until("worker │   THREADS must be a number")
    run.until("worker │ ended with 78; starting it again in 300 s")
    run = supervise(f'[[child("server", "{wrong}", essential=True)]]')
    assert run.end() == 1
    assert (
        "Misconfigured: the server has failed: ended with 78; it last said: THREADS must be a "
        "number" in run.said
    )


def test_what_failed_is_tried_at_long_intervals_and_can_come_back(
    supervise: Supervise, tmp_path: Path
) -> None:
    script = f"import os; os.path.exists('mended') or exit(7); {POLITE_IN_ONE_LINE}"
    run = supervise(f'[[child("worker", "{script}")]]', FIRST_DELAY=0.01, STEADY=0.5)
    run.until("worker │ failed: ended with 7, 5 times in a row")
    (tmp_path / "mended").touch()
    run.until("worker │ is well again")


def test_what_is_killed_from_outside_comes_back_soon_however_often(supervise: Supervise) -> None:
    run = supervise("[[child('worker', POLITE)]]", FIRST_DELAY=0.01, LONGEST_DELAY_OF_KILLED=0.02)
    for _ in range(8):
        os.kill(run.pid("worker"), signal.SIGKILL)
        run.until(r"worker │ ended by SIGKILL; starting it again in 0.0[12] s")
    run.pid("worker")
    assert "failed" not in run.said


def test_what_can_be_repaired_is_and_says_so(supervise: Supervise) -> None:
    run = supervise(f'[[child("redis", "{CRASH}", repair=lambda lines: f"mended {{lines[-1]}}")]]')
    run.until("redis │ mended no such thing")


def test_a_stage_that_is_never_ready_holds_up_the_next_for_a_while_only(
    supervise: Supervise,
) -> None:
    run = supervise(
        "[[child('redis', POLITE, ready=lambda: False)], [child('server', POLITE)]]",
        READY_SECONDS=0.2,
    )
    run.until("redis is not ready after 0.2 s; going on without it")
    run.pid("server")
    run.until("all ready")


@LINUX
def test_a_supervisor_that_was_stopped_starts_nothing_twice(supervise: Supervise) -> None:
    run = supervise("[[child('redis', POLITE)], [child('worker', POLITE)]]", STEADY=0.1)
    redis, worker = run.pid("redis"), run.pid("worker")
    for one in (worker, run.process.pid):
        os.kill(one, signal.SIGSTOP)
    killed = Watched(redis)
    os.kill(redis, signal.SIGKILL)
    assert killed.end()
    for one in (worker, run.process.pid):
        os.kill(one, signal.SIGCONT)
    assert run.pid("redis") != redis
    os.kill(worker, 0)
    run.process.send_signal(signal.SIGTERM)
    assert run.end() == 0
    assert run.said.count("starting it again") == 1


def test_under_nohup_the_end_of_the_terminal_ends_nothing(supervise: Supervise) -> None:
    run = supervise(
        "[[child('worker', POLITE)]]", before="signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    )
    pid = run.pid("worker")
    run.process.send_signal(signal.SIGHUP)
    os.kill(pid, signal.SIGKILL)
    assert run.pid("worker") != pid
    assert "stopping" not in run.said


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


def test_a_line_that_is_nested_too_deeply_is_a_line(supervise: Supervise) -> None:
    """Where lines are records, and in the reason why a program has failed."""
    as_json = "import os; os.environ['CHARLOOM_LOG'] = 'json'"
    script = "print('[' * 30000)"
    run = supervise(f'[[child("server", "{script}", essential=True)]]', as_json, FAILURES=1)
    run.until("the server has failed: ended with 0; it last said: \\[\\[\\[")

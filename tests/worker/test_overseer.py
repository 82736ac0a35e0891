"""A process that hangs is killed once it should end, or after a long time; its words are kept."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from tests.serving import eventually
from tests.support import Horses, MakeJob, StartWorker, WorkerProcess, all_events, events_until
from tests.training import LONG, is_at, last_id
from worker.jobs import JobStore
from worker.queue import Queue
from worker.reconciler import Reconciler
from worker.trainer import overseer, stop
from worker.trainer.overseer import Overseer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs to see processes")


@pytest.fixture
def oversee() -> Iterator[Any]:
    """Starts a process that runs some code, and watches it."""
    with ExitStack() as held:

        def start(code: str, reason: stop.Reason | None = None) -> Overseer:
            output, its_output = os.pipe()
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-c", code],
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, its_output, 2)],
                setpgroup=0,
            )
            os.close(its_output)
            watched = Overseer(pid, output, lambda: reason)
            held.callback(watched.close)
            return watched

        yield start


def test_the_end_and_the_last_words_are_known(oversee: Any) -> None:
    watched = oversee("import os; os.write(2, b'one\\ntwo\\n'); os._exit(3)")
    pid, status, _ = watched.wait()
    assert os.waitstatus_to_exitcode(status) == 3
    assert watched.printed == b"one\ntwo\n"
    assert watched.wait()[0] == pid


def test_only_whole_last_lines_are_kept(oversee: Any) -> None:
    watched = oversee("import os\nfor n in range(9999): os.write(2, b'line %d\\n' % n)")
    watched.wait()
    assert watched.printed.endswith(b"line 9998\n")
    assert watched.printed.startswith(b"line ")
    assert len(watched.printed) <= overseer.MAX_KEPT


def test_who_closes_the_output_and_lives_on_is_waited_for(oversee: Any) -> None:
    watched = oversee("import os, time; os.close(2); time.sleep(0.2); os._exit(4)")
    assert os.waitstatus_to_exitcode(watched.wait()[1]) == 4


@pytest.mark.parametrize("code", ["import time; time.sleep(60)", "while True: pass"])
@pytest.mark.parametrize("reason", ["cancel", "shutdown"])
def test_who_does_not_heed_is_killed(
    oversee: Any, monkeypatch: pytest.MonkeyPatch, code: str, reason: stop.Reason
) -> None:
    monkeypatch.setattr(overseer, "TICK", 0.01)
    monkeypatch.setattr(overseer, "PATIENCE", {"cancel": 0.05, "shutdown": 0.05})
    assert os.waitstatus_to_exitcode(oversee(code, reason).wait()[1]) == -signal.SIGKILL


def test_who_does_nothing_for_long_is_killed(oversee: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overseer, "TICK", 0.01)
    monkeypatch.setattr(overseer, "STUCK_SECONDS", 0.2)
    waits = oversee("import signal; signal.pause()")
    assert os.waitstatus_to_exitcode(waits.wait()[1]) == -signal.SIGKILL
    computes = "import time\nend = time.process_time() + 2\nwhile time.process_time() < end: pass"
    monkeypatch.setattr(overseer, "STUCK_SECONDS", 1)
    # On a busy machine it gets little of a second.
    monkeypatch.setattr(overseer, "IDLE_SECONDS", 0)
    assert os.waitstatus_to_exitcode(oversee(computes).wait()[1]) == 0


def test_what_its_children_compute_counts(oversee: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several devices, each is computed for by a child; the parent only waits."""
    monkeypatch.setattr(overseer, "TICK", 0.01)
    monkeypatch.setattr(overseer, "STUCK_SECONDS", 1)
    # On a machine with much to do, a child does little in a second.
    monkeypatch.setattr(overseer, "IDLE_SECONDS", 0.02)
    busy = "import time\nend = time.process_time() + 2\nwhile time.process_time() < end: pass"
    waits = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"
    assert os.waitstatus_to_exitcode(oversee(waits).wait()[1]) == 0


def test_a_stopped_horse_can_be_cancelled_and_others_are_served(
    horses: Horses, start_worker: StartWorker, make_job: MakeJob, queue: Queue
) -> None:
    worker = start_worker()
    job, following = make_job(**LONG), make_job("other")
    horses.finish(following)
    queue.enqueue(job.id)
    queue.enqueue(following.id)
    events_until(queue, job, is_at(1))
    (horse,) = worker.horses()
    os.kill(horse, signal.SIGSTOP)
    assert job.request_cancel() is None
    assert all_events(queue, job)[-1].data == {"status": "cancelled", "error": None}
    assert all_events(queue, following)[-1].data["status"] == "finished"


def test_a_horse_that_is_stopped_at_its_start_can_be_cancelled(
    make_job: MakeJob, queue: Queue, horses: Horses, start_worker: StartWorker
) -> None:
    job = make_job(**LONG)
    horses.sabotage(job, "import signal; os.kill(os.getpid(), signal.SIGSTOP)")
    queue.enqueue(job.id)
    start_worker()
    eventually(lambda: horses.starts(job), 60)
    job.request_cancel()
    assert [event.event for event in all_events(queue, job)] == ["end"]
    assert job.status() == "cancelled"


def test_a_stopped_worker_loses_nothing_but_time(
    worker: WorkerProcess, make_job: MakeJob, queue: Queue, store: JobStore, redis_url: str
) -> None:
    """All that Redis knows of it runs out meanwhile; the kernel still knows."""
    job = make_job(**LONG)
    queue.enqueue(job.id)
    events_until(queue, job, is_at(1))
    (horse,) = worker.horses()
    for pid in (worker.pid, horse):
        os.kill(pid, signal.SIGSTOP)
    with redis.Redis.from_url(redis_url) as client:
        for pattern in ("rq:worker*", "rq:execution*", "rq:wip*"):
            for key in client.scan_iter(pattern):
                client.delete(key)
    assert Reconciler(queue, store).reconcile(0) == []
    for pid in (worker.pid, horse):
        os.kill(pid, signal.SIGCONT)
    events_until(queue, job, is_at(1), after=last_id(job))
    eventually(queue.workers, 20)
    assert worker.horses() == [horse]
    assert job.status() == "running"
    job.request_cancel()
    assert all_events(queue, job)[-1].data["status"] == "cancelled"

"""A cancel or a signal puts work down, even work that does not look."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.serving import eventually
from tests.support import ROOT, Horses, MakeJob, StartWorker, all_events, events_until
from tests.training import LONG, is_at, state
from worker.jobs import Job, JobStore
from worker.queue import Queue
from worker.trainer import attempt, stop
from worker.trainer.stop import PutDown, Stop


@pytest.mark.usefixtures("worker")
def test_a_cancel_ends_a_running_job_within_two_seconds(
    make_job: MakeJob, queue: Queue, store: JobStore
) -> None:
    job = make_job(**LONG)
    queue.enqueue(job.id)
    events_until(queue, job, is_at(1))
    began = time.monotonic()
    assert job.request_cancel() is None
    end = all_events(queue, job)[-1]
    assert time.monotonic() - began < 2
    assert end.data == {"status": "cancelled", "error": None}
    assert job.status() == "cancelled"

    # It can be resumed from there, and the worker is free for others.
    step = state(job)[1]["step"]
    job = store.resume(job.id, {})
    queue.enqueue(job.id)
    (progress,) = events_until(queue, job, is_at(1), after=end.id)
    assert progress.data["step"] == step + 1
    job.request_cancel()
    all_events(queue, job)


def test_a_cancel_need_not_wait_for_the_first_step(
    make_job: MakeJob, queue: Queue, horses: Horses, start_worker: StartWorker
) -> None:
    """Importing torch takes seconds, here for ever."""
    job = make_job(**LONG)
    slowly = """
import sys, time
class Slowly:
    def find_spec(name, path, target=None):
        if name == "torch":
            (here / "importing").touch()
            time.sleep(3600)
sys.meta_path.insert(0, Slowly)
"""
    horses.sabotage(job, slowly)
    queue.enqueue(job.id)
    start_worker()
    eventually((horses.directory / "importing").exists, 60)
    job.request_cancel()
    assert [event.event for event in all_events(queue, job)] == ["end"]
    assert job.status() == "cancelled"


@pytest.mark.usefixtures("settings")
def test_a_cancel_interrupts_what_does_not_look(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(max_steps=40, evaluate_every=20)

    asked: list[float] = []

    def endless(*_arguments: object) -> float:
        job.request_cancel()
        asked.append(time.monotonic())
        while True:
            time.sleep(0.01)

    monkeypatch.setattr("models.training.held_out.HeldOut.loss", endless)
    assert attempt.run(job.id) is None
    assert time.monotonic() - asked[0] < 2
    assert job.status() == "cancelled"


@pytest.fixture
def shutdown(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set as by a signal of ``SHUTDOWN``, in this test only."""
    asked = threading.Event()
    monkeypatch.setattr(stop, "_shutdown", asked)
    return asked


def test_work_that_looks_is_not_interrupted(job: Job) -> None:
    with Stop(job) as stopping:
        stopping.looks = True
        with job.lock():
            job.request_cancel()
        eventually(lambda: stopping.reason)
        stopping.acknowledge()
    assert stopping.reason == "cancel"


def test_a_signal_is_a_reason_too(job: Job, shutdown: threading.Event) -> None:
    with Stop(job) as stopping:
        stopping.looks = True
        assert stopping.reason is None
        shutdown.set()
        assert stop.is_shutdown()
        eventually(lambda: stopping.reason)
    assert stopping.reason == "shutdown"


def test_a_file_is_taken_for_a_signal(
    job: Job, shutdown: threading.Event, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stop, "_flag", None)
    stop.heed(tmp_path / "flag")
    with Stop(job) as stopping:
        stopping.looks = True
        assert not stop.is_shutdown()
        (tmp_path / "flag").touch()
        assert stop.is_shutdown() and not shutdown.is_set()
        eventually(lambda: stopping.reason)
    assert stopping.reason == "shutdown"


def test_the_first_reason_counts(job: Job, shutdown: threading.Event) -> None:
    with Stop(job) as stopping:
        stopping.looks = True
        shutdown.set()
        eventually(lambda: stopping.reason)
        with job.lock():
            job.request_cancel()
        stopping.acknowledge()
    assert stopping.reason == "shutdown"


def test_work_that_does_not_look_is_interrupted_until_it_is_put_down(
    job: Job, shutdown: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A destructor would lose the first interruption, as ``lost`` does."""
    monkeypatch.setattr(stop, "_AGAIN", 0.01)
    lost = 0
    with pytest.raises(PutDown), Stop(job):
        shutdown.set()
        while lost < 3:
            try:
                signal.pause()
            except PutDown:
                lost += 1
        signal.pause()
    assert lost == 3


def test_work_that_has_ended_is_not_interrupted(job: Job, shutdown: threading.Event) -> None:
    with Stop(job) as stopping:
        pass
    shutdown.set()
    assert stopping.reason is None
    assert signal.getsignal(signal.SIGUSR2) == signal.SIG_IGN


def test_a_signal_that_came_before_anybody_listened_counts() -> None:
    """As a worker starts it: with the signals blocked until the process listens."""
    code = (
        "import os, signal\n"
        "from worker.trainer import stop\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, stop.SHUTDOWN)\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\n"
        "assert not stop.is_shutdown()\n"
        "stop.listen()\n"
        "assert stop.is_shutdown()\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0

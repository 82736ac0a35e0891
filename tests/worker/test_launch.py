"""A job that several processes train ends, resumes and dies like any other."""

import os
import signal
import sys
from pathlib import Path

import pytest
import torch

from tests.serving import eventually
from tests.support import (
    MakeJob,
    StartWorker,
    WorkerProcess,
    all_events,
    events_until,
    is_alive,
)
from tests.training import LONG, is_at, kill_horse, last_id, notices, state
from worker.jobs import Job, JobStore
from worker.queue import Queue
from worker.settings import WorkerSettings
from worker.trainer import attempt, launch
from worker.trainer.failures import Death
from worker.trainer.launch import judged
from worker.trainer.outcome import Outcome

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs to see processes")

DEAD = Outcome("dead", death=Death.by_error(MemoryError()))
AGAIN, CANCELLED, FINISHED = Outcome("again"), Outcome("cancelled"), Outcome("finished")
GONE = Outcome("failed", {"title": "The corpus is gone", "detail": "Send it again."})


@pytest.fixture
def start_worker(
    start_worker: StartWorker, settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> StartWorker:
    """Starts workers of two threads, so that a job may have two processes. Tests have one."""

    def start() -> WorkerProcess:
        with monkeypatch.context() as patch:
            patch.setenv("CHARLOOM_THREADS", "2")
            return start_worker()

    assert settings.threads == 1
    return start


def ranks_of(worker: WorkerProcess) -> tuple[int, list[int]]:
    """The worker's horse, and the processes that it started."""
    (horse,) = worker.horses()
    children = Path(f"/proc/{horse}/task/{horse}/children").read_text().split()
    return horse, [int(pid) for pid in children]


def ports_of(pids: list[int]) -> set[str]:
    """The addresses, as the kernel writes them, at which these processes listen."""
    inodes = {
        str(link.readlink()).removeprefix("socket:[").removesuffix("]")
        for pid in pids
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if str(link.readlink()).startswith("socket:")
    }
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{pids[0]}/net/{table}").read_text().splitlines()[1:]
    ]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes}


def test_a_job_of_two_processes_is_put_down_and_resumed_by_any_number(
    start_worker: StartWorker, make_job: MakeJob, queue: Queue, store: JobStore
) -> None:
    options = {"max_steps": 300, "evaluate_every": 100, "sample_at": [150], "dropout": 0.2}
    undisturbed = make_job("undisturbed", **options)
    assert attempt.run(undisturbed.id) is None

    job = make_job("together", devices=2, **options)
    queue.enqueue(job.id)
    worker = start_worker()
    events_until(queue, job, is_at(100), timeout=120)
    horse, ranks = ranks_of(worker)
    assert len(ranks) == 2
    # Only this machine reaches what they exchange, and nobody but the horse has the lock.
    assert ports_of([horse, *ranks]) <= {"0100007F"}
    assert not any(holds(pid, job.lock_file) for pid in ranks)
    assert worker.terminate() == 0
    assert job.status() == "queued"
    assert 100 <= state(job)[1]["step"] < 300
    assert not any(is_alive(pid) for pid in (horse, *ranks))

    start_worker()
    assert all_events(queue, job, timeout=120)[-1].data["status"] == "finished"
    assert job.view()["device"] == "2 × CPU, 1 thread"
    assert_alike(job, undisturbed)
    assert not list(job.directory.glob(".ranks*"))

    for ended, raised in ((undisturbed, {}), (job, {"devices": 1})):
        store.resume(ended.id, {"max_steps": 340} | raised)
        assert attempt.run(ended.id) is None
    assert_alike(job, undisturbed)


def holds(pid: int, path: Path) -> bool:
    return any(link.readlink() == path for link in Path(f"/proc/{pid}/fd").iterdir())


def assert_alike(job: Job, other: Job) -> None:
    """But for the order in which sums are made."""
    (tensors, rest), (expected, expected_rest) = state(job), state(other)
    assert rest["step"] == expected_rest["step"]
    assert rest["best_loss"] == pytest.approx(expected_rest["best_loss"], abs=1e-4)
    assert tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(tensors[name], tensor, rtol=1e-2, atol=1e-3, msg=name)


def test_no_process_outlives_another(
    start_worker: StartWorker, make_job: MakeJob, queue: Queue
) -> None:
    job = make_job(devices=2, **LONG)
    queue.enqueue(job.id)
    worker = start_worker()
    events_until(queue, job, is_at(1), timeout=120)
    horse, ranks = ranks_of(worker)
    os.kill(ranks[1], signal.SIGKILL)
    events = events_until(queue, job, is_at(1), after=last_id(job), timeout=120)
    assert not any(is_alive(pid) for pid in (horse, *ranks))
    (setback,) = notices(events, "setback")
    assert "The training process was killed by SIGKILL (rank 1)" in setback["text"]

    horse, ranks = ranks_of(worker)
    kill_horse(horse)
    eventually(lambda: not any(is_alive(pid) for pid in ranks), 5)
    events_until(queue, job, is_at(1), after=last_id(job), timeout=120)

    horse, ranks = ranks_of(worker)
    assert job.request_cancel() is None
    assert all_events(queue, job, timeout=120)[-1].data == {"status": "cancelled", "error": None}
    eventually(lambda: not any(is_alive(pid) for pid in (horse, *ranks)), 5)
    assert state(job)[1]["step"] > 0


@pytest.mark.parametrize("ending", [FINISHED, CANCELLED])
def test_the_word_of_rank_0_counts_whatever_the_others_do(ending: Outcome) -> None:
    """It ends them, unless it has told them."""
    assert judged({0: ending}, {1: launch.LOST}, is_told=False) == ending


def test_a_shutdown_counts_if_the_worker_asked_for_one() -> None:
    """The agent asks for one as well, where another rank has died."""
    assert judged({0: AGAIN}, {1: launch.LOST}, is_told=True) == AGAIN
    died = judged({0: AGAIN}, {1: -signal.SIGKILL}, is_told=False)
    assert died.death and died.death.cause.endswith("killed by SIGKILL (rank 1)")


@pytest.mark.parametrize("outcome", [DEAD, GONE])
def test_what_a_rank_says_of_its_end_is_the_cause(outcome: Outcome) -> None:
    assert judged({1: outcome}, {0: launch.LOST, 1: 1}, is_told=False) == outcome


def test_a_rank_that_could_write_nothing_had_no_room() -> None:
    assert judged({}, {0: launch.FULL, 1: launch.LOST}, is_told=False).ending == "full"


def test_ranks_that_lost_each_other_died_of_nothing_known() -> None:
    died = judged({}, {0: launch.LOST, 1: launch.LOST}, is_told=False)
    assert died.death and "no known reason" in died.death.cause


def test_a_rank_that_aborts_beside_gpus_lost_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = {0: launch.LOST, 1: -signal.SIGABRT}
    died = judged({}, codes, is_told=False)
    assert died.death and not died.death.of_gpu
    monkeypatch.setenv("CHARLOOM_GPUS", "2")
    died = judged({}, codes, is_told=False)
    assert died.death and died.death.of_gpu and died.death.said == "rank 1 was aborted"


def test_an_outcome_is_there_whole(tmp_path: Path) -> None:
    launch.report(tmp_path, 1, GONE)
    assert [path.name for path in tmp_path.iterdir()] == ["outcome-1.json"]
    assert launch._outcomes(tmp_path, 2) == {1: GONE}

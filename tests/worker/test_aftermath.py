"""Whatever a job's process dies of: it is tried thrice, while others are served, then it ends."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import eventually
from tests.support import ROOT, Horses, MakeJob, StartWorker, all_events, events_until
from tests.training import LONG, error_of, is_at, kill_horse, last_id, notices
from worker.events import JobEvent
from worker.jobs import Job, JobStore
from worker.queue import Queue
from worker.settings import WorkerSettings
from worker.trainer import generations, tally
from worker.trainer.aftermath import Aftermath
from worker.trainer.failures import Death
from worker.trainer.handover import REDIS_LOST

DEATHS = {
    "torch cannot be imported": (
        "import sys; sys.modules['torch'] = None",
        "Training cannot start",
        "import of torch halted",
    ),
    "nothing of ours can be imported": (
        "import sys; sys.modules['worker.trainer.stop'] = None",
        "The training process died",
        "exited with code 1",
    ),
    "it exits": ("os._exit(7)", "The training process died", "exited with code 7"),
    "it exits as if all were well": ("os._exit(0)", "The training process died", "no known reason"),
    "it is killed": (
        "os.kill(os.getpid(), 9)",
        "The training process was killed",
        "killed by SIGKILL",
    ),
    "memory runs out": (
        "import sys; sys.stderr.write('MemoryError\\n'); os._exit(1)",
        "Not enough memory",
        "Memory ran out",
    ),
    "it is told to stop from outside": (
        "import sys; sys.path.insert(0, os.getcwd())\n"
        "from worker.trainer import attempt\n"
        "attempt._attempt = lambda *_: attempt.Outcome('again')",
        "The training process died",
        "no known reason",
    ),
}


def is_setback(event: JobEvent) -> bool:
    return event.event == "notice" and event.data["code"] == "setback"


def test_what_dies_before_its_first_step_is_tried_thrice(
    make_job: MakeJob, queue: Queue, horses: Horses, start_worker: StartWorker, data: Path
) -> None:
    victims = {name: make_job(f"victim-{n}") for n, name in enumerate(DEATHS)}
    for name, job in victims.items():
        horses.sabotage(job, DEATHS[name][0])
        queue.enqueue(job.id)
    healthy = make_job("healthy")
    horses.finish(healthy)
    queue.enqueue(healthy.id)
    start_worker()
    first = victims["it exits"]
    (setback,) = notices(events_until(queue, first, is_setback), "setback")
    assert "resumes by itself after 1 s, attempt 2 of 3" in setback["text"]
    # It waits its turn, as a new job does, and nobody waits for it.
    assert all_events(queue, healthy)[-1].data["status"] == "finished"
    for name, job in victims.items():
        _, title, words = DEATHS[name]
        end = all_events(queue, job)[-1]
        assert end.data["status"] == "failed", name
        assert end.data["error"]["title"] == title, name
        assert words in end.data["error"]["detail"], name
        assert f"POST /jobs/{job.id}/resume" in end.data["error"]["detail"]
        assert str(data) not in end.data["error"]["detail"]
        assert len(horses.starts(job)) == 3, name
        assert len(notices(job.events(), "setback")) == 2
    # The worker takes it out of the queue after it has told of the end.
    eventually(lambda: queue.waiting() == [])


def test_a_pause_outlives_the_worker_and_a_resume_heals(
    make_job: MakeJob, queue: Queue, horses: Horses, start_worker: StartWorker, store: JobStore
) -> None:
    job = make_job()
    horses.sabotage(job, "os._exit(7)")
    queue.enqueue(job.id)
    worker = start_worker()
    events_until(queue, job, is_setback)
    eventually(lambda: not job.is_locked())
    assert job.status() == "paused"
    assert "exited with code 7" in error_of(job)["detail"]
    worker.kill()
    start_worker()
    assert all_events(queue, job)[-1].data["status"] == "failed"
    assert len(horses.starts(job)) == 3
    horses.finish(job)
    job = store.resume(job.id, {})
    queue.enqueue(job.id)
    assert all_events(queue, job)[-1].data["status"] == "finished"


def test_an_interpreter_that_is_gone_is_tried_thrice(
    make_job: MakeJob, queue: Queue, settings: WorkerSettings, tmp_path: Path
) -> None:
    job = make_job()
    queue.enqueue(job.id)
    code = (
        f"import sys; sys.executable = {str(tmp_path / 'gone')!r}\n"
        "from worker import __main__\n"
        "from worker.trainer import rq_worker, tally\n"
        "rq_worker.LOST_SECONDS, tally.FIRST_PAUSE = 0, 0.1\n"
        "__main__.main()\n"
    )
    with (tmp_path / "log").open("w") as log:
        worker = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=log, stderr=log)
    try:
        end = all_events(queue, job)[-1]
    finally:
        worker.terminate()
        worker.wait(20)
    assert end.data["status"] == "failed"
    assert end.data["error"]["title"] == "Training cannot start"
    assert "No such file or directory" in end.data["error"]["detail"]
    assert str(tmp_path) not in end.data["error"]["detail"]
    assert settings.data.root.exists()


def test_progress_makes_up_for_deaths(
    make_job: MakeJob, queue: Queue, start_worker: StartWorker
) -> None:
    """It is continued before others: the pause is for what does not get further."""
    job = make_job(**{**LONG, "evaluate_every": 20})
    queue.enqueue(job.id)
    worker = start_worker()
    for n in range(2):
        step = generations.newest_step(job.state_directory)
        eventually(lambda: generations.newest_step(job.state_directory) > step, 60)  # noqa: B023
        queue.enqueue(make_job(f"other-{n}", max_steps=1).id)
        (horse,) = worker.horses()
        kill_horse(horse)
    events_until(queue, job, is_at(1), after=last_id(job))
    assert job.status() == "running"
    assert notices(job.events(), "setback") == []
    assert tally.Attempts.of(job).deaths <= 1
    job.request_cancel()
    all_events(queue, job)


@pytest.fixture
def aftermath(job: Job, queue: Queue) -> Aftermath:
    return Aftermath(job, queue)


def test_a_worker_that_was_told_to_stop_blames_nobody(job: Job, aftermath: Aftermath) -> None:
    for _ in range(5):
        assert aftermath.begin()
        aftermath.death = Death.of_process(9, b"")
        aftermath.settle(is_excused=True)
    assert job.status() == "queued"
    assert tally.Attempts.of(job).deaths == 0


def test_a_job_that_redis_lost_on_the_way_is_not_blamed(job: Job, aftermath: Aftermath) -> None:
    for _ in range(5):
        assert aftermath.begin()
        aftermath.status = REDIS_LOST << 8
        aftermath.death = Death.of_process(aftermath.status, b"")
        aftermath.settle(is_excused=False)
    assert job.status() == "queued"


def test_what_was_cancelled_ends_cancelled_whatever_it_died_of(
    job: Job, aftermath: Aftermath
) -> None:
    with job.lock():
        assert aftermath.begin()
        job.request_cancel()
        aftermath.death = Death.of_process(9, b"")
        aftermath.settle(is_excused=False)
    assert job.status() == "cancelled"


def test_what_was_cancelled_does_not_begin(job: Job, aftermath: Aftermath) -> None:
    with job.lock():
        job.request_cancel()
        assert not aftermath.begin()
    assert job.status() == "cancelled"


@pytest.mark.parametrize(("number", "status"), [(errno.EROFS, "queued"), (errno.ENOSPC, "paused")])
def test_an_attempt_that_cannot_be_counted_does_not_begin(
    number: int, status: str, job: Job, aftermath: Aftermath, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(job, "write", refused)
    assert not aftermath.begin()
    assert job.status() == status

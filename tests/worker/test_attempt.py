"""An attempt at a job ends it, asks for another, or waits for room on the disk."""

import errno
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from rq.job import Retry

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.inside import cells, results
from models.inside.cells import find_cells
from models.inside.results import read_cells
from tests.serving import eventually
from tests.support import MakeJob, all_events
from tests.training import error_of, rest_at
from worker.jobs import JobStore
from worker.queue import Queue
from worker.reconciler import Reconciler
from worker.settings import WorkerSettings
from worker.trainer import attempt, generations, session, stop


@pytest.mark.usefixtures("worker")
def test_a_finished_job_that_comes_again_does_nothing(make_job: MakeJob, queue: Queue) -> None:
    job = make_job()
    queue.enqueue(job.id)
    events, result = all_events(queue, job), job.result()
    queue.forget(job.id)
    assert queue.enqueue(job.id)
    following = make_job("other")
    queue.enqueue(following.id)
    all_events(queue, following)
    assert job.events() == events
    assert job.result() == result


@pytest.mark.usefixtures("worker")
def test_the_cells_of_the_best_checkpoint_are_looked_into(
    make_job: MakeJob, queue: Queue, data: Path
) -> None:
    job = make_job(max_steps=60, evaluate_every=20)
    queue.enqueue(job.id)
    checkpoints = [event for event in all_events(queue, job) if event.event == "checkpoint"]
    registry = Registry(data / "models")
    digests = {event.data["digest"] for event in checkpoints}
    best = registry.entry(Reference("toy")).digest
    found = eventually(lambda: read_cells(registry, "toy", best), 30)
    assert found == find_cells(registry.load("toy", best))
    assert len(digests) > 1
    assert not any(read_cells(registry, "toy", digest) for digest in digests - {best})


def test_an_ended_job_is_ended_whatever_comes_of_its_cells(
    make_job: MakeJob, settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    status: list[str] = []

    def failing(*_: Any) -> None:
        status.append(job.status())
        raise MemoryError

    monkeypatch.setattr(results, "find_cells", failing)
    job = make_job()
    assert attempt.run(job.id) is None
    assert status == ["finished"]
    assert job.status() == "finished"
    assert Registry(settings.data.models).entry(Reference("toy")).card["job_id"] == job.id


def test_a_worker_that_shall_stop_leaves_cells_to_others(
    make_job: MakeJob, settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job()
    monkeypatch.setattr(stop, "is_shutdown", lambda: job.result() is not None)
    monkeypatch.setattr(cells, "MIN_CHARACTERS", 100)
    assert attempt.run(job.id) is None
    assert job.status() == "finished"
    registry = Registry(settings.data.models)
    name, digest = "toy", registry.resolve(Reference("toy"))
    assert read_cells(registry, name, digest) is None


@pytest.mark.usefixtures("settings")
def test_a_full_disk_pauses_a_job_until_there_is_room(
    make_job: MakeJob,
    store: JobStore,
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = make_job(max_steps=40, evaluate_every=20)

    def full(*_arguments: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(generations, "save", full)
        assert attempt.run(job.id) is None
    view = job.view()
    assert view["status"] == "paused"
    assert error_of(job)["title"] == "The disk is full"
    assert Reconciler(queue, store).reconcile(0) == [job.id]
    assert attempt.run(job.id) is None
    assert job.view()["status"] == "finished"
    assert job.view()["error"] is None


def test_an_unforeseen_error_is_tried_thrice_and_told_without_paths(
    make_job: MakeJob, settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job()

    def broken(*_arguments: object) -> None:
        raise RuntimeError(f"in {settings.data.root}")

    monkeypatch.setattr(session, "train", broken)
    for _ in range(2):
        assert attempt.run(job.id) is None
        assert job.status() == "paused"
        assert "RuntimeError: in …" in error_of(job)["detail"]
    assert attempt.run(job.id) is None
    error = error_of(job)
    assert job.status() == "failed"
    assert error["title"] == "Training failed"
    assert str(settings.data.root) not in json.dumps(error)


@pytest.mark.usefixtures("settings")
def test_attempts_that_get_further_do_not_count(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(max_steps=40, evaluate_every=20)
    steps = itertools.count(1)

    def broken(*_arguments: object) -> None:
        generations.save(job.state_directory, {}, rest_at(next(steps)))
        raise MemoryError

    monkeypatch.setattr(session, "train", broken)
    for _ in range(5):
        assert isinstance(attempt.run(job.id), Retry)
    monkeypatch.setattr(session, "train", lambda *_: (_ for _ in ()).throw(MemoryError))
    for _ in range(2):
        assert attempt.run(job.id) is None
        assert error_of(job)["title"] == "Not enough memory"
    assert job.status() == "failed"


def test_a_corpus_that_is_gone_ends_the_job(
    make_job: MakeJob, settings: WorkerSettings, toy_corpus: str
) -> None:
    job = make_job()
    (settings.data.corpora / toy_corpus).rename(settings.data.corpora / ".gone")
    assert attempt.run(job.id) is None
    assert error_of(job)["title"] == "The corpus is gone"

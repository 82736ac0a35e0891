"""What a job tells is on disk first, and ``running.json`` has all that clients see of it."""

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from models.training.trainer import Evaluation, Progress
from worker.events import EventTail, JobEvent
from worker.jobs import Job
from worker.trainer import journal as journals
from worker.trainer.history import DIVERGED
from worker.trainer.journal import Journal


class Followers:
    """Stands for Redis: keeps what it is told, and what was on disk then."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.heard: list[tuple[JobEvent, list[JobEvent]]] = []

    def publish(self, job_id: str, event: JobEvent) -> None:
        assert job_id == self._job.id
        self.heard.append((event, EventTail(self._job.directory).read()))


@pytest.fixture
def followers(job: Job) -> Followers:
    return Followers(job)


@pytest.fixture
def journal(job: Job, followers: Followers) -> Iterator[Journal]:
    with job.lock():
        yield Journal(job, followers, "CPU")


def progress_at(step: int, elapsed: float = 1.0) -> Progress:
    return Progress(step, 100, 0.5, torch.tensor(2.0), 0.01, elapsed, 1000.0, 9.0)


@pytest.mark.usefixtures("journal")
def test_construction_writes_nothing(job: Job) -> None:
    assert sorted(p.name for p in job.directory.iterdir()) == ["lock", "reserve", "spec.json"]
    assert job.running() == {}


def test_an_event_is_on_disk_before_anybody_hears_of_it(
    journal: Journal, followers: Followers
) -> None:
    journal.evaluation(Evaluation(10, 2.0, True))
    journal.progress(progress_at(10), 2.1, 2.0)
    journal.sample({"step": 10, "temperature": 1.0, "text": "a"})
    journal.checkpoint({"step": 10, "model": "m:latest", "digest": "d", "val_loss": 2.0})
    journal.notice({"code": "c", "text": "t"})
    assert [event.event for event, _ in followers.heard] == [
        "evaluation",
        "progress",
        "sample",
        "checkpoint",
        "notice",
    ]
    for event, on_disk in followers.heard:
        assert on_disk[-1] == event


def test_progress_says_how_training_stands(job: Job, journal: Journal) -> None:
    journal.update(needs_bytes=7)
    journal.progress(progress_at(5), 3.0, math.inf)
    first = job.running()["progress"]
    assert first and first["best_val_loss"] is first["val_loss"] is first["bpc"] is None
    journal.evaluation(Evaluation(10, 2.0, True))
    journal.progress(progress_at(10), 2.1, 2.0)
    assert job.running()["progress"] == {
        "step": 10,
        "max_steps": 100,
        "epoch": 0.5,
        "train_loss": 2.1,
        "val_loss": 2.0,
        "best_val_loss": 2.0,
        "bpc": pytest.approx(2.0 / math.log(2)),
        "learning_rate": 0.01,
        "chars_per_second": 1000.0,
        "elapsed_seconds": 1.0,
        "eta_seconds": 9.0,
    }
    assert job.running()["needs_bytes"] == 7
    assert job.events()[-1].data == job.running()["progress"]
    assert journal.history.lines() == [
        {"step": 5, "train_loss": 3.0, "val_loss": None},
        {"step": 10, "train_loss": 2.1, "val_loss": 2.0},
    ]


def test_an_attempt_takes_up_what_the_one_before_said(job: Job, followers: Any) -> None:
    first = Journal(job, followers, "CPU, 1 thread")
    first.update(options={"hidden_size": 8}, baseline=None)
    first.progress(progress_at(5), 3.0, math.inf)
    before = job.running()
    job.set_running({**before, "paused": {"title": "The disk is full", "detail": ""}})
    assert job.status() == "paused"

    Journal(job, followers, "a GPU").update(needs_bytes=9)
    after = job.running()
    assert "paused" not in after
    assert after == {**before, "device": "a GPU", "needs_bytes": 9}


def test_progress_is_told_at_intervals_that_grow(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(journals, "time", SimpleNamespace(monotonic=lambda: now[0]))
    assert journal.progress_is_due
    for elapsed, interval in ((1.0, 0.5), (100.0, 0.5), (2000.0, 2.0)):
        journal.progress(progress_at(1, elapsed), 2.0, math.inf)
        now[0] += interval - 0.01
        assert not journal.progress_is_due
        now[0] += 0.02
        assert journal.progress_is_due
    journal.progress(progress_at(2), 2.0, math.inf)
    journal.rewind(1)
    assert journal.progress_is_due


def test_rewound_it_goes_by_what_is_on_disk(journal: Journal) -> None:
    for step, loss in ((10, 3.0), (20, 2.0)):
        journal.evaluation(Evaluation(step, loss, True))
    journal.rewind(10)
    assert journal.history.last_val_loss() == 3.0
    journal.notice({"code": DIVERGED, "text": "", "step": 10})
    journal.rewind(20)
    assert [line["step"] for line in journal.history.lines()] == [10]

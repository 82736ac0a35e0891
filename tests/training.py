"""What tests of training share: when a job is where, what it told, and whether two went alike."""

import os
import signal
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from models.checkpoints.card import BaselineFigures
from models.checkpoints.history import HistoryPoint
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.training.trainer import TrainerState
from tests.serving import eventually
from tests.support import all_events, is_alive
from worker.events import ErrorText, JobEvent, ProgressData
from worker.jobs import Job
from worker.queue import Queue
from worker.settings import WorkerSettings
from worker.trainer import generations

LONG: dict[str, Any] = {"max_steps": 1_000_000, "evaluate_every": 1_000_000, "sample_at": []}
"""Options of a job whose end no test waits for."""


def is_at(step: int) -> Callable[[JobEvent], bool]:
    return lambda event: event.event in ("progress", "evaluation") and event.data["step"] >= step


def evaluation_at(step: int) -> Callable[[JobEvent], bool]:
    return lambda event: event.event == "evaluation" and event.data["step"] >= step


def last_id(job: Job) -> int:
    return max((event.id for event in job.events()), default=0)


def notices(events: Iterable[JobEvent], code: str) -> list[Mapping[str, Any]]:
    return [e.data for e in events if e.event == "notice" and e.data["code"] == code]


def progress_of(job: Job) -> ProgressData:
    progress = job.view()["progress"]
    assert progress
    return progress


def error_of(job: Job) -> ErrorText:
    error = job.view()["error"]
    assert error
    return error


def baseline_of(job: Job) -> BaselineFigures:
    baseline = job.view()["baseline"]
    assert baseline
    return baseline


def kill_horse(horse: int) -> None:
    os.kill(horse, signal.SIGKILL)
    wait_for_death(horse)


def wait_for_death(pid: int) -> None:
    eventually(lambda: not is_alive(pid))


def state(job: Job) -> tuple[dict[str, torch.Tensor], TrainerState]:
    """The newest saved state."""
    return next(generations.load(job.state_directory))


def rest_at(step: int) -> TrainerState:
    """A saved trainer's state beside its tensors."""
    return {"step": step, "elapsed": 0.0, "best_loss": None, "stale_evaluations": 0, "evaluated": 0}


def history(job: Job) -> list[HistoryPoint]:
    """The lines of its checkpoint's history that do not depend on the clock."""
    registry = Registry(WorkerSettings.from_environment().data.models)
    lines = registry.history(Reference(job.model))
    return [line for line in lines if line.get("val_loss") is not None or "text" in line]


def _by_step(events: Iterable[JobEvent], kind: str) -> dict[int, Mapping[str, Any]]:
    return {event.data["step"]: event.data for event in events if event.event == kind}


def assert_same_training(job: Job, undisturbed: Job, queue: Queue) -> None:
    """Bit for bit: weights, moments, carried state, random numbers, and the whole loss curve."""
    tensors, rest = state(job)
    expected_tensors, expected_rest = state(undisturbed)
    assert tensors.keys() == expected_tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, expected_tensors[name]), name
    assert {**rest, "elapsed": 0} == {**expected_rest, "elapsed": 0}
    events, expected = all_events(queue, job), all_events(queue, undisturbed)
    assert _by_step(events, "evaluation") == _by_step(expected, "evaluation")
    assert _by_step(events, "sample") == _by_step(expected, "sample")
    assert history(job) == history(undisturbed)

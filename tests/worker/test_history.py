"""A job's history is made of its events: each step once, and nothing that was rolled back."""

from typing import Any

from worker.events import JobEvent
from worker.trainer.history import DIVERGED, TrainingHistory


def events(*told: tuple[str, dict[str, Any]]) -> list[JobEvent]:
    return [JobEvent(number, event, data) for number, (event, data) in enumerate(told, start=1)]


def progress(step: int, loss: float) -> tuple[str, dict[str, Any]]:
    return "progress", {"step": step, "train_loss": loss, "val_loss": 9.9}


def evaluation(step: int, loss: float) -> tuple[str, dict[str, Any]]:
    return "evaluation", {"step": step, "val_loss": loss, "best": True}


def sample(step: int, text: str) -> tuple[str, dict[str, Any]]:
    return "sample", {"step": step, "temperature": 1.0, "text": text}


def rolled_back(step: int) -> tuple[str, dict[str, Any]]:
    return "notice", {"code": DIVERGED, "text": "", "step": step}


def test_points_and_samples_are_in_the_order_of_steps() -> None:
    history = TrainingHistory.of(
        events(sample(20, "b"), progress(20, 2.0), sample(10, "a"), evaluation(20, 2.5)), 100
    )
    history.trained(10, 3.0)
    assert history.lines() == [
        {"step": 10, "train_loss": 3.0, "val_loss": None},
        {"step": 20, "train_loss": 2.0, "val_loss": 2.5},
        {"step": 10, "temperature": 1.0, "text": "a"},
        {"step": 20, "temperature": 1.0, "text": "b"},
    ]


def test_of_a_step_that_came_twice_the_later_counts() -> None:
    told = events(evaluation(10, 3.0), sample(10, "a"), evaluation(10, 2.0), sample(10, "b"))
    history = TrainingHistory.of(told, 100)
    assert [line.get("val_loss", line.get("text")) for line in history.lines()] == [2.0, "b"]


def test_steps_after_the_saved_one_come_again() -> None:
    told = events(evaluation(10, 3.0), progress(11, 2.9), sample(12, "a"), evaluation(20, 2.0))
    history = TrainingHistory.of(told, 11)
    assert [line["step"] for line in history.lines()] == [10, 11]
    assert history.last_val_loss() == 3.0


def test_what_was_rolled_back_never_was() -> None:
    told = events(
        evaluation(10, 3.0),
        evaluation(20, 2.0),
        sample(15, "lost"),
        progress(25, 8.0),
        rolled_back(10),
        progress(11, 2.8),
    )
    history = TrainingHistory.of(told, 100)
    assert [line["step"] for line in history.lines()] == [10, 11]
    assert history.last_val_loss() == 3.0


def test_other_events_and_notices_are_none_of_it() -> None:
    told = events(
        ("notice", {"code": "plan", "text": ""}),
        ("notice", {"code": "other", "text": "", "step": 1}),
        ("checkpoint", {"step": 10, "model": "m:latest", "digest": "", "val_loss": 3.0}),
        ("end", {"status": "finished", "error": None}),
    )
    history = TrainingHistory.of(told, 100)
    assert history.lines() == []
    assert history.last_val_loss() is None


def test_a_loss_that_was_not_taken_is_not_the_last() -> None:
    history = TrainingHistory()
    history.evaluated(10, 3.0)
    history.trained(20, 2.0)
    assert history.last_val_loss() == 3.0

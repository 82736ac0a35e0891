"""A job's losses and samples over its steps, as a checkpoint carries them.

Made from the job's events when it is taken up again, so that they are recorded only once. Knows no
file.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Self, cast

from models.checkpoints.history import HistoryPoint
from worker.events import JobEvent

DIVERGED = "diverged"
"""Code of the notice that training went back to a step."""


class TrainingHistory:
    """Points and samples by step; of two at the same step, the later one counts."""

    def __init__(self) -> None:
        self._points: dict[int, HistoryPoint] = {}
        self._samples: dict[int, HistoryPoint] = {}

    @classmethod
    def of(cls, events: Iterable[JobEvent], last_step: int) -> Self:
        """The history that events tell up to a step; the steps after it come again."""
        history = cls()
        for event in events:
            step = event.data.get("step")
            if step is None or step > last_step:
                continue
            match event.event:
                case "notice" if event.data["code"] == DIVERGED:
                    # Training went back to it: what came after never was.
                    history.forget_after(step)
                case "progress":
                    history.trained(step, event.data["train_loss"])
                case "evaluation":
                    history.evaluated(step, event.data["val_loss"])
                case "sample":
                    history.sampled(event.data)
        return history

    def forget_after(self, step: int) -> None:
        self._points = {at: point for at, point in self._points.items() if at <= step}
        self._samples = {at: one for at, one in self._samples.items() if at <= step}

    def trained(self, step: int, loss: float) -> None:
        self._point(step)["train_loss"] = loss

    def evaluated(self, step: int, loss: float) -> None:
        self._point(step)["val_loss"] = loss

    def sampled(self, sample: Mapping[str, Any]) -> None:
        self._samples[sample["step"]] = cast(HistoryPoint, sample)

    def has_sample(self, step: int) -> bool:
        return step in self._samples

    def _point(self, step: int) -> HistoryPoint:
        empty: HistoryPoint = {"step": step, "train_loss": None, "val_loss": None}
        return self._points.setdefault(step, empty)

    def last_val_loss(self) -> float | None:
        losses = [
            point["val_loss"]
            for _, point in sorted(self._points.items())
            if point["val_loss"] is not None
        ]
        return losses[-1] if losses else None

    def lines(self) -> list[HistoryPoint]:
        """Points, then samples, each in the order of steps."""
        points = [point for _, point in sorted(self._points.items())]
        return points + [one for _, one in sorted(self._samples.items())]

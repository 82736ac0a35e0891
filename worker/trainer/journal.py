"""The record of a job's training: events, ``running.json`` and the history so far.

An event is on disk before followers hear of it. Knows no checkpoint and no network.
"""

import math
import time
from collections.abc import Mapping
from typing import Any, Unpack

from models.training.trainer import Evaluation, Progress
from models.units import bits
from worker.clock import timestamp
from worker.events import (
    CheckpointData,
    EvaluationData,
    NoticeData,
    ProgressData,
    SampleData,
)
from worker.job_files import Running
from worker.jobs import Job
from worker.live import Followers
from worker.trainer.history import TrainingHistory

PROGRESS_SECONDS, PROGRESS_SHARE = 0.5, 0.001
"""Between two progress events: seconds, or the share of the elapsed time if that is more."""


class Journal:
    """The record of one attempt at a job; the caller holds the job's lock."""

    def __init__(self, job: Job, live: Followers, device: str) -> None:
        before = job.running()
        self.history = TrainingHistory()
        self._job = job
        self._live = live
        self._events = job.event_log()
        self._first_id = self._events.last_id
        # Without ``paused``: the job runs again.
        self._running: Running = {
            "started_at": before.get("started_at") or timestamp(),
            "options": before.get("options") or job.spec["options"],
            "device": device,
            "progress": before.get("progress"),
            "baseline": before.get("baseline"),
        }
        self._next_progress = 0.0

    def update(self, **changes: Unpack[Running]) -> None:
        """Changes parts of ``running.json``."""
        self._running.update(changes)
        self._job.set_running(self._running)

    @property
    def has_events(self) -> bool:
        """Whether anything was told before this attempt."""
        return self._first_id > 0

    @property
    def was_saved(self) -> bool:
        """Whether an earlier attempt saved its state, as it does at an evaluation."""
        return any(event.event == "evaluation" for event in self._job.events())

    def rewind(self, step: int) -> None:
        """Continues from a step: the history is that up to it, and the next progress is told."""
        self.history = TrainingHistory.of(self._job.events(), step)
        self._next_progress = 0.0

    @property
    def progress_is_due(self) -> bool:
        return time.monotonic() >= self._next_progress

    def progress(self, progress: Progress, train_loss: float, best_loss: float) -> None:
        share = PROGRESS_SHARE * progress.elapsed_seconds
        self._next_progress = time.monotonic() + max(PROGRESS_SECONDS, share)
        val_loss = self.history.last_val_loss()
        data: ProgressData = {
            "step": progress.step,
            "max_steps": progress.max_steps,
            "epoch": progress.epoch,
            "train_loss": train_loss,
            "val_loss": val_loss,
            "best_val_loss": best_loss if math.isfinite(best_loss) else None,
            "bpc": None if val_loss is None else bits(val_loss),
            "learning_rate": progress.learning_rate,
            "chars_per_second": progress.chars_per_second,
            "elapsed_seconds": progress.elapsed_seconds,
            "eta_seconds": progress.eta_seconds,
        }
        self.history.trained(progress.step, train_loss)
        self._tell("progress", data)
        self.update(progress=data)

    def evaluation(self, evaluation: Evaluation) -> None:
        step, val_loss = evaluation.step, evaluation.val_loss
        self.history.evaluated(step, val_loss)
        data: EvaluationData = {
            "step": step,
            "val_loss": val_loss,
            "bpc": bits(val_loss),
            "best": evaluation.best,
        }
        self._tell("evaluation", data)

    def sample(self, sample: SampleData) -> None:
        self.history.sampled(sample)
        self._tell("sample", sample)

    def checkpoint(self, checkpoint: CheckpointData) -> None:
        self._tell("checkpoint", checkpoint)

    def notice(self, notice: NoticeData) -> None:
        self._tell("notice", notice)

    def _tell(self, event: str, data: Mapping[str, Any]) -> None:
        told = self._events.append(event, data)
        # Followers may hear it from Redis only.
        self._job.check()
        self._live.publish(self._job.id, told)

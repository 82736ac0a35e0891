"""The training of a job in this process, from its plan to its last checkpoint.

The order of writes is what makes a crash harmless: a checkpoint is published before the state says
that it was, an event is on disk before followers hear of it. Knows no queue but its events.
"""

import math
import time
from dataclasses import dataclass

from models.text.cleaning import CorpusError
from models.training.ranks import ALONE, Group
from models.training.trainer import Diverged, Evaluation, Progress, Trainer
from worker import logs
from worker.corpora import CorpusDamaged, UnknownCorpus
from worker.jobs import Job
from worker.live import Followers
from worker.settings import WorkerSettings
from worker.trainer import generations
from worker.trainer.baseline import Counting, begin_counting
from worker.trainer.failures import Failure, is_device_full
from worker.trainer.history import DIVERGED
from worker.trainer.journal import Journal
from worker.trainer.plan import JobPlan, Workplace, prepare
from worker.trainer.publisher import Publisher
from worker.trainer.shrinking import smaller_batch
from worker.trainer.stop import Reason, Stop

LONGEST_UNSAVED, SHORTEST_UNSAVED = 30.0, 5.0
SAVE_SHARE = 0.005
"""Seconds between two saved states, and the share of time that saving may take within these."""

MAX_ROLLBACKS = 3
"""Times that training which diverged is taken up again, each with half the rate."""

log = logs.logger(__name__)


def train(
    job: Job, live: Followers, settings: WorkerSettings, stop: Stop, group: Group = ALONE
) -> Reason | None:
    """Trains a job to its end or until told to stop.

    Args:
        job: the caller has its turn.
        live: where followers hear of it.
        settings: of the worker.
        stop: says when to put it down.
        group: of processes that train it, this one as rank 0.

    Returns:
        The reason to stop, or None at the end.

    Raises:
        Failure: the job cannot be trained.
        MemoryShort: the device has no room for it now.
        PutDown, OSError: from anywhere; the last saved state is sound.
    """
    try:
        place = Workplace.of(settings, group)
        journal = Journal(job, live, place.device_name)
        batch_size: int | None = None
        while True:
            try:
                plan = prepare(job, place, journal, batch_size)
                return TrainingSession(plan, journal, Publisher(plan, journal), stop).run()
            except RuntimeError as error:
                if not is_device_full(error):
                    raise
                log.warning("job %s: %s", job.id, error)
            # Not in the block above, where the error's traceback holds the network.
            batch_size = smaller_batch(job, place, journal, batch_size)
    except UnknownCorpus:
        raise Failure("The corpus is gone", "Upload it again and start a new job.") from None
    except CorpusDamaged:
        raise Failure("The corpus is damaged", "Upload it again and resume the job.") from None
    except CorpusError as error:
        raise Failure("The text cannot be trained on", str(error)) from None


class TrainingSession:
    """Training as planned, with all that is recorded and published on the way."""

    def __init__(self, plan: JobPlan, journal: Journal, publisher: Publisher, stop: Stop) -> None:
        self._plan = plan
        self._journal = journal
        self._publisher = publisher
        self._stop = stop
        self._states = plan.job.state_directory
        self._samples_at = set(plan.asked.sample_at)
        self._snapshots_at = set(plan.asked.keep_snapshots or ())
        self._counting: Counting | None = None
        self._puts_baseline_off = False

    def run(self) -> Reason | None:
        """Trains from the newest state, as ``train`` does; raises what it raises."""
        self._features = self._plan.begin_counting()
        trainer, damaged = self._plan.take_up(self._features)
        self._tell_damage(trainer.step, damaged)
        self._journal.rewind(trainer.step)
        self._begin_baseline()
        while True:
            try:
                return self._train(trainer)
            except (Diverged, FloatingPointError) as error:
                diverged = _Diverged.of(trainer, error)
            # Frees the old network before a second one is made. Not in the block above, where the
            # error's traceback holds it.
            del trainer
            trainer = self._roll_back(diverged)

    def _tell_damage(self, step: int, damaged: int) -> None:
        """Says what a resume did not find as it was left."""
        if damaged and step:
            text = f"the newest saved state is damaged: training resumes from step {step:,}"
            self._journal.notice({"code": "state_damaged", "text": text})
        elif damaged or (not step and self._journal.was_saved):
            lost = "all saved states are damaged" if damaged else "the saved state is gone"
            text = f"{lost}: training starts over; the model it published stays until it is beaten"
            self._journal.notice({"code": "state_lost", "text": text})
        elif step and not self._journal.has_events:
            text = f"the record of the training is gone: it resumes from step {step:,} without it"
            self._journal.notice({"code": "record_lost", "text": text})

    def _train(self, trainer: Trainer) -> Reason | None:
        saver = _StateSaver(self._plan.job)
        progress: Progress | None = None
        self._stop.looks = True
        if not trainer.step:
            self._sample_once(trainer)
        for happened in trainer.run():
            if isinstance(happened, Evaluation):
                self._evaluated(trainer, happened, progress)
            else:
                progress = happened
                self._stepped(trainer, progress)
            reason = self._stop.reason
            if reason:
                self._stop.acknowledge()
            if reason or isinstance(happened, Evaluation) or saver.is_due:
                saver.save(trainer)
            if reason:
                return reason
        self._sample_once(trainer)
        self._end_baseline()
        self._publisher.examine_memory()
        return None

    def _sample_once(self, trainer: Trainer) -> None:
        """Draws the first or the last sample, unless there is to be none or an earlier attempt did.

        Between steps, so that it costs no training time.
        """
        is_asked = bool(self._samples_at or self._plan.asked.sample_every)
        if is_asked and not self._journal.history.has_sample(trainer.step):
            self._publisher.draw_sample(trainer.average, trainer.step)

    def _stepped(self, trainer: Trainer, progress: Progress) -> None:
        if self._journal.progress_is_due:
            self._tell_progress(trainer, progress)
        step, every = progress.step, self._plan.asked.sample_every
        if step in self._samples_at or (every and step % every == 0):
            self._publisher.draw_sample(trainer.average, step)
        if step in self._snapshots_at:
            self._publisher.publish_snapshot(trainer.average, step)

    def _evaluated(
        self, trainer: Trainer, evaluation: Evaluation, progress: Progress | None
    ) -> None:
        self._journal.evaluation(evaluation)
        # There is none if the trainer was put down between a step and its evaluation.
        if progress:
            self._tell_progress(trainer, progress)
        if evaluation.best:
            self._publisher.publish_best(trainer.average, evaluation.step, evaluation.val_loss)

    def _tell_progress(self, trainer: Trainer, progress: Progress) -> None:
        self._take_baseline()
        train_loss = progress.train_loss
        if not math.isfinite(train_loss):
            raise Diverged(f"the loss is not a number at step {progress.step}")
        self._journal.progress(progress, train_loss, trainer.best_loss)

    def _begin_baseline(self) -> None:
        """Records the baseline that an earlier attempt counted, else begins to count.

        Where counting takes much of a short training, it begins when that has ended.
        """
        if self._publisher.baseline:
            self._journal.update(baseline=self._publisher.baseline)
        elif self._plan.counts_beside:
            self._puts_baseline_off = True
        else:
            self._counting = begin_counting(self._plan.corpus)
            self._take_baseline()

    def _end_baseline(self) -> None:
        """Publishes the baseline, unless an earlier attempt did."""
        if self._puts_baseline_off:
            self._counting = begin_counting(self._plan.corpus)
        self._take_baseline(wait=True)

    def _take_baseline(self, *, wait: bool = False) -> None:
        """Publishes the baseline as soon as it is counted."""
        if self._counting is None or not (wait or self._counting.done()):
            return
        counted = self._counting.result()
        self._counting = None
        if counted:
            self._publisher.publish_baseline(counted)

    def _roll_back(self, diverged: "_Diverged") -> Trainer:
        """A trainer in the state before the newest one, with half the rate.

        Raises:
            Failure: it was rolled back ``MAX_ROLLBACKS`` times already.
        """
        if diverged.rollbacks >= MAX_ROLLBACKS:
            raise Failure(
                "Training diverged",
                f"{diverged.error}, even after the rate was halved {MAX_ROLLBACKS} times. Choose a "
                "lower learning_rate, a lower grad_clip, or another seed.",
            )
        # The newest state may hold the beginning of it.
        self._plan.job.check()
        generations.discard_newest(self._states)
        trainer, _ = self._plan.take_up(self._features)
        step = trainer.step
        text = f"{diverged.error}: back to step {step:,}, with half the rate"
        self._journal.notice({"code": DIVERGED, "text": text, "step": step})
        self._journal.rewind(step)
        trainer.rate_factor = 0.5 ** (diverged.rollbacks + 1)
        # The time stays used up, and the best that was published stays the best.
        trainer.elapsed = diverged.elapsed
        trainer.best_loss = min(diverged.best_loss, trainer.best_loss)
        _save(self._plan.job, trainer)
        return trainer


@dataclass(frozen=True, slots=True)
class _Diverged:
    """The figures that outlive a trainer that diverged; ``rollbacks`` counts the earlier ones."""

    error: str
    rollbacks: int
    elapsed: float
    best_loss: float

    @classmethod
    def of(cls, trainer: Trainer, error: ArithmeticError) -> "_Diverged":
        # States keep the factor, which each roll-back has halved.
        rollbacks = round(-math.log2(trainer.rate_factor))
        return cls(str(error), rollbacks, trainer.elapsed, trainer.best_loss)


class _StateSaver:
    """Saves a trainer's state, and says when it is time to."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._saved_at = time.monotonic()
        self._seconds = 0.0

    @property
    def is_due(self) -> bool:
        interval = min(LONGEST_UNSAVED, max(SHORTEST_UNSAVED, self._seconds / SAVE_SHARE))
        return time.monotonic() - self._saved_at >= interval

    def save(self, trainer: Trainer) -> None:
        began = time.monotonic()
        _save(self._job, trainer)
        self._saved_at = time.monotonic()
        self._seconds = self._saved_at - began


def _save(job: Job, trainer: Trainer) -> None:
    """Saves a state, unless another process has taken the job."""
    tensors, rest = trainer.state_dict()
    generations.save(job.state_directory, tensors, rest, turn=job.turn, check=job.check)

"""How often a job was attempted in vain, and what follows: another attempt, a pause, the end.

All ends are counted here, whoever sees them: an error by the attempt itself, the death of its
process by the worker, and the death of both by the next worker. ``attempts.json`` has the count:

    step     the newest step that was saved when it was written
    deaths   attempts since then that ended badly
    gpu      attempts since then that ended because a GPU failed
    lost     attempts since then whose end nobody saw, because the worker died with them
    full     attempts since then that the disk had no room for
    open     whether an attempt began whose end is not recorded yet
    by_gpu   whether the last attempt ended because a GPU failed

A step that is saved resets the count. A worker that is told to stop, and a Redis that is away, are
nobody's fault and count for nothing. Knows no process and no training.
"""

import json
import time
from dataclasses import asdict, dataclass, replace

from models.files import is_disk_full
from models.places import remove
from worker import logs
from worker.events import ErrorText
from worker.job_files import Running
from worker.jobs import Job
from worker.live import Followers
from worker.reconciler import LONGEST_PAUSE
from worker.records import Count, DamagedRecord, Records
from worker.trainer import generations
from worker.trainer.failures import DISK_FULL, Death

MAX_DEATHS = 3
"""Attempts that end badly without further progress, until the job has failed."""

MAX_LOST = 10
"""The same for those that end with their worker or their GPU, which is rarely the job's fault."""

FIRST_PAUSE, FACTOR = 1.0, 4.0
"""Seconds after an attempt in vain, and how many times as long after each further one."""

SETBACK = "setback"
"""Code of the notice that an attempt ended badly."""

log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Attempts:
    """The content of ``attempts.json``."""

    step: Count = 0
    deaths: Count = 0
    gpu: Count = 0
    lost: Count = 0
    full: Count = 0
    open: bool = False
    by_gpu: bool = False

    @staticmethod
    def of(job: Job) -> "Attempts":
        """One that cannot be read begins anew."""
        try:
            return _ATTEMPTS.read(job.directory / "attempts.json") or Attempts()
        except DamagedRecord:
            return Attempts()

    def keep(self, job: Job) -> None:
        path = job.directory / "attempts.json"
        if path.is_dir():
            remove(path)
        job.write(path.name, json.dumps(asdict(self)).encode())

    def at(self, step: int) -> "Attempts":
        """The count at a saved step: that of a later one begins anew."""
        return Attempts(step, open=self.open) if step > self.step else self


_ATTEMPTS = Records(Attempts)


def begin(job: Job) -> ErrorText | None:
    """Counts an attempt that begins; the caller holds the job's lock.

    Returns:
        Why the job has failed instead: too many attempts ended with their worker.

    Raises:
        OSError: the count cannot be kept, so the attempt must not begin.
    """
    tally = Attempts.of(job).at(generations.newest_step(job.state_directory))
    if tally.open:
        tally = replace(tally, lost=tally.lost + 1)
    replace(tally, open=True, by_gpu=False).keep(job)
    if tally.lost >= MAX_LOST:
        death = Death(
            "The worker died again and again",
            "The worker and its training process died together",
            advice="Most likely memory ran out: choose smaller sizes.",
        )
        return _ending(job, death, tally.step, MAX_LOST)
    running = job.running()
    if running.pop("paused", None):
        running.pop("until", None)
        job.set_running(running)
    return None


def is_open(job: Job) -> bool:
    """Whether an attempt began whose end is not recorded."""
    return Attempts.of(job).open


def ended_by_gpu(job: Job) -> bool:
    """Whether the last attempt ended because a GPU failed."""
    return Attempts.of(job).by_gpu


def excuse(job: Job) -> None:
    """Records that an attempt ended, through no fault of the job."""
    tally = Attempts.of(job)
    if tally.open:
        replace(tally, open=False).keep(job)


def count(job: Job, live: Followers, death: Death) -> bool:
    """Records that an attempt ended badly; the caller holds the job's lock.

    Returns:
        Whether to try again at once, because it got further than the one before. Otherwise the job
        is paused or has failed.
    """
    remove(job.directory / "reserve")
    before = Attempts.of(job)
    tally = before.at(generations.newest_step(job.state_directory))
    if death.of_gpu:
        times, most = tally.gpu + 1, MAX_LOST
        tally = replace(tally, gpu=times, open=False, by_gpu=True)
    else:
        times, most = tally.deaths + 1, MAX_DEATHS
        tally = replace(tally, deaths=times, open=False)
    tally.keep(job)
    if times >= most:
        error = _ending(job, death, tally.step, most)
        live.publish(job.id, job.finish("failed", error))
        return False
    if tally.step > before.step:
        return True
    pause = _pause_seconds(times - 1)
    next_one = f"attempt {times + 1} of {most}"
    text = f"{death.cause}: training resumes by itself after {pause:.0f} s, {next_one}"
    log.warning("job %s: %s", job.id, text)
    event = job.tell("notice", {"code": SETBACK, "text": text})
    live.publish(job.id, event)
    detail = f"{death.sentence} Training resumes by itself after {pause:.0f} s: {next_one}."
    running = job.running()
    # Only a full disk waits for room.
    running.pop("needs_bytes", None)
    _pause(job, running, {"title": death.title, "detail": detail}, pause)
    return False


def wait_for_room(job: Job) -> None:
    """Pauses a job until there is room on the disk, longer each time that it was not enough."""
    remove(job.directory / "reserve")
    try:
        tally = Attempts.of(job).at(generations.newest_step(job.state_directory))
        # The first time at once: the room that it needs is known.
        _pause(job, job.running(), DISK_FULL, _pause_seconds(tally.full) if tally.full else 0.0)
        replace(tally, full=tally.full + 1, open=False).keep(job)
    except OSError as error:
        if not is_disk_full(error):
            raise
        # Clients may see it as queued; it is tried again all the same.
        log.warning("job %s: cannot write that it is paused: the disk is full", job.id)


def _pause_seconds(further: int) -> float:
    # Raised more often, it would not fit into a float at some time.
    return min(FIRST_PAUSE * FACTOR ** min(further, 20), LONGEST_PAUSE)


def _pause(job: Job, running: Running, why: ErrorText, seconds: float) -> None:
    running["paused"] = why
    running["until"] = time.time() + seconds
    job.set_running(running)


def _ending(job: Job, death: Death, step: int, times: int) -> ErrorText:
    where = f"without getting further than step {step:,}" if step else "before a step was saved"
    number = {MAX_DEATHS: "three", MAX_LOST: "ten"}[times]
    detail = [f"{death.cause}, {number} times in a row {where}.", death.advice, death.quotation]
    detail.append(f"When the cause is removed, resume it with POST /jobs/{job.id}/resume.")
    return {"title": death.title, "detail": " ".join(part for part in detail if part)}

"""The one function that the queue runs: an attempt at a job, from its lock to its outcome on disk.

An attempt ends the job, or asks for another one, or pauses it. Torch is imported inside an attempt,
so that an error of the import is counted too. Knows nothing of training.
"""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from rq.job import Retry

from models.files import is_disk_full
from models.places import remove
from worker import logs
from worker.events import ErrorText
from worker.jobs import Job, JobStore, UnknownJob, reserve
from worker.live import LiveEvents
from worker.queue import FOREVER, Queue
from worker.settings import WorkerSettings
from worker.trainer import stop, tally
from worker.trainer.failures import Death, Failure
from worker.trainer.handover import LOCK

log = logs.logger(__name__)

Ending = Literal["finished", "cancelled", "failed", "again", "full", "dead"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """``error`` of a job that failed, ``death`` of an attempt that died."""

    ending: Ending
    error: ErrorText | None = None
    death: Death | None = None


def run(job_id: str) -> Retry | None:
    """Works on a job until it has ended or must be put down; ``Retry`` if it is to continue.

    Does nothing if the job has ended, or if another process works on it.
    """
    try:
        return _run(job_id)
    except Exception:
        # For the worker, which tells clients; RQ's own log does not reach it.
        traceback.print_exc()
        raise


def _run(job_id: str) -> Retry | None:
    settings = WorkerSettings.from_environment()
    try:
        job = JobStore(settings.data.jobs).get(job_id)
    except UnknownJob:
        log.warning("a job that is not on this disk was in the queue")
        return None
    with _lock(job) as held:
        if not held or job.result() is not None:
            return None
        live = Queue(settings.redis_url).events
        try:
            outcome = _attempt(job, live, settings)
            retry = _conclude(job, live, outcome)
        except OSError as error:
            if not is_disk_full(error):
                raise
            retry = _conclude(job, live, Outcome("full"))
        if job.result() is not None:
            _look_inside(job, settings)
        return retry


@contextmanager
def _lock(job: Job) -> Iterator[bool]:
    """The job's lock, inherited from the worker or taken here; False if another process has it."""
    inherited = int(os.environ.pop(LOCK, -1))
    if inherited >= 0 and job.is_lock_file(inherited):
        os.set_inheritable(inherited, False)
        yield True
    else:
        with job.lock() as held:
            yield held


def _attempt(job: Job, live: LiveEvents, settings: WorkerSettings) -> Outcome:
    if job.cancel_requested():
        return Outcome("cancelled")
    _tidy(job)
    reserve(job.directory)
    with stop.Stop(job) as stopping:
        try:
            from worker.trainer.session import train

            reason = train(job, live, settings, stopping)
            if reason is None:
                return Outcome("finished")
        except stop.PutDown:
            stopping.acknowledge()
            reason = stopping.reason
        except Exception as error:
            stopping.acknowledge()
            return _outcome_of(error, job)
    return Outcome("cancelled" if reason == "cancel" else "again")


def _tidy(job: Job) -> None:
    """Removes files that a killed attempt left half written: only the lock's holder writes."""
    for left in (*job.directory.glob(".*"), *job.state_directory.glob(".*")):
        remove(left)


def _outcome_of(error: Exception, job: Job) -> Outcome:
    """How an attempt ends that raised an error."""
    if isinstance(error, Failure):
        return Outcome("failed", error.error)
    if is_disk_full(error):
        log.warning("job %s: the disk is full", job.id)
        return Outcome("full")
    log.error("job %s: an attempt ended with an error", job.id, exc_info=error)
    return Outcome("dead", death=Death.by_error(error))


def _conclude(job: Job, live: LiveEvents, outcome: Outcome) -> Retry | None:
    again = Retry(max=FOREVER, enqueue_at_front=True)
    match outcome.ending:
        case "again" | "full" | "dead" if job.cancel_requested():
            live.publish(job.id, job.finish("cancelled"))
        case "again":
            # Whether the worker asked for it, only the worker knows: it records the end.
            return again
        case "full":
            tally.wait_for_room(job)
        case "dead":
            assert outcome.death
            return again if tally.count(job, live, outcome.death) else None
        case "finished" | "cancelled" | "failed" as status:
            live.publish(job.id, job.finish(status, outcome.error))
    return None


def _look_inside(job: Job, settings: WorkerSettings) -> None:
    """Analyses the cells of a job's best checkpoint: some seconds, after its end.

    Neither the job nor a worker that is told to stop waits for it: the server makes up for it when
    a client asks.
    """
    from models.checkpoints.reference import Reference, UnknownModel
    from models.checkpoints.registry import Registry
    from models.inside.results import analyse

    registry = Registry(settings.data.models)
    try:
        best = registry.entry(Reference(job.model))
        if best.card.get("job_id") == job.id:
            analyse(registry, job.model, best.digest, stop.is_shutdown)
    except UnknownModel:
        # There is no checkpoint, or it was deleted already.
        return
    except Exception as error:
        log.warning("job %s: cannot analyse its cells: %r", job.id, error)

"""The one function that the queue runs: an attempt at a job, from its lock to its outcome on disk.

An attempt ends the job, or asks for another one, or waits for room on the disk. Torch is imported
inside an attempt, so that an error of the import is counted too. Knows nothing of training.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from rq.job import Retry

from worker import logs
from worker.events import ErrorText
from worker.jobs import Job, JobStore, UnknownJob
from worker.live import LiveEvents
from worker.queue import FOREVER, Queue
from worker.settings import WorkerSettings
from worker.trainer import failures, stop
from worker.trainer.failures import Failure
from worker.trainer.handover import LOCK

RESERVE = 16 << 10
"""Bytes that are reserved on disk during an attempt, for writing that the disk is full."""

log = logs.logger(__name__)

Ending = Literal["finished", "cancelled", "failed", "again", "paused"]


@dataclass(frozen=True, slots=True)
class Outcome:
    ending: Ending
    error: ErrorText | None = None


def run(job_id: str) -> Retry | None:
    """Works on a job until it has ended or must be put down; ``Retry`` if it is to continue.

    Does nothing if the job has ended, or if another process works on it.
    """
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
            if not failures.is_disk_full(error):
                raise
            retry = _conclude(job, live, Outcome("paused"))
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
    (job.directory / "reserve").write_bytes(bytes(RESERVE))
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


def _outcome_of(error: Exception, job: Job) -> Outcome:
    """How an attempt ends that raised an error."""
    if isinstance(error, Failure):
        return Outcome("failed", error.error)
    if failures.is_disk_full(error):
        log.warning("job %s: the disk is full", job.id)
        return Outcome("paused")
    log.error("job %s: an attempt ended with an error", job.id, exc_info=error)
    if failures.count_death(job) < failures.MAX_DEATHS:
        return Outcome("again")
    is_memory = failures.is_out_of_memory(error)
    return Outcome("failed", failures.OUT_OF_MEMORY if is_memory else failures.FAILED)


def _conclude(job: Job, live: LiveEvents, outcome: Outcome) -> Retry | None:
    (job.directory / "reserve").unlink(missing_ok=True)
    match outcome.ending:
        case "again":
            return Retry(max=FOREVER, enqueue_at_front=True)
        case "paused":
            _pause(job)
        case status:
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


def _pause(job: Job) -> None:
    """Leaves the job to the reconciler, which puts it back once there is room."""
    try:
        job.set_running({**job.running(), "paused": failures.DISK_FULL})
    except OSError as error:
        # Clients then see it as queued; it is tried again all the same.
        log.warning("job %s: cannot write that it is paused: %s", job.id, error)

"""The one function that the queue runs: an attempt at a job, from its lock to its outcome on disk.

An attempt ends the job, or asks for another one, or pauses it. Torch is imported inside an attempt,
so that an error of the import is counted too. Knows nothing of training.
"""

import os
import secrets
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from rq.job import Retry

from models import locks
from models.files import is_disk_full
from worker import logs
from worker.fence import Fenced
from worker.job_errors import UnknownJob
from worker.jobs import Job, JobStore, reserve
from worker.leases import Holder, Leases, Renewal
from worker.live import Followers, LiveEvents
from worker.ownership import taken
from worker.queue import FOREVER, Queue
from worker.settings import WorkerSettings
from worker.storage.mirror import Mirror
from worker.storage.opening import opened
from worker.storage.shipping import Shipping
from worker.trainer import stop, tally
from worker.trainer.handover import LEASE, LOCK, WORKER_PID
from worker.trainer.launch import train_together
from worker.trainer.outcome import Outcome, attempted

log = logs.logger(__name__)


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
    settings = opened(WorkerSettings.from_environment())
    try:
        job = JobStore(settings.data.jobs, settings.data.storage).get(job_id)
    except UnknownJob:
        log.warning("a job that is not on this disk was in the queue")
        return None
    queue = Queue.of(settings)
    with _owned(job, queue.leases) as is_owned:
        if not is_owned or job.result() is not None:
            return None
        try:
            with _sent(job, queue.events, settings) as (job, live, settings):
                retry = _work_on(job, live, settings)
            # What it did may have come too late.
            job.check()
            return retry
        except Exception:
            # Whatever it is: an owner that has been replaced may find its files gone.
            try:
                job.check()
            except Fenced as fenced:
                log.error("job %s: %s", job.id, fenced)
                if WORKER_PID in os.environ:
                    # RQ would end the job in Redis, where it is another's now.
                    os._exit(os.EX_OK)
                return None
            raise


@contextmanager
def _sent(
    job: Job, live: LiveEvents, settings: WorkerSettings
) -> Iterator[tuple[Job, Followers, WorkerSettings]]:
    """The job, its followers and the settings to work with, so that nothing waits for a bucket.

    At the end of the block all is where other hosts see it, or the job is another's.
    """
    data = settings.data
    if not isinstance(data.storage, Mirror):
        yield job, live, settings
        return
    with Shipping(data.storage, job.directory, data.models / job.model, live) as shipping:
        own = replace(settings, data=replace(data, storage=shipping))
        yield job.on(shipping), shipping, own


def _work_on(job: Job, live: Followers, settings: WorkerSettings) -> Retry | None:
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
def _owned(job: Job, leases: Leases) -> Iterator[bool]:
    """Owns the job during the block, through the worker or by itself; False if another does.

    The lease is renewed meanwhile.
    """
    with ExitStack() as held:
        inherited, lease = int(os.environ.pop(LOCK, -1)), os.environ.pop(LEASE, None)
        if lease and locks.is_current(job.lock_file, inherited):
            os.set_inheritable(inherited, False)
            holder = Holder.parse(lease)
            job.join_turn(holder.epoch, holder.worker)
        else:
            owned = held.enter_context(taken(job, leases, f"attempt-{secrets.token_hex(8)}"))
            if owned is None:
                yield False
                return
            holder = owned.holder
        # What was not saved is lost to the next owner anyway.
        held.enter_context(Renewal(leases, job.id, holder, stop.shut_down))
        yield True


def _attempt(job: Job, live: Followers, settings: WorkerSettings) -> Outcome:
    if job.cancel_requested():
        return Outcome("cancelled")
    reserve(job.directory)

    def work(stopping: stop.Stop) -> Outcome:
        from worker.trainer.device import devices_for

        ranks = devices_for(job.spec["options"], settings.threads)
        if ranks > 1:
            # From here on rank 0 heeds a cancel.
            stopping.acknowledge()
            return train_together(job, ranks)
        from worker.trainer.session import train

        return Outcome.of(train(job, live, settings, stopping))

    return attempted(job, work)


def _conclude(job: Job, live: Followers, outcome: Outcome) -> Retry | None:
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

    registry = Registry(settings.data.models, settings.data.storage)
    try:
        best = registry.entry(Reference(job.model))
        if best.card.get("job_id") == job.id:
            analyse(registry, job.model, best.digest, stop.is_shutdown)
    except UnknownModel:
        # There is no checkpoint, or it was deleted already.
        return
    except Exception as error:
        log.warning("job %s: cannot analyse its cells: %r", job.id, error)

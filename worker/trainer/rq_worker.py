"""RQ in one place: a worker that takes jobs from Redis and starts a process for each.

It never imports torch: it holds a job's lock and starts a fresh interpreter, which inherits it. So
from the moment that a job is taken until its end is recorded, the kernel says that a process works
on it. Knows RQ and its surprises, and nothing of training.

Every method of RQ's that is overridden, what RQ's own does, and why that would not do here. RQ is
pinned; ``tests/worker/test_rq_worker.py`` fails where a release changes one of these.

TrainingJob, of rq.job.Job:

    func
        Imports any function that Redis names.
        Anyone who can write to Redis could run any function: only ``FUNCTION`` is run.
    success_callback
        Imports and calls any function that Redis names.
        As for ``func``: a callback is never called.
    failure_callback
        The same.
        The same.
    stopped_callback
        The same.
        The same.
    restore(raw_data)
        Reads a job from Redis, with the URLs that its end is to be posted to.
        As for ``func``: nothing is posted.

TrainingWorker, of rq.SpawnWorker:

    execute_job(job, queue)
        Starts a process for the job and waits for its end.
        Where Redis fails it quits with a page of traceback and leaves the process running.
    fork_work_horse(job, queue)
        Starts the process with its source code and the connection in its arguments.
        ``ps`` would show the password of Redis, and the process would not inherit the lock.
    wait_for_horse()
        Waits for the end of the process.
        Meanwhile its last words are kept, and one that hangs or ignores a cancel is killed.
    setup_work_horse_signals()
        Lets SIGTERM kill the process that trains.
        ``worker.trainer.stop`` has set its signals: it saves its state first.
    handle_work_horse_killed(job, retpid, ret_val, rusage)
        Logs that the process was killed.
        RQ calls it for some ends only: what follows from any is decided after ``execute_job``.
    handle_warm_shutdown_request()
        Nothing: the worker waits for the end of its job.
        A job takes hours: its process is asked to save its state and exit. And RQ only raises an
        exception, which is lost where a destructor runs: the signal is remembered.
    set_shutdown_requested_date()
        Writes the date to Redis, in a signal handler.
        Where Redis fails, the process that trains would not get the time to save its state.
    maintain_heartbeats(job, execution)
        Extends the lease of the job and fails without Redis.
        The lock says who works on a job, so an outage need not end a training.
    heartbeat(timeout, pipeline)
        Extends the registration of the worker.
        Redis may have lost the registration: it is made anew. Between jobs, a worker that was told
        to stop stops.
    run_maintenance_tasks()
        Fails jobs whose lease has run out, and starts the scheduler.
        The disk tells at once which jobs are lost, and they are queued again.
    register_death()
        Removes the registration and fails without Redis.
        A worker can end without it: the registration runs out.
    subscribe()
        Takes commands from Redis: stop a job, shut down.
        A cancel is a file and a stop is a signal; a thread less.

Private names of RQ's that are used, since it has no public ones for them:

    Worker._horse_pid  the process of the job, which we start
    Execution._job     spares a second fetch, which would not make a TrainingJob

``worker.queue.Queue.forget`` removes RQ's keys by hand, for the reason that stands there.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry as ConnectionRetry
from rq import Queue as RQQueue
from rq import SpawnWorker, worker_registration
from rq.exceptions import StopRequested
from rq.executions import Execution
from rq.job import Job as RQJob
from rq.utils import import_attribute, now
from rq.worker import WorkerStatus

from models.errors import CharloomError, Invalid
from models.places import tell_once
from worker import logs
from worker.job_errors import UnknownJob
from worker.jobs import Job, JobStore
from worker.ownership import Owned, taken
from worker.queue import FORMER_FUNCTIONS, FUNCTION, Queue
from worker.reconciler import LOST_SECONDS, Reconciler, is_due
from worker.settings import WorkerSettings
from worker.storage.opening import CACHE
from worker.trainer import handover, stop, tally
from worker.trainer.aftermath import Aftermath
from worker.trainer.failures import Death
from worker.trainer.overseer import Overseer
from worker.trainer.ties import has_place
from worker.turns import may_begin

SPIN = "2000"
"""How long torch's threads spin while they wait for each other, unless the environment says.

By default OpenMP spins for milliseconds, and where another process has a core, training does
little else: 300 to 600 characters a second instead of 5,000 (docs/log.md).
"""

_QUIET_REPEATS = 60.0
"""Seconds in which a message that repeats the one before it is left out."""

log = logs.logger(__name__)


class ForeignFunction(Invalid):
    """The queue names a function that is not the worker's."""


class SpawnError(CharloomError):
    """The system did not start the process of a job."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.death = Death.by_spawning(error)


@dataclass(slots=True)
class Leave:
    """Whether a signal has told this worker to stop.

    Beside the exception that its handler raises: that one is lost where a destructor runs, or where
    any error is caught.
    """

    is_told: bool = False


class TrainingJob(RQJob):
    """A job that runs ``FUNCTION`` and nothing else, whatever Redis says."""

    @property
    def func(self) -> Callable[..., Any]:
        if self.func_name not in (FUNCTION, *FORMER_FUNCTIONS):
            raise ForeignFunction(f"{self.func_name} is not a function of this worker")
        function: Callable[..., Any] = import_attribute(FUNCTION)
        return function

    @property
    def success_callback(self) -> None:
        return None

    @property
    def failure_callback(self) -> None:
        return None

    @property
    def stopped_callback(self) -> None:
        return None

    def restore(self, raw_data: Any) -> Any:
        super().restore(raw_data)
        self.webhooks = []


class TrainingWorker(SpawnWorker):
    """Takes one job at a time from the one queue, and starts a horse (RQ's word) for it."""

    max_connection_wait_time = 2.0

    def __init__(
        self,
        settings: WorkerSettings,
        name: str | None = None,
        *,
        is_horse: bool = False,
        gpus: int = 0,
        leave: Leave | None = None,
    ):
        connection = redis.Redis.from_url(
            settings.redis_url,
            retry=ConnectionRetry(ExponentialBackoff(cap=0.5, base=0.05), 3),
        )
        self._charloom = Queue.of(settings)
        queue = RQQueue(
            self._charloom.name, connection=connection, job_class=TrainingJob, serializer="json"
        )
        super().__init__(
            [queue],
            name=name,
            connection=connection,
            job_class=TrainingJob,
            serializer="json",
            worker_ttl=17,
            job_monitoring_interval=5,
            maintenance_interval=1,
            log_job_description=False,
            prepare_for_work=not is_horse,
        )
        self._settings = settings
        self._store = JobStore(settings.data.jobs, settings.data.storage)
        self._most_running = settings.quota_running
        self._reconciler = Reconciler(self._charloom, self._store, self._most_running)
        self._gpus = gpus
        self._leave = leave or Leave()
        self.has_lost_gpu = False
        self._redis_away = False
        self._owned: Owned | None = None
        self._overseer: Overseer | None = None

    @property
    def told_to_stop(self) -> bool:
        return self._leave.is_told

    def execute_job(self, job: RQJob, queue: RQQueue) -> None:
        with logs.about(job_id=job.id):
            try:
                with self._taken(job.id) as taken:
                    if taken is not None:
                        self._work_on(taken, job, queue)
            except redis.RedisError as error:
                # The job is on disk, with all its progress.
                log.warning("job %s: cannot tell Redis that it ended: %s", job.id, error)
                raise StopRequested from None

    @contextmanager
    def _taken(self, job_id: str) -> Iterator[Job | None]:
        """A job that is ours during the block; None if it is not to be worked on now."""
        with ExitStack() as held:
            yield self._take(job_id, held)

    def _take(self, job_id: str, held: ExitStack) -> Job | None:
        self._owned = None
        try:
            job = self._store.get(job_id)
            # Before it is taken: one that is may show as running, and is not cancelled at once.
            if is_due(job) and may_begin(job, self._store, self._most_running):
                self._owned = held.enter_context(taken(job, self._charloom.leases, self.name))
            # And while it is ours: of two workers, one sees the other's job.
            if self._owned is not None and has_place(job, self._store, self._most_running):
                if job.result() is None:
                    return job
                self._charloom.forget(job_id)
            else:
                self._charloom.put_aside(job_id)
        except UnknownJob:
            log.warning("job %s is not on this disk", job_id)
            self._charloom.forget(job_id)
        except (CharloomError, OSError, ValueError) as error:
            # The reconciler brings it back, in case that it can be read then.
            tell_once(f"job {job_id} cannot be taken: {error}")
            self._charloom.put_aside(job_id)
        return None

    def _work_on(self, ours: Job, job: RQJob, queue: RQQueue) -> None:
        log.info("job %s: taken", job.id)
        began = time.monotonic()
        aftermath = Aftermath(ours, self._charloom)
        try:
            if aftermath.begin():
                super().execute_job(job, queue)
        except SpawnError as error:
            with self.connection.pipeline() as pipe:
                self.cleanup_execution(job, pipe, self.execution)
                pipe.execute()
            aftermath.death = error.death
        finally:
            # After an error the horse may live on, and share the machine with the next.
            if self._horse_pid:
                self.kill_horse()
                self.wait_for_horse()
                self._horse_pid = 0
            if self._overseer:
                aftermath.status = self._overseer.status
                aftermath.death = Death.of_process(aftermath.status, self._overseer.printed)
                self._overseer.close()
                self._overseer = None
            aftermath.settle(is_excused=self.told_to_stop)
            log.info("job %s: %s after %.0f s", job.id, ours.status(), time.monotonic() - began)
        if tally.ended_by_gpu(ours):
            # Before another job: it would end in the same way.
            self.has_lost_gpu = True
            raise StopRequested

    def fork_work_horse(self, job: RQJob, queue: RQQueue) -> None:
        """Starts the horse, which inherits the job's lock and renews its lease."""
        assert self.execution is not None and self._owned is not None
        os.set_inheritable(self._owned.lock, True)
        environment = (
            {"GOMP_SPINCOUNT": SPIN}
            | os.environ
            | {
                "RQ_WORKER_ID": self.name,
                "RQ_JOB_ID": job.id,
                "RQ_EXECUTION_ID": self.execution.id,
                handover.WORKER_PID: str(os.getpid()),
                handover.LOCK: str(self._owned.lock),
                handover.LEASE: str(self._owned.holder),
            }
        )
        if self._gpus:
            environment[handover.GPUS] = str(self._gpus)
        if not self._settings.data.storage.shares_locks:
            environment[CACHE] = str(self._settings.data.root)
        ours = self._store.get(job.id)
        try:
            output, its_output = os.pipe()
        except OSError as error:
            raise SpawnError(error) from None
        try:
            self._horse_pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-m", "worker.trainer.horse"],
                environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, its_output, 2)],
                setpgroup=0,
                # Blocked until the horse handles them: they would kill it.
                setsigmask=stop.SHUTDOWN,
            )
        except OSError as error:
            os.close(output)
            raise SpawnError(error) from None
        finally:
            os.close(its_output)
        self._overseer = Overseer(self._horse_pid, output, lambda: self._reason(ours))
        if self.told_to_stop:
            self.handle_warm_shutdown_request()

    def _reason(self, job: Job) -> stop.Reason | None:
        """Why the horse should put its job down."""
        if job.cancel_requested():
            return "cancel"
        return "shutdown" if self.told_to_stop else None

    def wait_for_horse(self) -> tuple[int | None, int | None, Any]:
        """Waits, and passes on what the horse prints; kills it if need be."""
        return self._overseer.wait() if self._overseer else super().wait_for_horse()

    def setup_work_horse_signals(self) -> None:
        """Leaves the signals as ``worker.trainer.stop`` set them."""

    def handle_work_horse_killed(
        self, job: RQJob, retpid: int | None, ret_val: int | None, rusage: Any
    ) -> None:
        """Logs it; whatever end it came to, the job is dealt with afterwards."""
        if ret_val is not None and os.WIFSIGNALED(ret_val):
            name = signal.Signals(os.WTERMSIG(ret_val)).name
            log.warning("job %s: its process was killed by %s", job.id, name)

    def handle_warm_shutdown_request(self) -> None:
        """Asks the horse to save its state and exit."""
        self._leave.is_told = True
        if self._horse_pid:
            self.kill_horse(signal.SIGUSR1)

    def set_shutdown_requested_date(self) -> None:
        """Tolerates an outage: an error in this signal handler would kill the horse."""
        try:
            super().set_shutdown_requested_date()  # type: ignore[no-untyped-call]
        except redis.RedisError:
            log.debug("cannot tell Redis of the shutdown")

    def maintain_heartbeats(self, job: RQJob, execution: Execution) -> None:
        """Extends the lease; without Redis, training continues."""
        try:
            super().maintain_heartbeats(job, execution)
        except redis.RedisError as error:
            if not self._redis_away:
                log.warning("training continues without Redis: %s", error)
            self._redis_away = True
        else:
            self._redis_away = False

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Says that this worker lives; raises ``StopRequested`` between jobs if it was told to."""
        if self.told_to_stop and self.get_state() != WorkerStatus.BUSY:
            raise StopRequested
        super().heartbeat(timeout, pipeline)
        # Redis may have come back empty.
        worker_registration.register(self, pipeline)

    def run_maintenance_tasks(self) -> None:
        """Queues lost jobs again, which the disk knows at once and without a lease."""
        try:
            for queue in self.queues:
                worker_registration.clean_worker_registry(queue)
            back = self._reconciler.reconcile(LOST_SECONDS if self.last_cleaned_at else 0)
        except redis.RedisError:
            return
        self.last_cleaned_at = now()  # type: ignore[assignment]
        for job_id in back:
            with logs.about(job_id=job_id):
                log.info("job %s: back in the queue", job_id)

    def register_death(self) -> None:
        try:
            super().register_death()  # type: ignore[no-untyped-call]
        except redis.RedisError:
            log.debug("cannot tell Redis that the worker ends")

    def subscribe(self) -> None:
        """Takes no commands from Redis."""


def configure_logging() -> None:
    """Logs to standard output, and keeps RQ from logging what is logged here."""
    logs.configure(sys.stdout).addFilter(_Once())
    for name in ("rq", "rq.worker"):
        logging.getLogger(name).setLevel(logging.ERROR)


class _Once(logging.Filter):
    """Leaves out repeated messages: RQ logs at every try that Redis is away."""

    def __init__(self) -> None:
        super().__init__()
        self._last = ("", -_QUIET_REPEATS)

    def filter(self, record: logging.LogRecord) -> bool:
        message, said = self._last
        repeated = record.msg == message and record.created - said < _QUIET_REPEATS
        if not repeated:
            self._last = (str(record.msg), record.created)
        return not repeated

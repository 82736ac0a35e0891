"""The worker's two halves: who takes jobs from RQ, and who performs one in a process of its own.

The worker never imports torch: it starts a fresh interpreter for each job, and what it inherits
is the job's lock. So from the moment that a job is taken until its process is dead, the kernel
says that somebody works on it. Knows RQ and its surprises, and nothing of training.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

from worker import logs
from worker.jobs import JobStore, UnknownJob
from worker.queue import FORMER_FUNCTIONS, FUNCTION, NAME, Queue
from worker.reconciler import Reconciler
from worker.settings import Settings
from worker.trainer import handover, stop
from worker.trainer.failures import KILLED, MAX_DEATHS, count_death
from worker.trainer.handover import LOCK

SPIN = "2000"
"""How long torch's threads spin while they wait for each other, if nobody has said.

OpenMP's own choice spins for milliseconds, and where somebody else has a core that is all that
training does: 300 to 600 characters a second instead of 5,000 (docs/log.md).
"""

GRACE = 2.0
"""Seconds that a job must have been alive nowhere: between RQ and the lock are milliseconds."""

_QUIET_REPEATS = 60.0

log = logging.getLogger("charloom.worker")


class Refused(Exception):
    """Somebody queued a function that is not ours."""


class TrainingJob(RQJob):
    """A job whose one function is ``FUNCTION``, whatever Redis says.

    Who can write to Redis can queue any importable function: this keeps the worker from calling
    it, and from the callbacks and web requests that RQ would make too.
    """

    @property
    def func(self) -> Callable[..., Any]:
        if self.func_name not in (FUNCTION, *FORMER_FUNCTIONS):
            raise Refused(f"{self.func_name} is no function of this worker")
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
    """Takes one job at a time from the one queue, and starts a horse for it."""

    max_connection_wait_time = 2.0

    def __init__(self, settings: Settings, name: str | None = None, *, is_horse: bool = False):
        connection = redis.Redis.from_url(
            settings.redis_url,
            retry=ConnectionRetry(ExponentialBackoff(cap=0.5, base=0.05), 3),
        )
        queue = RQQueue(NAME, connection=connection, job_class=TrainingJob, serializer="json")
        super().__init__(
            [queue],
            name=name,
            connection=connection,
            job_class=TrainingJob,
            serializer="json",
            worker_ttl=20,
            job_monitoring_interval=5,
            maintenance_interval=5,
            log_job_description=False,
            prepare_for_work=not is_horse,
        )
        self._store = JobStore(settings.data.jobs)
        self._charloom = Queue(settings.redis_url)
        self._reconciler = Reconciler(self._charloom, self._store)
        self._redis_away = False

    @property
    def told_to_stop(self) -> bool:
        return self._shutdown_requested_date is not None

    # One job

    def execute_job(self, job: RQJob, queue: RQQueue) -> None:
        with logs.about(job_id=job.id):
            self._execute(job, queue)

    def _execute(self, job: RQJob, queue: RQQueue) -> None:
        log.info("job %s: taken", job.id)
        began = time.monotonic()
        try:
            super().execute_job(job, queue)
        except redis.RedisError as error:
            # The job is on disk, as far as it got. RQ would quit with a page of traceback.
            log.warning("job %s: Redis is not told of its end: %s", job.id, error)
            raise StopRequested from None
        finally:
            # After an error here the horse may live: two at a time would share the machine.
            if self._horse_pid:
                self.kill_horse()
                self.wait_for_horse()
                self._horse_pid = 0
            outcome = self._outcome(job.id)
            log.info("job %s: %s after %.0f s", job.id, outcome, time.monotonic() - began)

    def _outcome(self, job_id: str) -> str:
        try:
            return self._store.get(job_id).status()
        except UnknownJob:
            return "no job of ours"

    def fork_work_horse(self, job: RQJob, queue: RQQueue) -> None:
        """Starts the horse, which inherits the lock. (RQ's own way shows the password in ps.)"""
        assert self.execution is not None
        environment = (
            {"GOMP_SPINCOUNT": SPIN}
            | os.environ
            | {
                "RQ_WORKER_ID": self.name,
                "RQ_JOB_ID": job.id,
                "RQ_EXECUTION_ID": self.execution.id,
                handover.WORKER_PID: str(os.getpid()),
            }
        )
        with self._lock(job.id) as descriptor:
            if descriptor is not None:
                os.set_inheritable(descriptor, True)
                environment[LOCK] = str(descriptor)
            self._horse_pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-m", "worker.trainer.horse"],
                environment,
                setpgroup=0,
                # Kept until the horse can heed them: they would kill it.
                setsigmask=stop.SHUTDOWN,
            )
        if self._stop_requested:
            self.handle_warm_shutdown_request()

    @contextmanager
    def _lock(self, job_id: str) -> Iterator[int | None]:
        """The job's lock, for a moment; None if somebody has it or there is no such job."""
        try:
            job = self._store.get(job_id)
        except UnknownJob:
            yield None
        else:
            with job.lock_file() as descriptor:
                yield descriptor

    def setup_work_horse_signals(self) -> None:
        """Leaves the signals as ``worker.trainer.horse`` set them."""

    def handle_work_horse_killed(
        self, job: RQJob, retpid: int | None, ret_val: int | None, rusage: Any
    ) -> None:
        """Counts what the horse could not count itself; the third time is the last."""
        if ret_val is None or not os.WIFSIGNALED(ret_val):
            return
        number = os.WTERMSIG(ret_val)
        log.warning("job %s: its process was ended by %s", job.id, signal.Signals(number).name)
        if number in stop.SHUTDOWN:
            return
        try:
            ours = self._store.get(job.id)
        except UnknownJob:
            return
        with ours.lock() as held:
            if held and ours.result() is None and count_death(ours) >= MAX_DEATHS:
                self._charloom.events.publish(ours.id, ours.finish("failed", KILLED))

    # The worker's life

    def handle_warm_shutdown_request(self) -> None:
        """Lets the horse put its job down, rather than waiting for the job's end."""
        if self._horse_pid:
            self.kill_horse(signal.SIGUSR1)

    def set_shutdown_requested_date(self) -> None:
        """Called in a signal handler: an error would leave the horse without its chance."""
        try:
            super().set_shutdown_requested_date()  # type: ignore[no-untyped-call]
        except redis.RedisError:
            log.debug("Redis doesn't hear of the shutdown")

    def maintain_heartbeats(self, job: RQJob, execution: Execution) -> None:
        """An outage of Redis is none of training: the lock says who works, not the lease."""
        try:
            super().maintain_heartbeats(job, execution)
        except redis.RedisError as error:
            if not self._redis_away:
                log.warning("training goes on without Redis: %s", error)
            self._redis_away = True
        else:
            self._redis_away = False

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        super().heartbeat(timeout, pipeline)
        # Redis may have come back empty.
        worker_registration.register(self, pipeline)

    def run_maintenance_tasks(self) -> None:
        """The disk says what is lost, at once and without a lease; RQ's own search is left out."""
        try:
            for queue in self.queues:
                worker_registration.clean_worker_registry(queue)
            back = self._reconciler.reconcile(GRACE if self.last_cleaned_at else 0)
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
            log.debug("Redis doesn't hear of the worker's end")

    def subscribe(self) -> None:
        """Takes no commands from Redis: a cancel is a file, a stop is a signal."""


def be_nice(niceness: int) -> None:
    """Takes the rest of the machine, unless somebody saw to it already."""
    os.nice(max(0, niceness - os.nice(0)))


def configure_logging() -> None:
    """One line for each thing that matters, on standard output."""
    logs.configure(sys.stdout).addFilter(_Once())
    for name in ("rq", "rq.worker"):
        logging.getLogger(name).setLevel(logging.ERROR)


class _Once(logging.Filter):
    """Leaves out what was just said: RQ says at every try that Redis is away."""

    def __init__(self) -> None:
        super().__init__()
        self._last = ("", -_QUIET_REPEATS)

    def filter(self, record: logging.LogRecord) -> bool:
        message, said = self._last
        repeated = record.msg == message and record.created - said < _QUIET_REPEATS
        if not repeated:
            self._last = (str(record.msg), record.created)
        return not repeated

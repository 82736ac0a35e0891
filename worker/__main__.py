"""``python -m worker``: takes training jobs from Redis until a signal. Knows no training."""

import os
import signal
import sys
import time
from types import FrameType

import redis
from rq.exceptions import StopRequested

from worker import gpus, logs
from worker.data import DataError, open_data
from worker.hosts import LocksStayHere, present
from worker.queue import Queue
from worker.settings import NICENESS, SettingsError, WorkerSettings, exit_misconfigured
from worker.storage.bucket import StorageRefused
from worker.storage.opening import opened
from worker.trainer import probe
from worker.trainer.rq_worker import Leave, TrainingWorker, configure_logging
from worker.vitals import Pulse

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
"""Seconds before a worker that lost Redis starts again; doubled each time."""

LONGEST_WAIT = 2.0
"""Most seconds between two looks at whether Redis is back."""

LONGEST_GPU_WAIT = 60.0
"""The same for GPUs: a look at these starts a process."""

STEADY = 30.0
"""Seconds of work after which the pauses begin anew."""

_leave = Leave()

log = logs.logger("worker")


def main() -> None:
    try:
        settings = WorkerSettings.from_environment()
        configure_logging()
        open_data(settings.data.root, log.warning)
        settings = opened(settings)
    except (SettingsError, StorageRefused) as error:
        exit_misconfigured(f"worker: {error}")
    except DataError as error:
        sys.exit(f"worker: {error}")
    be_nice(NICENESS)
    for name, value in gpus.ORDER.items():
        os.environ.setdefault(name, value)
    sys.unraisablehook = _tell_unraisable
    _listen()
    wait_for_redis(settings)
    try:
        with (
            present(settings.data, settings.redis_url),
            Pulse(Queue.of(settings).vitals).shown() as pulse,
        ):
            keep_working(settings, pulse)
    except LocksStayHere as error:
        exit_misconfigured(f"worker: {error}")
    log.info("stopped")


def keep_working(settings: WorkerSettings, pulse: Pulse) -> None:
    """Works until a signal, across outages of Redis and of GPUs, and errors that end RQ's loop."""
    pause = FIRST_PAUSE
    expected = gpus.expected()
    is_gpu_sure = not expected
    while True:
        _listen()
        wait_for_redis(settings)
        if not is_gpu_sure:
            wait_for_gpus(pulse)
            is_gpu_sure = True
        began = time.monotonic()
        worker = None
        try:
            worker = TrainingWorker(settings, gpus=expected, leave=_leave)
            log.info("ready for jobs")
            worker.work(logging_level="ERROR")
        except redis.RedisError as error:
            log.warning("lost Redis: %s", error)
        if worker and worker.told_to_stop:
            return
        if worker and worker.has_lost_gpu:
            is_gpu_sure = False
        if time.monotonic() - began > STEADY:
            pause = FIRST_PAUSE
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def wait_for_gpus(pulse: Pulse) -> None:
    """Waits until the GPUs compute: without them this worker takes no job."""
    pause = FIRST_PAUSE
    told = None
    # One worker of several on a machine says which GPU is its own.
    own = os.environ.get(gpus.VISIBLE)
    while found := probe.trouble():
        trouble = f"{found} ({gpus.VISIBLE}={own})" if own else found
        if trouble != told:
            told = trouble
            log.error(
                "waiting for the GPU: %s. To train on the processor, start the worker with an "
                "empty %s",
                trouble,
                gpus.VISIBLE,
            )
        pulse.tell(trouble)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_GPU_WAIT)
    if told:
        log.warning("the GPU computes again")
    pulse.tell(None)


def wait_for_redis(settings: WorkerSettings) -> None:
    queue = Queue.of(settings)
    pause = FIRST_PAUSE
    told = None
    while trouble := queue.trouble():
        if trouble != told:
            told = trouble
            log.warning("waiting for Redis: %s", trouble)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_WAIT)


def be_nice(niceness: int) -> None:
    """Raises this process's niceness, unless it is that high already."""
    os.nice(max(0, niceness - os.nice(0)))


def _tell_unraisable(lost: "sys.UnraisableHookArgs") -> None:
    """Tells of an error in a destructor, unless it came there from the handler of a signal."""
    if not isinstance(lost.exc_value, StopRequested | SystemExit):
        sys.__unraisablehook__(lost)


def _listen() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def _stop(_number: int, _frame: FrameType | None) -> None:
    _leave.is_told = True
    log.info("stopped")
    sys.exit(0)


if __name__ == "__main__":
    main()

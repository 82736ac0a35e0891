"""``python -m worker``: takes training jobs from Redis until it is told to stop."""

import logging
import signal
import sys
import time
from types import FrameType

import redis

from worker.queue import Queue
from worker.settings import NICENESS, Settings, SettingsError
from worker.trainer.rq_worker import TrainingWorker, be_nice, configure_logging

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
"""Seconds between two lives of a worker; doubled each time."""

LONGEST_WAIT = 2.0
"""Seconds between two looks at whether Redis is back."""

STEADY = 30.0
"""A worker that lived this many seconds was well: the pauses begin anew."""

log = logging.getLogger("charloom.worker")


def main() -> None:
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        sys.exit(f"worker: {error}")
    configure_logging()
    be_nice(NICENESS)
    keep_working(settings)
    log.info("stopped")


def keep_working(settings: Settings) -> None:
    """Works until a signal; while Redis is away it waits, and survives what ends RQ's loop."""
    pause = FIRST_PAUSE
    while True:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _leave)
        wait_for_redis(settings)
        began = time.monotonic()
        worker = None
        try:
            worker = TrainingWorker(settings)
            log.info("ready for jobs")
            worker.work(logging_level="ERROR")
        except redis.RedisError as error:
            log.warning("lost Redis: %s", error)
        if worker and worker.told_to_stop:
            return
        if time.monotonic() - began > STEADY:
            pause = FIRST_PAUSE
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def wait_for_redis(settings: Settings) -> None:
    queue = Queue(settings.redis_url)
    pause = FIRST_PAUSE
    while not queue.ping():
        if pause == FIRST_PAUSE:
            log.warning("waiting for Redis")
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_WAIT)


def _leave(_number: int, _frame: FrameType | None) -> None:
    log.info("stopped")
    sys.exit(0)


if __name__ == "__main__":
    main()

"""The process that trains one job, started by a worker for each: ``-m worker.trainer.horse``.

It is tied to the worker: if that is killed, this dies too, before anybody else is given the job.
Importing comes late, so that neither a signal nor the worker's death is missed meanwhile.
"""

import ctypes
import os
import signal
import sys

from worker.trainer.handover import WORKER_PID

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Ties this process to its parent. The kernel of macOS has no such tie; the lock has to do."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have died before it was asked for.
    if os.getppid() != parent:
        os._exit(1)


def main() -> None:
    die_with(int(os.environ[WORKER_PID]))
    from worker.trainer import stop

    stop.listen()
    perform()


def perform() -> None:
    """Runs the job that the environment names, then exits."""
    import redis
    from rq.exceptions import NoSuchJobError
    from rq.executions import Execution

    from worker import logs
    from worker.settings import Settings
    from worker.trainer.rq_worker import TrainingJob, TrainingWorker, configure_logging, log

    configure_logging()
    settings = Settings.from_environment()
    worker = TrainingWorker(settings, os.environ["RQ_WORKER_ID"], is_horse=True)
    job_id = os.environ["RQ_JOB_ID"]
    with logs.about(job_id=job_id):
        try:
            job = TrainingJob.fetch(job_id, connection=worker.connection, serializer="json")
            execution = Execution.fetch(os.environ["RQ_EXECUTION_ID"], job_id, worker.connection)
        except (NoSuchJobError, ValueError, redis.RedisError) as error:
            # It will be found on disk and come again.
            log.warning("job %s: Redis lost it on the way: %s", job_id, error)
            sys.exit(1)
        execution._job = job
        worker.execution = execution
        worker.main_work_horse(job, worker.queues[0])


if __name__ == "__main__":
    main()

"""The process that trains one job, started by a worker for each: ``-m worker.trainer.horse``.

It is tied to the worker: if that is killed, this dies too, before any other worker gets the job.
Imports come late, so that neither a signal nor the worker's death is missed meanwhile. Knows what
RQ hands over, and nothing of training.
"""

import os
import sys

from worker.tether import die_with
from worker.trainer.handover import REDIS_LOST, WORKER_PID


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
    from worker.settings import WorkerSettings
    from worker.storage.opening import opened
    from worker.trainer.rq_worker import TrainingJob, TrainingWorker, configure_logging

    configure_logging()
    settings = opened(WorkerSettings.from_environment())
    worker = TrainingWorker(settings, os.environ["RQ_WORKER_ID"], is_horse=True)
    job_id = os.environ["RQ_JOB_ID"]
    with logs.about(job_id=job_id):
        try:
            job = TrainingJob.fetch(job_id, connection=worker.connection, serializer="json")
            execution = Execution.fetch(os.environ["RQ_EXECUTION_ID"], job_id, worker.connection)
        except (NoSuchJobError, ValueError, redis.RedisError) as error:
            # The reconciler finds it on disk and queues it again.
            logs.logger("worker.trainer.horse").warning(
                "job %s: Redis lost it on the way: %s", job_id, error
            )
            sys.exit(REDIS_LOST)
        execution._job = job
        worker.execution = execution
        worker.main_work_horse(job, worker.queues[0])


if __name__ == "__main__":
    main()

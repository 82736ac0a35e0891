"""One of several processes that train a job together: ``-m worker.trainer.rank``, by torchrun.

It is tied to the horse that started it, and like that imports late. Rank 0 trains the job as a
horse does by itself, under the horse's turn; the others follow it, and neither signals nor a cancel
concern them. Knows no lock, no lease, and nothing of how the attempt is concluded.
"""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from worker.tether import die_with

if TYPE_CHECKING:
    from models.training.ranks import Ranks
    from worker.jobs import Job
    from worker.live import Followers
    from worker.settings import WorkerSettings
    from worker.trainer.outcome import Outcome
    from worker.trainer.stop import Stop


def main(parent: str, job_id: str, turn: str, directory: str) -> None:
    die_with(int(parent))
    from worker import logs
    from worker.trainer import launch, stop

    stop.listen()
    stop.heed(Path(directory) / launch.FLAG)
    logs.configure(sys.stdout)
    code = 1
    try:
        with logs.about(job_id=job_id):
            code = perform(job_id, turn, Path(directory))
    except BaseException:
        traceback.print_exc()
    leave(code)


def leave(code: int) -> None:
    """Ends this process and waits for no thread, which might wait for a rank that is lost."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def perform(job_id: str, turn: str, directory: Path) -> int:
    """Trains as the rank that the environment names; returns the exit code."""
    from models.files import is_disk_full
    from worker.jobs import JobStore
    from worker.settings import WorkerSettings
    from worker.storage.opening import opened
    from worker.trainer import launch

    settings = opened(WorkerSettings.from_environment())
    # As it lies there: the horse keeps it fresh, and sends what is done.
    job, settings = beside(JobStore(settings.data.jobs).get(job_id), settings)
    epoch, _, owner = turn.partition("-")
    job.join_turn(int(epoch), owner)
    rank = _Rank(job, settings, directory, int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    outcome = rank.lead() if rank.number == 0 else rank.follow()
    try:
        launch.report(directory, rank.number, outcome)
    except OSError as error:
        if not is_disk_full(error):
            raise
        return launch.FULL
    return 0 if outcome.ending == "finished" or rank.number == 0 else 1


def beside(job: "Job", settings: "WorkerSettings") -> tuple["Job", "WorkerSettings"]:
    """The job and the settings to work with beside the horse, which sends what is done."""
    from worker.storage.mirror import Mirror
    from worker.storage.shipping import AtWork

    data = settings.data
    if not isinstance(data.storage, Mirror):
        return job, settings
    storage = AtWork(data.storage, job.directory, data.models / job.model)
    storage.learn()
    return job.on(storage), replace(settings, data=replace(data, storage=storage))


@dataclass(frozen=True, slots=True)
class _Rank:
    job: "Job"
    settings: "WorkerSettings"
    directory: Path
    number: int
    size: int

    def lead(self) -> "Outcome":
        """Trains the job; what it says ends the others."""
        from worker.queue import Queue
        from worker.storage.shipping import AtWork
        from worker.trainer.outcome import Outcome, attempted

        def work(stopping: "Stop") -> Outcome:
            from worker.trainer.session import train

            storage = self.settings.data.storage
            live: Followers = (
                storage if isinstance(storage, AtWork) else Queue.of(self.settings).events
            )
            with self._joined() as group:
                return Outcome.of(train(self.job, live, self.settings, stopping, group))

        return attempted(self.job, work)

    def follow(self) -> "Outcome":
        """Does what rank 0 says."""
        from worker.trainer.outcome import Outcome, outcome_of

        try:
            from models.training.following import follow
            from worker.trainer.plan import Workplace, follower

            with self._joined() as group:
                place = Workplace.of(self.settings, group)
                follow(group, lambda: follower(self.job, place))
        except Exception as error:
            return outcome_of(error, self.job)
        return Outcome("finished")

    @contextmanager
    def _joined(self) -> Iterator["Ranks"]:
        """The group of all ranks. One that has lost the others ends here: it is no cause."""
        from models.training.ranks import RankLost, joined
        from worker import logs
        from worker.trainer import launch
        from worker.trainer.failures import Death, names_gpu
        from worker.trainer.outcome import Outcome

        try:
            with joined(self.number, self.size, self.directory / launch.STORE) as group:
                yield group
        except RankLost as lost:
            logs.logger(__name__).info("rank %d: %s", self.number, lost)
            if names_gpu(str(lost)):
                # Of a GPU that has failed each rank hears here, and no other way.
                with suppress(OSError):
                    outcome = Outcome("dead", death=Death.by_gpu(str(lost)))
                    launch.report(self.directory, self.number, outcome)
            leave(launch.LOST)


if __name__ == "__main__":
    main(*sys.argv[1:])

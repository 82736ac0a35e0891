"""How an attempt at a job ends, in the process that trains or in the one that started several.

Knows no training and no queue.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from models.files import is_disk_full
from worker import logs
from worker.events import ErrorText
from worker.fence import Fenced
from worker.jobs import Job
from worker.trainer import stop
from worker.trainer.failures import Death, Failure

log = logs.logger(__name__)

Ending = Literal["finished", "cancelled", "failed", "again", "full", "dead"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """``error`` of a job that failed, ``death`` of an attempt that died."""

    ending: Ending
    error: ErrorText | None = None
    death: Death | None = None

    @classmethod
    def of(cls, reason: stop.Reason | None) -> Self:
        """That of work which ended, or was put down for a reason."""
        if reason is None:
            return cls("finished")
        return cls("cancelled" if reason == "cancel" else "again")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        death = values["death"]
        return cls(values["ending"], values["error"], death and Death(**death))


def attempted(job: Job, work: Callable[[stop.Stop], Outcome]) -> Outcome:
    """Does some work, which may be put down, and says how it ended whatever it raises.

    Raises:
        Fenced: another process has taken the job.
    """
    with stop.Stop(job) as stopping:
        try:
            return work(stopping)
        except Fenced:
            stopping.acknowledge()
            raise
        except stop.PutDown:
            stopping.acknowledge()
            return Outcome.of(stopping.reason)
        except Exception as error:
            stopping.acknowledge()
            return outcome_of(error, job)


def outcome_of(error: Exception, job: Job) -> Outcome:
    """The outcome of work that raised an error."""
    if isinstance(error, Failure):
        return Outcome("failed", error.error)
    if is_disk_full(error):
        log.warning("job %s: the disk is full", job.id)
        return Outcome("full")
    log.error("job %s: an attempt ended with an error", job.id, exc_info=error)
    return Outcome("dead", death=Death.by_error(error))

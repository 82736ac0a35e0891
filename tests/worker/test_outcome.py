"""An attempt's end is told, whatever it was."""

import errno

import pytest

from worker.fence import Fenced
from worker.jobs import Job
from worker.trainer.failures import Death, Failure
from worker.trainer.outcome import Outcome, attempted
from worker.trainer.stop import Reason, Stop


@pytest.mark.parametrize(
    ("reason", "ending"), [(None, "finished"), ("cancel", "cancelled"), ("shutdown", "again")]
)
def test_work_ends_or_is_put_down(reason: Reason | None, ending: str) -> None:
    assert Outcome.of(reason).ending == ending


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (Failure("The text is gone", "Send it again."), "failed"),
        (OSError(errno.ENOSPC, "no room"), "full"),
        (RuntimeError("surprise"), "dead"),
        (MemoryError(), "dead"),
    ],
)
def test_what_work_raises_is_its_outcome(job: Job, error: Exception, ending: str) -> None:
    def work(_stopping: Stop) -> Outcome:
        raise error

    outcome = attempted(job, work)
    assert outcome.ending == ending
    assert (outcome.error is not None) == (ending == "failed")
    assert (outcome.death is not None) == (ending == "dead")


def test_who_lost_the_job_says_nothing_of_its_end(job: Job) -> None:
    def work(_stopping: Stop) -> Outcome:
        raise Fenced("another has it")

    with pytest.raises(Fenced):
        attempted(job, work)


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome("finished"),
        Outcome("failed", {"title": "No", "detail": "Never."}),
        Outcome("dead", death=Death.by_error(MemoryError())),
        Outcome("dead", death=Death.by_gpu("CUDA error: unknown error")),
    ],
)
def test_an_outcome_is_the_same_in_another_process(outcome: Outcome) -> None:
    assert Outcome.from_json(outcome.to_json()) == outcome

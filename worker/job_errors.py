"""What cannot be done with a job. Knows no job."""

from models.errors import Conflict, NotFound


class UnknownJob(NotFound):
    """No job has this id."""

    code = "unknown_job"


class NameTaken(Conflict):
    """An unended job has that model name; ``job_id`` names it."""

    code = "name_taken"

    def __init__(self, model: str, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"job {job_id} is still training {model}: cancel it or wait for its end")


class Ended(Conflict):
    """The job has ended already."""

    code = "job_ended"


class NotEnded(Conflict):
    """The job has not ended yet."""

    code = "job_not_ended"


class JobDamaged(Conflict):
    """The job's spec cannot be read, so it can only be deleted."""

    code = "damaged_job"

    def __init__(self, damage: str) -> None:
        super().__init__(f"the job's files are damaged ({damage}): delete it and start a new one")

"""An error says which job it is about, and what to do."""

from worker.job_errors import JobDamaged, NameTaken


def test_a_taken_name_tells_whose_it_is() -> None:
    error = NameTaken("linux", "01a2")
    assert error.job_id == "01a2"
    assert str(error) == "job 01a2 is still training linux: cancel it or wait for its end"


def test_a_damaged_job_says_what_can_be_done() -> None:
    assert str(JobDamaged("spec.json")).endswith("delete it and start a new one")

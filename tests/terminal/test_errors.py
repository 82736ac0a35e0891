"""A user's error is one line, whatever it was made of, and says whether a retry may mend it."""

from app.supervisor.errors import Misconfigured, UserError


def test_it_is_one_line() -> None:
    assert str(UserError("cannot read\n  the   file\n")) == "cannot read the file"


def test_wrong_settings_end_as_those_of_server_and_worker_do() -> None:
    assert (UserError("").exit_code, Misconfigured("").exit_code) == (1, 78)

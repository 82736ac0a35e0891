"""A user's error is one line, whatever it was made of."""

from app.supervisor.errors import UserError


def test_it_is_one_line() -> None:
    assert str(UserError("cannot read\n  the   file\n")) == "cannot read the file"

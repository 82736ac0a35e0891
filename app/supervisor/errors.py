"""The errors that end a command. Knows no command."""

import os

from models.errors import CharloomError


class UserError(CharloomError):
    """Why a command cannot do what was asked, in one line that says what to do about it.

    ``exit_code`` is the process's.
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class Misconfigured(UserError):
    """Settings are wrong: no retry mends them."""

    exit_code = os.EX_CONFIG

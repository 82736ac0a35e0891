"""The error that ends a command. Knows no command."""

from models.errors import CharloomError


class UserError(CharloomError):
    """Why a command cannot do what was asked, in one line that says what to do about it."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))

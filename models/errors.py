"""The errors that a person can act on, as one tree.

``app.http.problems`` tells HTTP clients about them and ``app.terminal`` the terminal's users. Knows
neither: an error says what is wrong and what to do, and its ``code`` names the kind for programs.
"""

from typing import ClassVar


class CharloomError(Exception):
    """What is wrong and what to do about it, in words that may change.

    ``code`` is for programs and never changes; ``docs/http-api.md`` lists them.
    """

    code: ClassVar[str] = "error"


class NotFound(CharloomError, LookupError):
    """Nothing has this name or id."""

    code = "not_found"


class Conflict(CharloomError, ValueError):
    """It cannot be done while things are as they are."""

    code = "conflict"


class Invalid(CharloomError, ValueError):
    """The request or the text cannot be used as it is."""

    code = "invalid"


class Oversized(CharloomError, ValueError):
    """It is larger than it may be."""

    code = "oversized"


class Damaged(CharloomError, ValueError):
    """A file does not hold what it should."""

    code = "damaged"


class Unavailable(CharloomError, RuntimeError):
    """It cannot be done now; later it may be."""

    code = "unavailable"


class TooMany(Unavailable):
    """Whoever asks has as many of them as one may; others are served."""

    code = "too_many"

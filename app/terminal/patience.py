"""How long a service that went away is waited for: another server, or a new one, may answer.

Knows no request.
"""

import time

from app.terminal.client import Passing

RETRY_PAUSE = 0.5
PATIENCE = 60.0
"""Seconds from the first failure; not from what was heard last, since a dead connection shows
late."""

STUCK = 2
"""Answers in a row that break off with nothing new, after which the next would do so too."""


class Patience:
    """Waits before the same is asked again, until that has failed for too long."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._stuck = 0

    def progressed(self) -> None:
        """Something new has come."""
        self._stuck, self._since = 0, None

    def wait(self, error: Passing) -> None:
        """Waits a moment. Raises the error: it has been too long."""
        now = time.monotonic()
        if self._since is None or error.heard:
            self._since = now
        if now - self._since > PATIENCE:
            raise error
        time.sleep(min(PATIENCE, max(RETRY_PAUSE, error.retry_after)))

    def wait_for_more(self, error: Passing) -> None:
        """As ``wait``, of what is the same each time: it also fails if nothing new comes."""
        self._stuck += error.heard
        if self._stuck > STUCK:
            raise error
        self.wait(error)

"""Who asks: what one caller may hold at once, so that others are served too.

The guard names the caller of each request; the engine and the routes count by it. Knows no key and
no address.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SCOPE_KEY = "charloom.caller"


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a key, or an IP address.

    ``name`` tells callers apart and nothing else. ``streams`` is how many texts it may have written
    at once; None is as many as the server writes, or its share of them if it ``shares``. Quotas are
    for those that share: nobody else is there from whom a laptop's only user takes anything.
    """

    name: str
    streams: int | None = None
    shares: bool = False

    def most(self, limit: int, others: int) -> int:
        """The places it may have of ``limit`` while others have some: half of what these leave, so
        that there are places for whoever comes next."""
        if self.streams is not None:
            return self.streams
        return max(1, (limit - others) // 2) if self.shares else limit


NOBODY = Caller("")
"""Of requests that no guard has admitted."""


def caller_of(scope: Mapping[str, Any]) -> Caller:
    """The caller of a request, from its ASGI scope."""
    caller: Caller = scope.get(SCOPE_KEY, NOBODY)
    return caller

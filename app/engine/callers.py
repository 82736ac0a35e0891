"""Who asks: what one caller may hold at once, so that others are served too.

The guard names the caller of each request; the engine counts by it. Knows no key and no address.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SCOPE_KEY = "charloom.caller"


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a key, or an IP address.

    ``name`` tells callers apart and nothing else. ``streams`` is how many texts it may have written
    at once; None is as many as the server writes.
    """

    name: str
    streams: int | None = None


NOBODY = Caller("")
"""Of requests that no guard has admitted."""


def caller_of(scope: Mapping[str, Any]) -> Caller:
    """The caller of a request, from its ASGI scope."""
    caller: Caller = scope.get(SCOPE_KEY, NOBODY)
    return caller

"""What a client may still do, told in every answer to which a limit applies.

The fields are those of the IETF's draft (draft-ietf-httpapi-ratelimit-headers-10). Of each limit,
``RateLimit-Policy`` has the quota ``q``, its unit ``qu`` unless that is requests, and the window
``w`` in seconds where there is one; ``RateLimit`` has what is left, ``r``, and the seconds ``t``
until there is more. Knows no limit.
"""

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Literal

_KEY = "charloom.allowances"

FIELDS = ("RateLimit-Policy", "RateLimit")

Unit = Literal["requests", "concurrent-requests", "content-bytes", "items"]
"""The last one is ours."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """A quota and what is left of it; ``window`` and ``seconds`` for those that come back."""

    name: str
    quota: int
    left: int
    unit: Unit = "requests"
    window: int | None = None
    seconds: int | None = None


def begin(scope: MutableMapping[str, Any]) -> None:
    """Prepares a request; layers below may copy its scope."""
    scope[_KEY] = []


def tell(scope: Mapping[str, Any], ask: Callable[[], Allowance]) -> None:
    """Has the answer to a request tell an allowance, as it is when the answer begins."""
    scope.get(_KEY, []).append(ask)


def told(scope: Mapping[str, Any]) -> dict[str, str]:
    """The header fields of the answer to a request."""
    return fields(*(ask() for ask in scope.get(_KEY, ())))


def fields(*allowances: Allowance) -> dict[str, str]:
    """The header fields for some allowances."""
    if not allowances:
        return {}
    policies, states = map(_policy, allowances), map(_state, allowances)
    return {FIELDS[0]: ", ".join(policies), FIELDS[1]: ", ".join(states)}


def _policy(allowance: Allowance) -> str:
    unit = "" if allowance.unit == "requests" else f';qu="{allowance.unit}"'
    window = "" if allowance.window is None else f";w={allowance.window}"
    return f'"{allowance.name}";q={allowance.quota}{unit}{window}'


def _state(allowance: Allowance) -> str:
    seconds = "" if allowance.seconds is None else f";t={allowance.seconds}"
    return f'"{allowance.name}";r={max(0, allowance.left)}{seconds}'

"""Which other origins' pages may sample. Knows no request."""

from collections.abc import Collection

EVERY = "*"


def may_sample(origin: str, allowed: Collection[str]) -> bool:
    """Whether the operator's list, in lower case, has an origin."""
    return EVERY in allowed or origin.lower() in allowed

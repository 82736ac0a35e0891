"""Moments as files, answers and logs state them."""

import time
from datetime import UTC, datetime


def timestamp(seconds: float | None = None) -> str:
    """RFC 3339 in UTC, to the millisecond; now unless given seconds since the epoch."""
    moment = datetime.fromtimestamp(time.time() if seconds is None else seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

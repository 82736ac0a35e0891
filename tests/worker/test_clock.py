"""Time stamps are RFC 3339 in UTC, to the millisecond."""

import time
from datetime import datetime

from worker.clock import timestamp


def test_a_moment_has_milliseconds_and_a_z() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00.000Z"
    assert timestamp(1_700_000_000.1239) == "2023-11-14T22:13:20.123Z"


def test_without_a_moment_it_is_now() -> None:
    before = time.time() - 0.001
    assert before <= datetime.fromisoformat(timestamp()).timestamp() <= time.time()

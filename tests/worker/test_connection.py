"""An outage of Redis is said once when it begins and once when it ends."""

import pytest
import redis

from tests.support import NOWHERE
from worker.connection import Outage, connect


def test_an_outage_is_said_at_both_its_ends(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage()
    outage.ended()
    assert caplog.messages == []
    for _ in range(3):
        outage.began(redis.ConnectionError("refused"))
    for _ in range(3):
        outage.ended()
    outage.began(redis.TimeoutError("silent"))
    assert caplog.messages == ["Redis is away: refused", "Redis is back", "Redis is away: silent"]
    assert {record.name for record in caplog.records} == {"charloom.worker.connection"}


def test_a_redis_that_is_away_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("redis.retry.sleep", pauses.append)
    with connect(NOWHERE) as client, pytest.raises(redis.ConnectionError):
        client.ping()
    assert pauses == []


def test_a_redis_that_answers_is_asked(redis_url: str) -> None:
    with connect(redis_url) as client:
        assert client.ping()

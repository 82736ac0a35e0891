"""Connections to Redis for short questions, and one log line at each end of an outage."""

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker import logs

TIMEOUT = 2.0
"""Seconds until a question to Redis counts as unanswered."""

log = logs.logger(__name__)


def connect(url: str) -> "redis.Redis":
    """A connection for short questions: an answer or an error within seconds."""
    return redis.Redis.from_url(
        url,
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        retry=Retry(NoBackoff(), 1),
    )


class Outage:
    """Logs once that Redis is away, and once that it is back."""

    def __init__(self) -> None:
        self._away = False

    def began(self, error: redis.RedisError) -> None:
        if not self._away:
            self._away = True
            log.warning("Redis is away: %s", error)

    def ended(self) -> None:
        if self._away:
            self._away = False
            log.warning("Redis is back")

"""Connections to Redis for short commands, and one log line at each end of an outage.

Knows no command.
"""

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker import logs

TIMEOUT = 2.0
"""Seconds until a command to Redis counts as unanswered."""

log = logs.logger(__name__)


def connect(url: str) -> "redis.Redis":
    """A connection for short commands: an answer or an error within seconds."""
    return redis.Redis.from_url(
        url,
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        retry=Retry(NoBackoff(), 1),
    )


class Outage:
    """Logs when Redis goes away and when it is back, once each."""

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

"""Connections to Redis for short commands, outages in the log, refusals in words.

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


def refusal(error: BaseException) -> str | None:
    """What to do where Redis answers, but refuses us; None where it is away."""
    if isinstance(error, redis.exceptions.NoPermissionError):
        return (
            f"Redis does not let its user do enough ({error}): SECURITY.md has the rules it needs"
        )
    if isinstance(error, redis.AuthenticationError):
        # The latter where a connection begins with HELLO.
        if "required" in str(error) or "HELLO" in str(error):
            return "Redis wants a password: put the user and the password into CHARLOOM_REDIS_URL"
        return (
            f"Redis refuses the user or the password in CHARLOOM_REDIS_URL ({error}): correct it "
            "there, with characters such as @ : / % written as %40 %3A %2F %25, or in Redis"
        )
    return None


def refusal_at(url: str) -> str | None:
    """What to do where the Redis at a URL refuses us; None where it does not, or is away."""
    try:
        with connect(url) as client:
            client.exists("rq:queues")
    except redis.RedisError as error:
        return refusal(error)
    return None


class Outage:
    """Logs when Redis goes away or refuses us, and when it is back, once each.

    ``refusal`` says what to do while it refuses us.
    """

    def __init__(self) -> None:
        self._is_away = False
        self.refusal: str | None = None

    def began(self, error: redis.RedisError) -> None:
        reason = refusal(error)
        if reason and reason != self.refusal:
            log.error("%s", reason)
        elif not reason and not self._is_away:
            log.warning("Redis is away: %s", error)
        self._is_away = True
        self.refusal = reason

    def ended(self) -> None:
        if self._is_away:
            self._is_away = False
            self.refusal = None
            log.warning("Redis is back")

"""Counts requests against rates: in Redis for all servers that share it, else in this process.

While Redis is away or slow every server counts by itself, so an outage refuses nobody and opens
nothing. Knows no request.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import limits
import redis
import redis.asyncio
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter as SharedLimiter
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from worker import logs

PREFIX = "charloom:rates"
"""Of the keys in Redis."""

PATIENCE_SECONDS = 0.5
"""For which a request waits for Redis."""

PAUSE_SECONDS = 5.0
"""Without an attempt to ask Redis after one that failed."""

log = logs.logger(__name__)

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Window:
    """Whether one more fits in, how many are left then, and the seconds until there are more."""

    fits: bool
    left: int
    seconds: int


class Rates:
    """Counters of requests by kind and by whose they are. Used on one event loop."""

    def __init__(self, redis_url: str | None = None) -> None:
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._pool = _pool(redis_url) if redis_url else None
        self._shared = _shared(self._pool) if self._pool else None
        self._quiet_until = 0.0
        self._away = False

    async def close(self) -> None:
        """Closes the connections to Redis."""
        if self._pool:
            await self._pool.disconnect()

    async def hit(self, rate: limits.RateLimitItem, kind: str, whose: str) -> Window:
        """Counts one more, if it fits in."""
        return await self._window("hit", rate, kind, whose)

    async def look(self, rate: limits.RateLimitItem, kind: str, whose: str) -> Window:
        """As ``hit``, but counts nothing."""
        return await self._window("test", rate, kind, whose)

    async def _window(
        self, method: Literal["hit", "test"], rate: limits.RateLimitItem, kind: str, whose: str
    ) -> Window:
        async def in_redis(limiter: SharedLimiter) -> Window:
            fits = await getattr(limiter, method)(rate, kind, whose)
            return _window(fits, *await limiter.get_window_stats(rate, kind, whose))

        answer = await self._ask(in_redis)
        if answer is not None:
            return answer
        fits = getattr(self._own, method)(rate, kind, whose)
        return _window(fits, *self._own.get_window_stats(rate, kind, whose))

    async def _ask(self, ask: Callable[[SharedLimiter], Awaitable[Answer]]) -> Answer | None:
        """What Redis says; None where there is none or it does not answer."""
        if self._shared is None or time.monotonic() < self._quiet_until:
            return None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                answer = await ask(self._shared)
        except (redis.RedisError, OSError, TimeoutError) as error:
            self._quiet_until = time.monotonic() + PAUSE_SECONDS
            if not self._away:
                log.warning("rates count for this server only while Redis is away: %s", error)
            self._away = True
            return None
        self._away = False
        return answer


def _pool(url: str) -> "redis.asyncio.ConnectionPool":
    return redis.asyncio.ConnectionPool.from_url(
        url, socket_timeout=PATIENCE_SECONDS, socket_connect_timeout=PATIENCE_SECONDS
    )


def _shared(pool: "redis.asyncio.ConnectionPool") -> SharedLimiter:
    # The pool has the URL, which limits would read in its own way.
    options: dict[str, Any] = {"connection_pool": pool}
    storage = RedisStorage("async+redis://", implementation="redispy", key_prefix=PREFIX, **options)
    return SharedLimiter(storage)


def _window(fits: bool, reset: float, left: int) -> Window:
    return Window(fits, left, max(1, math.ceil(reset - time.time())))

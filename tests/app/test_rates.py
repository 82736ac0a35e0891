"""Servers that share a Redis count rates together, and without one each for itself."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import limits
import pytest
import redis

from app.access import rates
from app.access.rates import Rates
from app.supervisor.valkey import EmbeddedRedis


@asynccontextmanager
async def counting(url: str, count: int) -> AsyncIterator[list[Rates]]:
    servers = [Rates(url) for _ in range(count)]
    yield servers
    for server in servers:
        await server.close()


TWO = limits.parse("2/hour")


def test_servers_count_together(redis_url: str) -> None:
    async def check() -> None:
        async with counting(redis_url, 2) as (one, other):
            assert (await one.look(TWO, "key", "a")).fits
            first = await one.hit(TWO, "key", "a")
            assert first.fits and first.left == 1 and 0 < first.seconds <= 3600
            assert (await other.hit(TWO, "key", "a")).left == 0
            for server in (one, other):
                assert not (await server.look(TWO, "key", "a")).fits
                refused = await server.hit(TWO, "key", "a")
                assert not refused.fits and refused.left == 0 < refused.seconds
            assert (await other.hit(TWO, "key", "b")).fits
            assert (await other.hit(TWO, "IP address", "a")).fits

    asyncio.run(check())
    with redis.Redis.from_url(redis_url) as client:
        keys = client.keys()
        assert keys and all(key.startswith(b"charloom:") and client.ttl(key) > 0 for key in keys)


def test_without_redis_each_counts_for_itself() -> None:
    async def check() -> None:
        one, other = Rates(), Rates()
        assert [(await one.hit(TWO, "key", "a")).fits for _ in range(3)] == [True, True, False]
        assert not (await one.look(TWO, "key", "a")).fits
        assert (await other.hit(TWO, "key", "a")).fits

    asyncio.run(check())


def test_an_outage_refuses_nobody_and_opens_nothing(
    own_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def check() -> None:
        monkeypatch.setattr(rates, "PAUSE_SECONDS", 300.0)
        async with counting(own_redis.url, 3) as (server, hasty, third):
            assert (await server.hit(TWO, "key", "a")).left == 1
            assert own_redis.process
            own_redis.process.kill()
            own_redis.process.wait()
            with caplog.at_level(logging.WARNING):
                here = [(await server.hit(TWO, "key", "a")).fits for _ in range(3)]
            assert here == [True, True, False]
            assert len(caplog.records) == 1
            monkeypatch.setattr(rates, "PAUSE_SECONDS", 0.0)
            assert (await hasty.hit(TWO, "key", "b")).left == 1
            own_redis.start()
            # Not asked again at once: each request would wait for a Redis that hangs.
            assert not (await server.hit(TWO, "key", "a")).fits
            assert (await hasty.hit(TWO, "key", "b")).left == 1
            assert (await third.hit(TWO, "key", "b")).left == 0

    asyncio.run(check())

"""Each request has a caller: the holder of its key, or the IP address that it comes from."""

import asyncio
from typing import Any

import pytest

from app.access.guard import Guard
from app.access.keys import KeyRing
from app.engine.callers import NOBODY, Caller, caller_of

KEYS = "the-key-of-one:sample,the-key-of-another:sample+train"


def callers(
    path: str = "/sample", address: str = "192.0.2.1", key: str = "", **settings: Any
) -> Caller:
    """The caller that an application sees."""
    seen = []

    async def inner(scope: Any, _receive: Any, send: Any) -> None:
        seen.append(caller_of(scope))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def send(_: Any) -> None:
        pass

    headers = [(b"host", b"localhost")]
    if key:
        headers.append((b"authorization", f"Bearer {key}".encode()))
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": path,
        "headers": headers,
        "client": (address, 1),
    }
    keys = KeyRing.parse(settings.pop("keys", ""))
    asyncio.run(Guard(inner, keys=keys, **settings)(scope, None, send))  # type: ignore[arg-type]
    return seen[0]


def test_without_keys_a_caller_is_an_address() -> None:
    one, other = callers(), callers(address="192.0.2.2")
    assert one != other and callers("/models") == one
    assert one.streams is None
    assert callers(address="2001:db8::1") == callers(address="2001:db8::2") != one


def test_with_keys_it_is_a_key_wherever_it_comes_from() -> None:
    one, other = (callers(key=f"the-key-of-{key}", keys=KEYS) for key in ("one", "another"))
    assert one != other
    assert one == callers("/v1/models", "192.0.2.2", "the-key-of-one", keys=KEYS)
    assert one.streams is None and "the-key" not in one.name


@pytest.mark.parametrize("keys", ["", KEYS])
def test_an_address_that_may_sample_without_a_key_has_a_limit(keys: str) -> None:
    public: dict[str, Any] = {"keys": keys, "is_public": True, "public_streams": 5}
    caller = callers(**public)
    assert caller.streams == 5
    if keys:
        holder = callers(key="the-key-of-one", **public)
        assert holder.streams is None


def test_where_no_guard_is_there_is_nobody() -> None:
    assert caller_of({"type": "http"}) == NOBODY == callers("/healthz")

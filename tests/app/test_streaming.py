"""An answer that is sent while it is made frees what it holds, however it ends."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from starlette.types import Message

from app.http.streaming import ClosingResponse, event


async def chunks() -> AsyncIterator[bytes]:
    yield b"a"
    yield b"b"


def answered(closed: list[str], *, fails: bool = False) -> list[Message]:
    """What a response sends; the client's connection breaks at once if it ``fails``."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        if fails:
            raise OSError("gone")
        sent.append(message)

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    response = ClosingResponse(chunks(), "text/plain", {}, lambda: closed.append("closed"))
    scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
    asyncio.run(response(scope, receive, send))
    return sent


def test_it_is_closed_when_all_is_sent() -> None:
    closed: list[str] = []
    bodies = [m.get("body") for m in answered(closed) if m["type"] == "http.response.body"]
    assert bodies == [b"a", b"b", b""]
    assert closed == ["closed"]


def test_it_is_closed_when_the_client_is_gone_before_the_first_chunk() -> None:
    closed: list[str] = []
    with pytest.raises((OSError, ExceptionGroup)):
        answered(closed, fails=True)
    assert closed == ["closed"]


def test_an_event_is_one_line_of_json() -> None:
    sent = event("text", {"text": "é\nx"}).decode()
    assert sent.startswith("event: text\ndata: ") and sent.endswith("\n\n")
    assert json.loads(sent.split("data: ")[1]) == {"text": "é\nx"}
    assert "é" in sent

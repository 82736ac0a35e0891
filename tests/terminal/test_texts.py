"""Texts and names continue on another server, and are what one undisturbed server gives."""

import json
import re
from typing import Any

import httpx2
import pytest

from app.supervisor.errors import UserError
from app.terminal import patience, texts
from app.terminal.client import Client
from tests.scripted import HANG_UP, answer, scripted

SSE = "text/event-stream"
STATE = {"finish_reason": "shutdown", "characters": 2, "state": "token"}
DONE = {"finish_reason": "length", "characters": 9, "state": None}
BUSY = json.dumps({"detail": "the server is shutting down", "code": "shutting_down"})


@pytest.fixture(autouse=True)
def pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RETRY_PAUSE", 0)


def events(*said: str | dict[str, Any], digest: str = "d") -> bytes:
    """An answer with these texts, and perhaps an end."""
    lines = [
        f"event: text\ndata: {json.dumps({'text': one})}\n\n"
        if isinstance(one, str)
        else f"event: end\ndata: {json.dumps(one)}\n\n"
        for one in said
    ]
    return answer("".join(lines), SSE, "200 OK", f"X-Model-Digest: {digest}")


def bodies(asked: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(one.partition(b"\r\n\r\n")[2]) for one in asked]


def test_a_text_moves_as_often_as_servers_stop() -> None:
    """With a state, without one, and where a server is lost without a word."""
    none = STATE | {"characters": 0, "state": None}
    with scripted(
        answer(BUSY, "application/problem+json", "503 Service Unavailable"),
        events("ab", "cd", STATE | {"characters": 3}),
        HANG_UP,
        events("e"),
        events(none),
        answer("", "text/html", "502 Bad Gateway"),
        # The state comes before all of what was had came again.
        events("e", "fgh"),
        events("efg", STATE | {"characters": 3, "state": "other"}),
        events("hi", DONE),
    ) as server:
        fields = {"model": "m", "prime": "a", "echo": True, "length": 8, "temperature": 0.5}
        assert "".join(texts.text(Client(server.url), fields)) == "abcdefghi"
        asked = bodies(server.asked)
    seed = asked[0].pop("seed")
    assert 0 <= seed < texts.SEEDS
    assert asked[0] == fields and asked[1] == fields | {"seed": seed}
    rest = {"model": "m", "temperature": 0.5, "seed": seed, "length": 5, "continue_from": "token"}
    assert asked[2:8] == [rest] * 6
    assert asked[8] == rest | {"length": 2, "continue_from": "other"}


def test_a_text_that_breaks_off_again_and_again_ends() -> None:
    once = events("Once upon")
    with scripted(once, once, once, once) as server:
        with pytest.raises(UserError, match="broke off"):
            list(texts.text(Client(server.url), {"model": "m"}))
        assert len(server.asked) == patience.STUCK + 1


def test_another_checkpoint_continues_no_text() -> None:
    with scripted(events("Once"), events("Twice", digest="e")) as server:
        said = texts.text(Client(server.url), {"model": "m"})
        assert next(said) == "Once"
        with pytest.raises(UserError, match="the model was trained further meanwhile"):
            next(said)
    # Of a text of which nothing was had, any checkpoint may write all.
    with scripted(events(STATE | {"state": None}), events("Twice", DONE, digest="e")) as server:
        assert list(texts.text(Client(server.url), {"model": "m"})) == ["Twice"]


def test_a_service_that_refuses_is_not_asked_again() -> None:
    full = json.dumps({"detail": "the server is full", "code": "server_full"})
    refused = answer(full, "application/problem+json", "503 Service Unavailable")
    with scripted(refused) as server:
        for said in (texts.text, texts.names):
            with pytest.raises(UserError):
                list(said(Client(server.url), {}))
        assert len(server.asked) == 2


def test_names_come_once_each() -> None:
    def names(*found: str) -> bytes:
        text = "".join(f"{name}\n" for name in found).encode()
        head = "HTTP/1.1 200 OK\r\nX-Model-Digest: d\r\nTransfer-Encoding: chunked\r\n\r\n"
        return head.encode() + f"{len(text):x}\r\n".encode() + text + b"\r\n"

    whole = names("Ada", "Bo", "Cy") + b"0\r\n\r\n"
    with scripted(names("Ada", "Bo"), HANG_UP, names("Ada"), whole) as server:
        assert list(texts.names(Client(server.url), {"count": 3})) == ["Ada", "Bo", "Cy"]
        seeds = {re.search(rb"seed=(\d+)", asked)[1] for asked in server.asked}  # type: ignore[index]
    assert len(seeds) == 1


def test_a_text_without_a_seed_differs_each_time(client: httpx2.Client) -> None:
    one, other = (
        "".join(texts.text(Client(str(client.base_url)), {"model": "toy"})) for _ in range(2)
    )
    assert len(one) == len(other) == 1000 and one != other

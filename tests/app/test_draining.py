"""A server that stops ends no text: it lets answers end, and hands over what is left of texts."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.serving import Query, eventually, serve, stoppable
from worker.jobs import JobStore

EVENTS = {"Accept": "text/event-stream"}
JSON = {"Accept": "application/json"}
LONG = 60
"""Seconds of a drain that ends before, when all answers have ended."""

Event = tuple[str, dict[str, Any]]


def told(lines: Iterator[str]) -> Iterator[Event]:
    """Server-sent events, as their name and data."""
    name = ""
    for line in lines:
        key, _, value = line.partition(": ")
        if key == "event":
            name = value
        elif key == "data":
            yield name, json.loads(value)


def text_and_end(events: Iterator[Event]) -> tuple[str, dict[str, Any]]:
    text = ""
    for name, data in events:
        if name == "end":
            return text, data
        text += data["text"]
    raise AssertionError("no end")


@pytest.mark.parametrize("model", ["toy", "gru", "counted", "bytes"])
def test_what_is_left_of_a_text_is_written_elsewhere(toys: Path, model: str) -> None:
    """As events and as JSON; the parts are the text that an undisturbed server writes."""
    fields: Query = {"model": model, "prime": "\n", "length": 1_000_000, "seed": 3, "top_k": 4}
    with ThreadPoolExecutor() as pool, stoppable(toys) as (client, stop):
        whole = pool.submit(client.get, "/sample", params=fields, headers=JSON)
        with client.stream("POST", "/sample", json=fields, headers=EVENTS) as answer:
            events = told(answer.iter_lines())
            begin = next(events)[1]["text"]
            stop()
            text, end = text_and_end(events)
        parts = [(begin + text, end), (whole.result().json()["text"], whole.result().json())]
    with serve(toys) as client:
        for text, end in parts:
            assert (end["finish_reason"], end["characters"]) == ("shutdown", len(text))
            rest = fields | {"continue_from": end["state"], "length": 50}
            del rest["prime"]
            text += client.post("/sample", json=rest).text
            assert text == client.get("/sample", params=fields | {"length": len(text)}).text


@contextmanager
def connected(client: httpx2.Client) -> Iterator[socket.socket]:
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), 20) as one:
        yield one


def request(method: str, target: str, *headers: str) -> bytes:
    return "\r\n".join(
        [f"{method} {target} HTTP/1.1", "Host: localhost", *headers, "", ""]
    ).encode()


def all_of(connection: socket.socket) -> str:
    received = b""
    while block := connection.recv(1 << 16):
        received += block
    return received.decode()


def refuses(client: httpx2.Client) -> bool:
    try:
        with connected(client):
            return False
    except ConnectionRefusedError:
        return True


def test_within_its_grace_answers_end_and_nothing_begins(toys: Path) -> None:
    job, _ = JobStore(toys / "jobs").create("followed", "c" * 64, {}, None)
    text = b"all work and no play makes a dull text\n" * 9
    upload = request("POST", "/corpora", "Content-Type: text/plain", f"Content-Length: {len(text)}")
    sample: Query = {"model": "toy", "length": 20_000, "seed": 1}
    with (
        stoppable(toys, drain_seconds=LONG) as (client, stop),
        connected(client) as idle,
        connected(client) as sending,
        connected(client) as probing,
        connected(client) as asking,
        client.stream("GET", f"/jobs/{job.id}/events") as following,
        client.stream("GET", "/sample", params=sample, headers=EVENTS) as writing,
    ):
        idle.sendall(request("GET", "/healthz"))
        answered = b""
        while not answered.endswith(b"}"):
            answered += idle.recv(1 << 16)
        sending.sendall(upload + text[:100])
        # The heads of these two are not complete.
        probing.sendall(request("GET", "/readyz")[:-2])
        asking.sendall(request("GET", "/sample?model=toy")[:-2])
        events = told(writing.iter_lines())
        next(events)
        # Those that were sent before have arrived.
        assert client.get("/healthz").status_code == 200
        stop()
        eventually(lambda: refuses(client))
        assert not idle.recv(1)
        assert not list(following.iter_bytes())
        probing.sendall(b"\r\n")
        asking.sendall(b"\r\n")
        for connection in (probing, asking):
            head, _, body = all_of(connection).partition("\r\n\r\n")
            assert head.startswith("HTTP/1.1 503") and "\r\nconnection: close" in head.lower()
            assert "\r\nretry-after: " in head.lower()
            problem = json.loads(body)
            assert problem["code"] == "shutting_down"
            assert ("models" in problem) == (connection is probing)
        assert text_and_end(events)[1]["finish_reason"] == "length"
        sending.sendall(text[100:])
        head = all_of(sending)
        assert head.startswith("HTTP/1.1 201") and "\r\nconnection: close" in head.lower()

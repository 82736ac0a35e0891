"""Who sends slowly is not waited for without end, and who sends at a pace is not cut off."""

import itertools
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from app.access import deadlines
from tests.serving import TEXT, eventually, serve


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx2.Client]:
    """Of a server without much patience."""
    monkeypatch.setattr(deadlines, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(deadlines, "BODY_SECONDS", 0.3)
    with serve(tmp_path / "data") as client:
        yield client


def connected(client: httpx2.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port), timeout=10)


def drip(connection: socket.socket, data: bytes) -> bytes:
    """Sends a byte at a time, each before the last could run out of time, until all is over."""
    connection.settimeout(0.05)
    answer = b""
    for byte in itertools.cycle(data):
        try:
            connection.sendall(bytes([byte]))
            received = connection.recv(1000)
        except TimeoutError:
            continue
        except OSError:
            break
        if not received:
            break
        answer += received
    return answer


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\n"])
def test_a_head_that_does_not_come(client: httpx2.Client, sent: bytes) -> None:
    with connected(client) as connection:
        connection.sendall(sent)
        assert connection.recv(1000) == b""


def test_a_head_that_comes_byte_by_byte(client: httpx2.Client) -> None:
    with connected(client) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        assert drip(connection, b"X: y\r\n") == b""


def test_a_second_head_has_no_more_time(client: httpx2.Client) -> None:
    with connected(client) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        # Head and body may come apart.
        while not answer.endswith(b'{"status":"ok"}'):
            received = connection.recv(1000)
            assert received
            answer += received
        assert answer.startswith(b"HTTP/1.1 200")
        assert drip(connection, b"GET /") == b""


@pytest.mark.parametrize(
    "head",
    [
        b"POST /train?model=slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n",
        b"POST /corpora HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n",
        b"POST /sample HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n",
        b"POST /corpora HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        b"--x\r\nContent-Disposition: form-data; name=corpus\r\n\r\n",
    ],
)
def test_a_body_that_comes_byte_by_byte(client: httpx2.Client, tmp_path: Path, head: bytes) -> None:
    with connected(client) as connection:
        connection.sendall(head)
        answer = drip(connection, b"x")
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in answer and b"too slowly" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "body_too_slow"
    eventually(lambda: not list((tmp_path / "data" / "corpora").glob(".stage-*")))


def test_what_is_left_of_a_body_that_was_refused(client: httpx2.Client) -> None:
    with connected(client) as connection:
        connection.sendall(
            b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
        )
        assert drip(connection, b"x").startswith(b"HTTP/1.1 404")


def test_a_body_that_comes_at_a_pace(
    client: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than what a body has at first, but for as long as it brings enough."""
    monkeypatch.setattr(deadlines, "BODY_PACE", 100)
    pause = threading.Event()

    def body() -> Iterator[bytes]:
        for line in TEXT.splitlines(keepends=True)[:12]:
            pause.wait(0.06)
            yield line.encode()

    assert client.post("/train?model=slow", content=body()).status_code == 202


def test_an_answer_may_take_its_time(client: httpx2.Client) -> None:
    """A deadline is for what a client sends: it may read for as long as it likes."""
    job = client.post("/train?model=followed", content=TEXT).json()
    with client.stream("GET", job["links"]["events"]) as response:
        later = threading.Timer(0.8, client.post, [job["links"]["cancel"]])
        later.start()
        assert "event: end" in list(response.iter_lines())
        later.join()

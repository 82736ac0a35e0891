"""A connection costs no more than its share, and bytes that are not a request get a reason."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h11
import httpx2
import pytest

from app.server import connection
from app.server.connection import EVENTS, LINGER_BYTES, Connection, Turns
from app.server.heads import MAX_HEAD, MAX_QUERY
from tests.serving import TEXT, eventually, serve

CHUNK = b"1\r\nx\r\n"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with serve(tmp_path_factory.mktemp("data")) as client:
        yield client


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with serve(tmp_path_factory.mktemp("data"), api_keys="open-sesame:admin") as client:
        yield client


def connected(client: httpx2.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port), timeout=60)


def exchanged(client: httpx2.Client, sent: bytes) -> bytes:
    """All that the server says until it closes the connection."""
    with connected(client) as connection:
        connection.sendall(sent)
        return connection.makefile("rb").read()


def problem_in(answer: bytes, status: int) -> dict[str, Any]:
    """The problem of an answer that was the last one of its connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0].startswith(f"http/1.1 {status} "), answer
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert headers["cache-control"] == "no-store" and headers["x-request-id"]
    assert int(headers["content-length"]) == len(body)
    problem: dict[str, Any] = json.loads(body)
    assert problem["status"] == status and problem["detail"]
    return problem


# What is no request


@pytest.mark.parametrize(
    ("sent", "status", "code", "words"),
    [
        (b"nonsense\r\n\r\n", 400, "malformed_request", "must begin with a line"),
        (b"GET / HTTP/1.1\n", 400, "malformed_request", "CRLF"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "malformed_request", "one Host header"),
        (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed_request", "--data-urlencode"),
        (b"\x16\x03\x01\x00\xff", 400, "malformed_request", "not HTTPS"),
        (b"PRI * HTTP/2.0\r\n\r\n", 505, "unsupported_version", "HTTP/1.1"),
        (b"GET /?" + b"x" * 100_000, 414, "url_too_long", "POST /sample"),
        (
            b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
            431,
            "head_too_large",
            "16 KiB",
        ),
        (
            b"POST /train HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
            501,
            "malformed_request",
            "chunked",
        ),
    ],
)
def test_what_is_no_request_is_told_why(
    client: httpx2.Client, sent: bytes, status: int, code: str, words: str
) -> None:
    problem = problem_in(exchanged(client, sent), status)
    assert problem["code"] == code and words in problem["detail"]


def test_the_longest_head_and_the_longest_query_are_served(client: httpx2.Client) -> None:
    def status(query: int, header: int) -> bytes:
        url = b"/healthz?" + b"y" * query
        lines = [b"GET " + url + b" HTTP/1.1", b"Host: localhost", b"Connection: close", b"X: "]
        head = b"\r\n".join([*lines, b"", b""])
        padded = head.replace(b"X: ", b"X: " + b"z" * (header - len(head)))
        return exchanged(client, padded).split()[1]

    assert status(MAX_QUERY, MAX_HEAD) == b"200"
    assert status(MAX_QUERY + 1, MAX_HEAD) == b"414"
    assert status(MAX_QUERY, MAX_HEAD + 1) == b"414"
    assert status(5, MAX_HEAD + 1) == b"431"


SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 0\r\n\r\n",
        b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
        b"X: a\r\n folded: b\r\n\r\n",
        b"X: a\nContent-Length: 0\r\n\r\n",
        b"X: a\rContent-Length: 0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffffffffffff\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1;\nx\r\nx\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\n",
        b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX: y\n\n",
    ],
)
def test_a_request_that_hides_another_is_the_last_of_its_connection(
    client: httpx2.Client, lines: bytes
) -> None:
    sent = b"POST /train?model=m HTTP/1.1\r\nHost: localhost\r\n" + lines + SMUGGLED
    answer = exchanged(client, sent)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert problem_in(answer, 400)["code"] == "malformed_request"


def test_a_body_that_breaks_off_in_a_text_leaves_nothing_and_no_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(tmp_path) as client:
        head = b"POST /train?model=m HTTP/1.1\r\nHost: localhost\r\n"
        sent = head + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n"
        assert problem_in(exchanged(client, sent), 400)
        eventually(lambda: not list((tmp_path / "corpora").glob(".stage-*")))
        assert client.get("/jobs").json()["jobs"] == []
    assert "Traceback" not in caplog.text


# What is one, in unusual words


def test_a_prime_may_be_sent_as_it_is_typed(client: httpx2.Client) -> None:
    """As curl sends it. The name is unknown, but was read."""
    end = b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = exchanged(client, "GET /sample?model=nobody&prime=é€".encode() + end)
    assert answer.startswith(b"HTTP/1.1 404") and b"unknown_model" in answer
    answer = exchanged(client, b"GET /healthz/\xe9" + end)
    assert answer.startswith(b"HTTP/1.1 404") and b"unknown_endpoint" in answer


def test_an_absolute_target_is_served(client: httpx2.Client) -> None:
    def status(target: str, host: str) -> bytes:
        head = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        return exchanged(client, head.encode()).split()[1]

    assert status("http://localhost/healthz", "localhost") == b"200"
    assert status("HTTP://LocalHost:80/models?limit=1", "evil.example") == b"200"
    # The target's name counts, not the header's.
    assert status("http://evil.example/models", "localhost") == b"403"
    assert status("http://localhost", "localhost") == b"200"


def test_requests_in_a_row_are_answered_in_order(client: httpx2.Client) -> None:
    asked = [b"/healthz", b"/nothing", b"/models", b"/healthz"]
    head = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"
    row = b"\r\n".join(head % path for path in asked)
    last = head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") % b"/healthz"
    answer = exchanged(client, row + last)
    found = [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert found == [b"200", b"404", b"200", b"200", b"200"]


def test_a_body_that_comes_with_the_next_request(client: httpx2.Client) -> None:
    text = TEXT.encode()
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(text), text)
    head = b"POST /corpora HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    last = b"GET /corpora HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = exchanged(client, head + chunks + last)
    assert answer.startswith(b"HTTP/1.1 201") and answer.count(b"HTTP/1.1 200") == 1
    trailers = chunks.removesuffix(b"\r\n") + b"X: y\r\n\r\n"
    answer = exchanged(client, head + trailers + last)
    assert answer.startswith(b"HTTP/1.1 201") and answer.count(b"HTTP/1.1 200") == 1


# What one connection may cost


def counting(
    monkeypatch: pytest.MonkeyPatch, name: str, counted: Callable[[Connection], None]
) -> None:
    """Has a method of every connection counted."""
    method = getattr(Connection, name)

    def counts(self: Connection, *args: Any) -> Any:
        counted(self)
        return method(self, *args)

    monkeypatch.setattr(Connection, name, counts)


def test_a_body_of_many_chunks_is_parsed_in_turns(
    client: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = [0]
    counting(monkeypatch, "take_turn", lambda _: turns.append(0))

    def step(_: Connection) -> None:
        turns[-1] += 1

    counting(monkeypatch, "_step", step)
    head = b"POST /train?model=m HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    many = 20_000
    with connected(client) as hostile:
        hostile.sendall(head + CHUNK * many)
        # Somebody else is served meanwhile.
        assert client.get("/healthz").status_code == 200
        hostile.sendall(b"0\r\n\r\n")
        assert hostile.recv(1000).startswith(b"HTTP/1.1 422")
    assert sum(turns) >= many
    assert max(turns) <= EVENTS


async def answered_in_turns(count: int, waits: int) -> tuple[list[int], int]:
    """Has requests come together that each wait so many turns of the loop for their answer.

    Returns the order in which they are answered, and how many were under way at most.
    """
    turns = Turns(asyncio.get_running_loop())
    tasks: list[asyncio.Task[None]] = []
    ended: list[int] = []
    most = 0

    async def serve(number: int) -> None:
        nonlocal most
        most = max(most, len(tasks) - len(ended))
        for _ in range(waits):
            await asyncio.sleep(0)
        ended.append(number)

    class Asking:
        def __init__(self, number: int) -> None:
            self.number = number

        def take_turn(self) -> None:
            tasks.append(asyncio.create_task(serve(self.number)))

    at_once = [turns.take(Asking(number)) for number in range(count)]  # type: ignore[arg-type]
    assert at_once == [True] + [False] * (count - 1)
    while len(ended) < count:
        await asyncio.sleep(0)
    return ended, most


def test_requests_that_come_together_are_begun_in_turn() -> None:
    """Else the first would be answered when the last is."""
    ended, most = asyncio.run(answered_in_turns(100, waits=5))
    assert ended == list(range(100))
    assert most <= 5 + 2


def test_many_who_ask_together_are_answered(client: httpx2.Client) -> None:
    asks = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    with ExitStack() as stack:
        asking = [stack.enter_context(connected(client)) for _ in range(100)]
        for last in (b"\r\n", b"\r\n", b"Connection: close\r\n\r\n"):
            for one in asking:
                one.sendall(asks + last)
            for one in asking:
                answer = b""
                while not answer.endswith(b'{"status":"ok"}'):
                    answer += one.recv(4096)
                assert answer.startswith(b"HTTP/1.1 200 ")


def test_after_a_refusal_nothing_is_parsed_and_little_is_read(
    locked: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[Connection] = set()
    counting(monkeypatch, "data_received", seen.add)
    steps: list[bool] = []
    counting(monkeypatch, "_step", lambda self: steps.append(self.is_leaving()))
    # Who sends as fast as it can is not waited for.
    monkeypatch.setattr(connection, "LINGER_SECONDS", 3600)
    head = b"POST /train?model=m HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connected(locked) as hostile:
        hostile.sendall(head)
        answer = hostile.recv(4096)
        assert answer.startswith(b"HTTP/1.1 401") and b"connection: close" in answer.lower()
        with pytest.raises(OSError):
            while True:
                hostile.sendall(CHUNK * 10_000)
    (one,) = seen
    assert len(steps) <= EVENTS and not any(steps)
    assert one._discarded <= LINGER_BYTES + (1 << 18)


def test_who_sends_much_can_read_why_it_is_refused(locked: httpx2.Client) -> None:
    """Most clients send all of a body before they read: a reset would take the answer away."""
    response = locked.post("/train?model=m", content=b"x" * (LINGER_BYTES - (1 << 20)))
    assert response.status_code == 401 and response.json()["code"] == "missing_key"


def test_a_connection_stays_open_after_an_answer(client: httpx2.Client) -> None:
    with connected(client) as connection:
        for path, status in ((b"/healthz", b"200"), (b"/nothing", b"404"), (b"/models", b"200")):
            connection.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
            answer = h11.Connection(h11.CLIENT)
            answer.send(h11.Request(method="GET", target="/", headers=[("Host", "localhost")]))
            answer.send(h11.EndOfMessage())
            while not isinstance(event := answer.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    answer.receive_data(connection.recv(1000))
                elif isinstance(event, h11.Response):
                    assert event.status_code == int(status)


def test_ipv4_over_ipv6_is_ipv4(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """To the log, to limits, and to the list of proxies."""
    caplog.set_level("INFO")
    with serve(tmp_path, listen_on="::", trusted_proxies="127.0.0.1") as client:
        client.get("/models")
        client.get("/corpora", headers={"X-Forwarded-For": "192.0.2.7"})
        eventually(lambda: "GET /corpora" in caplog.text)
    fields = [record.fields for record in caplog.records if hasattr(record, "fields")]
    assert [one["client"] for one in fields[-2:]] == ["127.0.0.1", "192.0.2.7"]

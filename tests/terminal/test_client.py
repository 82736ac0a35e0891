"""The client of the service, against a real one and against servers that fail."""

import io
import json
import os
import threading
from pathlib import Path

import pytest

from app.supervisor.errors import UserError
from app.terminal import client as client_module
from app.terminal.client import Client, ServerEvent, Unreachable
from tests.scripted import HANG_UP, MUTE, answer, scripted
from tests.serving import serve

SSE = "text/event-stream"


def test_a_client_reads_what_it_is_sent(url: str) -> None:
    client = Client(f"{url}/")
    *texts, end = client.events("POST", "/sample", {"model": "toy", "length": 5})
    assert {event.name for event in texts} == {"text"}
    assert end.name == "end" and end.data["characters"] == 5
    assert [model["model"] for model in client.pages("/models", "models", {"limit": 1})] == [
        "toy",
        "toy:v1",
    ]
    with pytest.raises(UserError, match="limit must be"):
        client.get("/models", {"limit": 1000})
    assert json.dumps(client.get("/healthz")) == '{"status": "ok"}'


@pytest.mark.parametrize(
    "url",
    ["localhost:8000", "ftp://localhost", "http://", "http://host:port", "http://host:70000", ""],
)
def test_what_is_not_a_url_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="is not the URL of a service, such as http://localhost"):
        Client(url)


def test_a_key_is_sent_and_one_that_cannot_be_sent_is_refused() -> None:
    with scripted(answer("{}")) as server:
        Client(server.url, "sesame").get("/models")
        assert b"\r\nAuthorization: Bearer sesame\r\n" in server.asked[0]
    for key in ("schlüssel", "a\nb"):
        with pytest.raises(UserError, match="the API key is not valid") as refused:
            Client("http://localhost", key)
        assert key not in str(refused.value)


def test_no_proxy_is_asked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert Client(url).get("/healthz") == {"status": "ok"}


def test_names_and_paths_are_quoted_below_the_path_of_the_url() -> None:
    with scripted(answer("{}")) as server:
        Client(f"{server.url}/loom/").get("/models/a?b c:d", {"q": "x&y"})
        assert server.asked[0].startswith(b"GET /loom/models/a%3Fb%20c:d?q=x%26y HTTP/1.1\r\n")


# Uploads


def test_a_file_is_sent_from_where_it_is_read_with_its_length(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"head" + b"x" * 200_000)
    with scripted(answer('{"id": 1}')) as server, path.open("rb") as file:
        file.read(4)
        assert Client(server.url).upload("/train", {"model": "m"}, file) == {"id": 1}
        head, _, body = server.asked[0].partition(b"\r\n\r\n")
    assert b"content-length: 200000\r\n" in head.lower() + b"\r\n"
    assert body == b"x" * 200_000


def test_a_pipe_is_sent_in_chunks() -> None:
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(b"from a pipe")

    writer = threading.Thread(target=write)
    with scripted(answer("{}")) as server, os.fdopen(reading, "rb") as pipe:
        writer.start()
        Client(server.url).upload("/train", {}, pipe)
        head, _, body = server.asked[0].partition(b"\r\n\r\n")
    writer.join()
    assert b"transfer-encoding: chunked" in head.lower()
    assert body == b"b\r\nfrom a pipe\r\n0\r\n\r\n"


def test_a_body_that_is_refused_early_is_explained(tmp_path: Path) -> None:
    """The server answers and closes while most of the body is still to be sent."""
    large = tmp_path / "large"
    large.write_bytes(b"x" * (20 << 20))
    with serve(tmp_path / "data", max_upload_bytes=1000) as served, large.open("rb") as file:
        client = Client(str(served.base_url))
        with pytest.raises(UserError, match="the file is larger than the service's CHARLOOM_MAX_"):
            client.upload("/train", {"model": "large"}, file)


# What is received


def test_a_line_ends_only_at_a_line_feed() -> None:
    text = "one\x0cstill\u2028one\x85\ntwo\nlast"
    with scripted(answer(text, "text/plain; charset=utf-8")) as server:
        assert list(Client(server.url).lines("/names", {})) == text.split("\n")


def test_a_file_is_saved_as_it_is() -> None:
    content = bytes(range(256)) * 1000
    with scripted(answer(content, "application/zip")) as server:
        file = io.BytesIO()
        Client(server.url).save("/models/toy/download", {"format": "zip"}, file)
    assert file.getvalue() == content


def test_events_end_with_the_one_of_this_name() -> None:
    lines = (
        ': a sign of life\n\nevent: text\nid: 1\ndata: {"text": "a\u2028b"}\n\n: another\n\n'
        "event: end\nid: 2\ndata: {}\n\nevent: text\nid: 3\ndata: {}\n\n"
    )
    with scripted(answer(lines, SSE)) as server:
        events = Client(server.url).events("GET", "/jobs/1/events", last_id="7")
        assert list(events) == [
            ServerEvent("text", {"text": "a\u2028b"}, "1"),
            ServerEvent("end", {}, "2"),
        ]
        assert b"\r\nLast-Event-ID: 7\r\n" in server.asked[0]


# What goes wrong


def test_events_that_break_off_say_whether_the_service_was_there() -> None:
    for said, heard in ((": a sign of life\n\n", True), ("", False)):
        with (
            scripted(answer(said, SSE)) as server,
            pytest.raises(Unreachable, match="broke off") as failure,
        ):
            list(Client(server.url).events("GET", "/jobs/1/events"))
        assert failure.value.heard == heard


@pytest.mark.parametrize(
    ("reply", "heard"),
    [
        (HANG_UP, False),
        (answer('{"a": ', "application/json", "200 OK", "Content-Length: 99"), True),
        (b"this is not HTTP\r\n\r\n", False),
    ],
)
def test_an_answer_that_breaks_off(reply: bytes, heard: bool) -> None:
    with scripted(reply) as server, pytest.raises(Unreachable) as failure:
        Client(server.url).get("/models")
    assert str(failure.value) == f"the service at {server.url} broke off"
    assert failure.value.heard == heard


def test_a_service_that_says_nothing_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "TIMEOUT", 0.1)
    with scripted(MUTE) as server, pytest.raises(Unreachable) as failure:
        Client(server.url).get("/models")
    assert str(failure.value) == f"the service at {server.url} stopped responding"


def test_nothing_that_listens() -> None:
    with pytest.raises(Unreachable) as failure:
        Client("http://127.0.0.1:1").get("/models")
    assert str(failure.value) == "nothing answers at http://127.0.0.1:1: Connection refused"


def test_another_kind_of_server_is_told() -> None:
    page = answer("<html>Welcome to my router</html>", "text/html")
    with scripted(page, page) as server:
        with pytest.raises(UserError, match=r"the answer of 127\.0\.0\.1 is not one of charloom's"):
            Client(server.url).get("/models")
        with pytest.raises(UserError, match="is not one of charloom's"):
            list(Client(server.url).events("POST", "/sample", {}))


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (
            answer("<html>", "text/html", "502 Bad Gateway"),
            "the service answers 502 Bad Gateway",
        ),
        (
            answer("", "text/html", "301 Moved Permanently", "Location: https://there"),
            "the service answers 301 Moved Permanently",
        ),
        (answer('["detail"]', "application/json", "400 Bad Request"), "answers 400 Bad Request"),
        (
            answer('{"detail": "so\\n it is\\u001b[2J"}', "application/json", "400 Bad Request"),
            "so it is\x1b[2J",
        ),
        (
            answer(
                '{"code": "unknown_job", "detail": "job not found; GET /jobs lists all jobs"}',
                "application/problem+json",
                "404 Not Found",
            ),
            "job not found; ./charloom jobs lists all jobs",
        ),
    ],
)
def test_a_refusal_is_one_line(reply: bytes, words: str) -> None:
    with scripted(reply) as server, pytest.raises(UserError) as failure:
        Client(server.url).get("/models")
    assert str(failure.value).endswith(words)
    assert not isinstance(failure.value, Unreachable)


def test_an_answer_that_is_nested_too_deeply_is_told() -> None:
    deep = "[" * 100_000
    sse = answer(f"event: text\ndata: {deep}\n\n", SSE)
    refusal = answer(deep, "application/problem+json", "404 Not Found")
    with scripted(answer(deep), refusal, sse) as server:
        client = Client(server.url)
        for words in ("is not one of charloom's", "the service answers 404 Not Found"):
            with pytest.raises(UserError, match=words):
                client.get("/models")
        with pytest.raises(UserError, match="is not one of charloom's"):
            list(client.events("GET", "/jobs/1/events"))

"""Every error is one that a client can read, and says nothing that it should not."""

import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from app.__main__ import MAX_HEAD, SEND_BUFFER, listen
from app.main import create_app
from app.settings import ServerSettings
from models.checkpoints.registry import Registry
from tests.serving import eventually, problem, serve, wrong_fields

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with serve(tmp_path_factory.mktemp("data")) as client:
        yield client


@pytest.mark.parametrize("path", ["/nothing", "/jobs/", "/train/x", "/%ff"])
def test_an_address_that_is_none(client: httpx2.Client, path: str) -> None:
    assert "GET /openapi.json" in problem(client.get(path), 404)["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PATCH", "/jobs/x", "DELETE, GET"),
        ("GET", "/train", "POST"),
        ("PUT", "/corpora", "GET, POST"),
        ("HEAD", "/models", "GET"),
    ],
)
def test_a_method_that_an_address_does_not_take(
    client: httpx2.Client, method: str, path: str, allow: str
) -> None:
    response = client.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == allow
    if method != "HEAD":
        assert allow in problem(response, 405)["detail"]


@pytest.mark.parametrize(
    "path", ["/jobs/0", "/jobs/0/events", "/corpora/0", "/models/x", "/models/x/history"]
)
def test_a_query_field_where_there_are_none(client: httpx2.Client, path: str) -> None:
    response = client.get(path, params={"verbose": "1"})
    assert "is unknown; this endpoint takes no fields" in wrong_fields(response)["verbose"]


def test_an_unknown_field_is_told_which_there_are(client: httpx2.Client) -> None:
    wrong = wrong_fields(client.get("/jobs?page=2"))
    assert re.search(r"\blimit\b.*\bcursor\b", wrong["page"])


def test_what_a_client_sent_does_not_come_back(client: httpx2.Client) -> None:
    for response in (
        client.get("/jobs?limit=sesame"),
        client.get("/jobs/sesame"),
        client.get("/sesame"),
        client.post("/train?model=m&seed=sesame", content="x"),
        client.post("/train?model=SESAME", content="x"),
        client.post("/train", json={"model": "sesame", "corpus_id": "sesame"}),
        client.post("/train", content='{"sesame', headers={"Content-Type": "application/json"}),
    ):
        assert response.status_code >= 400
        assert "sesame" not in response.text.lower()
        assert "pydantic" not in response.text


def test_a_mistake_is_logged_and_not_told(
    client: httpx2.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_self: Registry) -> None:
        raise RuntimeError("a secret path")

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "references", broken)
        response = client.get("/models")
    assert "secret" not in response.text
    assert problem(response, 500)
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "a secret path" in caplog.text
    assert response.headers["x-request-id"] in caplog.text


# What every answer has


@pytest.mark.parametrize("path", ["/", "/jobs", "/nothing", "/openapi.json"])
def test_every_answer_has_safe_headers(client: httpx2.Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers
    assert headers["x-request-id"]


def test_a_request_keeps_its_id(client: httpx2.Client) -> None:
    assert client.get("/", headers={"X-Request-ID": "a.B-1"}).headers["x-request-id"] == "a.B-1"
    for forged in ("a b", "x" * 65, "é", ""):
        answer = client.get("/", headers=[(b"X-Request-ID", forged.encode())])
        assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])


def test_the_log_holds_no_query_and_no_forged_line(
    client: httpx2.Client, caplog: pytest.LogCaptureFixture
) -> None:
    def lines() -> list[str]:
        return [r.getMessage() for r in caplog.records if r.name == "charloom.access"]

    with caplog.at_level(logging.INFO):
        client.get("/jobs/a%0AINFO%20forged?prime=private")
        (line,) = eventually(lines)
    assert line.startswith("GET /jobs/a%0AINFO%20forged 422 ")


def test_the_front_door_says_what_to_do(client: httpx2.Client) -> None:
    response = client.get("/")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert f"{str(client.base_url).rstrip('/')}/train?model=" in response.text


# OpenAPI


def test_openapi_declares_our_problems(client: httpx2.Client) -> None:
    schema = client.get("/openapi.json").json()
    text = str(schema)
    assert "HTTPValidationError" not in text
    schemas = schema["components"]["schemas"]
    for reference in re.findall(r"'#/components/schemas/(\w+)'", text):
        assert reference in schemas
    train = schema["paths"]["/train"]["post"]
    assert {"202", "409", "413", "415", "422", "507"} <= train["responses"].keys()
    assert set(train["requestBody"]["content"]) == {
        "multipart/form-data",
        "application/json",
        "text/plain",
    }
    assert (
        "text/event-stream"
        in (schema["paths"]["/jobs/{job_id}/events"]["get"]["responses"]["200"]["content"])
    )


# The process


def test_the_server_needs_no_torch() -> None:
    code = "import sys, app.main, app.__main__; print(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    modules = run.stdout.decode().split()
    assert "app.main" in modules
    assert "torch" not in modules


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        environment = {
            "CHARLOOM_PORT": str(taken.getsockname()[1]),
            "CHARLOOM_DATA": str(tmp_path / "data"),
        }
        run = subprocess.run(
            [sys.executable, "-m", "app"],
            cwd=ROOT,
            env=os.environ | environment,
            capture_output=True,
            text=True,
        )
    assert run.returncode == 1
    assert run.stdout == ""
    assert re.fullmatch(r"cannot listen on 127\.0\.0\.1 port \d+: .*in use\n", run.stderr)


def test_a_connection_cannot_hold_much_of_the_kernels_memory() -> None:
    with (
        listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as connection,
    ):
        # Linux reports twice what was asked for.
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * SEND_BUFFER
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 15_000


def test_a_head_without_end_is_cut_off(client: httpx2.Client) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"y" * MAX_HEAD)
        assert connection.recv(100).startswith(b"HTTP/1.1 400")


def test_an_application_is_made_without_touching_the_disk(tmp_path: Path) -> None:
    assert (
        create_app(ServerSettings(data=tmp_path / "data")).openapi()["info"]["title"] == "charloom"
    )
    assert not (tmp_path / "data").exists()

"""Every answer has an id, safe headers and a line in the log; a mistake is logged, not told."""

import logging
import re
from collections.abc import Iterator

import httpx2
import pytest

from models.checkpoints.registry import Registry
from tests.serving import eventually, problem, serve


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with serve(tmp_path_factory.mktemp("data")) as client:
        yield client


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
        messages = [r.getMessage() for r in caplog.records if r.name == "charloom.access"]
        # The line of an earlier request may come late.
        return [message for message in messages if message.endswith(" of-this-test")]

    with caplog.at_level(logging.INFO):
        headers = {"X-Request-ID": "of-this-test"}
        client.get("/jobs/a%0AINFO%20forged?prime=private", headers=headers)
        (line,) = eventually(lines)
    assert line.startswith("GET /jobs/a%0AINFO%20forged 422 ")

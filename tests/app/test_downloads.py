"""Models as files: resumed by real clients, bounded in number, and gone when the model is."""

import logging
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest

from app.routes.services import DOWNLOADS
from models import portable
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.checkpoints.stored import StoredCheckpoint
from models.inside.cells import Findings
from models.inside.results import keep_cells
from tests.archives import full_checkpoint
from tests.serving import eventually, problem, serve
from tests.toys import toy_checkpoint

FORMATS = pytest.mark.parametrize("kind", ["zip", "onnx", "html"])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    Registry(data / "models").publish(Reference("toy"), full_checkpoint())
    return data


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx2.Client]:
    with serve(data) as client:
        yield client


@pytest.fixture
def registry(data: Path) -> Registry:
    return Registry(data / "models")


def path(kind: str, model: str = "toy") -> str:
    return f"/models/{model}/download?format={kind}"


@FORMATS
def test_a_download_is_the_same_each_time_and_told_before(client: httpx2.Client, kind: str) -> None:
    first, second = client.get(path(kind)), client.get(path(kind))
    assert first.content == second.content
    assert first.headers["etag"] == second.headers["etag"]
    assert int(first.headers["content-length"]) == len(first.content)
    assert first.headers["accept-ranges"] == "bytes"
    head = client.head(path(kind))
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "etag", "content-type", "content-disposition"):
        assert head.headers[name] == first.headers[name]
    assert (
        first.headers["etag"]
        != client.get(path("onnx" if kind == "zip" else "zip")).headers["etag"]
    )


@FORMATS
def test_what_a_client_has_is_not_sent_again(client: httpx2.Client, kind: str) -> None:
    tag = client.head(path(kind)).headers["etag"]
    known = client.get(path(kind), headers={"If-None-Match": tag})
    assert (known.status_code, known.content) == (304, b"")
    assert known.headers["etag"] == tag
    other = client.get(path(kind), headers={"If-None-Match": '"x"'})
    assert other.status_code == 200


@FORMATS
def test_parts_make_up_the_whole(client: httpx2.Client, kind: str) -> None:
    whole = client.get(path(kind)).content
    parts = b""
    while len(parts) < len(whole):
        headers = {"Range": f"bytes={len(parts)}-{len(parts) + 9999}"}
        part = client.get(path(kind), headers=headers)
        assert part.status_code == 206
        parts += part.content
    assert parts == whole
    behind = client.get(path(kind), headers={"Range": f"bytes={len(whole)}-"})
    assert problem(behind, 416, "range_not_satisfiable")
    assert behind.headers["content-range"] == f"bytes */{len(whole)}"
    stale = client.get(path(kind), headers={"Range": "bytes=5-", "If-Range": '"of another"'})
    assert (stale.status_code, stale.content) == (200, whole)


@FORMATS
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_curl_resumes(client: httpx2.Client, tmp_path: Path, kind: str, share: float) -> None:
    whole = client.get(path(kind)).content
    file = tmp_path / "toy"
    file.write_bytes(whole[: int(share * len(whole))])
    url = str(client.base_url.join(path(kind)))
    done = subprocess.run(["curl", "-sS", "-C", "-", "-o", file, url], capture_output=True)
    # With the whole file there already, curl gets a 416 and counts it as done.
    assert (done.returncode, done.stderr) == (0, b"")
    assert file.read_bytes() == whole


def test_a_page_is_saved_and_never_shown(client: httpx2.Client) -> None:
    """It runs scripts: as one of this origin it could act for whoever looks at it."""
    page = client.get(path("html"), headers={"Accept": "text/html"})
    assert page.headers["content-disposition"].startswith('attachment; filename="toy-')
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["x-content-type-options"] == "nosniff"


def test_cells_that_are_found_are_in_a_later_page(
    client: httpx2.Client, registry: Registry
) -> None:
    before = client.get(path("html"))
    cell = {"layer": 1, "cell": 3, "score": 0.9, "sign": 1}
    found = {"name": "quotes", "title": "inside quotes", "metric": "auc", "cells": [cell]}
    digest = before.headers["x-model-digest"]
    keep_cells(registry, "toy", digest, cast(Findings, {"hypotheses": [found], "share": 0.1}))
    after = client.get(path("html"), headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200 and "inside quotes" in after.text
    assert "inside quotes" not in before.text


def test_a_page_is_as_fine_as_it_is_asked_for(client: httpx2.Client) -> None:
    usual, fast, exact = (
        client.get(path("html") + more) for more in ("", "&precision=fast", "&precision=exact")
    )
    assert len(usual.content) == len(fast.content) < len(exact.content)
    assert fast.headers["etag"] != exact.headers["etag"]
    refused = problem(client.get(path("zip") + "&precision=exact"), 422)
    assert refused["errors"][0]["field"] == "precision"


def test_a_model_too_large_for_a_page(
    client: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portable, "MAX_PORTABLE", 1000)
    refused = problem(client.get(path("html")), 422)
    assert "too large for a page" in refused["errors"][0]["message"]
    assert refused["errors"][0]["field"] == "format"


def test_wget_resumes_too(client: httpx2.Client, tmp_path: Path) -> None:
    whole = client.get(path("zip")).content
    (tmp_path / "toy.zip").write_bytes(whole[:5000])
    url = str(client.base_url.join(path("zip")))
    subprocess.run(["wget", "-q", "-c", "-O", "toy.zip", url], cwd=tmp_path, check=True)
    assert (tmp_path / "toy.zip").read_bytes() == whole


def test_the_resumed_file_can_be_imported(client: httpx2.Client) -> None:
    whole = client.get(path("zip")).content
    begun = whole[:1234]
    rest = client.get(path("zip"), headers={"Range": "bytes=1234-"}).content
    assert client.post("/models/again", content=begun + rest).status_code == 201
    digests = {client.get(f"/models/{name}").json()["digest"] for name in ("toy", "again")}
    assert len(digests) == 1
    client.delete("/models/again")


@pytest.mark.parametrize("what", ["download", "history", ""])
def test_a_model_that_goes_meanwhile_is_unknown(
    client: httpx2.Client,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    what: str,
) -> None:
    """Deleted between its name was looked up and its files were opened: nothing is damaged."""
    registry.publish(Reference("gone"), toy_checkpoint())
    assert client.get("/models/gone").status_code == 200
    manifest = StoredCheckpoint._manifest

    def late(self: StoredCheckpoint) -> Any:
        if "gone" in registry.names():
            registry.delete_name("gone")
        return manifest(self)

    monkeypatch.setattr(StoredCheckpoint, "_manifest", late)
    with caplog.at_level(logging.ERROR):
        assert problem(client.get(f"/models/gone/{what}".rstrip("/")), 404, "unknown_model")
    assert caplog.records == []


def test_so_many_downloads_at_once_and_no_more(tmp_path: Path) -> None:
    """Slow ones hold files open. Once they leave, others have their places."""
    data = tmp_path / "data"
    Registry(data / "models").publish(Reference("large"), toy_checkpoint(hidden_size=1024))
    with serve(data) as client, ExitStack() as held:
        for _ in range(DOWNLOADS):
            held.enter_context(begun(client.base_url.port, path("zip", "large")))
        refused = client.get(path("zip", "large"))
        assert "being downloaded" in problem(refused, 503, "server_busy")["detail"]
        assert int(refused.headers["retry-after"]) > 0
        assert client.get("/sample?model=large&length=5").status_code == 200
        held.close()

        def is_free() -> bool:
            with client.stream("GET", path("zip", "large")) as response:
                return response.status_code == 200

        eventually(is_free)


def begun(port: Any, target: str) -> socket.socket:
    """A connection whose answer has begun, and of which nothing more is read."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection

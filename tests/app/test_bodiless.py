"""HEAD is GET without a body, on every endpoint, and costs no text."""

import http.client
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import httpx2
import numpy as np
import pytest

from app.http.static_files import static_files
from app.routes import names as names_route
from app.routes.texts import Texts
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.text.corpus import Corpus
from models.text.novelty import line_hashes
from tests.endpoints import declared
from tests.serving import TEXT, eventually, serve
from tests.toys import ALPHABET, toy_checkpoint

VARYING = {"date", "x-request-id", "x-seed"}
"""Headers that differ from answer to answer."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    data = tmp_path_factory.mktemp("data")
    ids = ALPHABET.encode("kara\nkarel\n" * 20).astype(np.uint8)
    hashes = line_hashes(Corpus(ALPHABET, ids[:-2], ids[-2:]), limit=100)
    card = {"characters": len(ids), "lines": 40, "tokens": "characters"}
    registry = Registry(data / "models")
    registry.publish(Reference("toy"), replace(toy_checkpoint(corpus=card), lines=hashes))
    with serve(data) as client:
        job = client.post("/train?model=job", content=TEXT).json()
        client.post(job["links"]["cancel"])
        client.headers["X-Job"] = job["id"]
        client.headers["X-Corpus"] = job["corpus"]["id"]
        # At first, the answer is that they are being searched.
        eventually(lambda: client.get("/models/toy/cells").status_code == 200)
        yield client


GETS = sorted(path for method, _, path in (e.partition(" ") for e in declared()) if method == "GET")


def url_of(client: httpx2.Client, path: str) -> str:
    given = {
        "{job_id}": client.headers["X-Job"],
        "{corpus_id}": client.headers["X-Corpus"],
        "{model}": "toy",
        "{layer}": "0",
        "{cell}": "1",
        "{version}": static_files().version,
        "{path:path}": "js/main.js",
    }
    for name, value in given.items():
        path = path.replace(name, value)
    return path


@pytest.mark.parametrize(
    "accept", ["*/*", "text/html", "application/json", "text/event-stream", "image/png"]
)
@pytest.mark.parametrize("path", GETS)
def test_head_is_get_without_a_body(client: httpx2.Client, path: str, accept: str) -> None:
    url, headers = url_of(client, path), {"Accept": accept, "Accept-Encoding": "identity"}
    with client.stream("GET", url, headers=headers) as got:
        pass
    head = client.head(url, headers=headers)
    assert head.content == b""
    assert head.status_code == got.status_code
    mine, theirs = ({*response.headers} - VARYING for response in (head, got))
    # How long a text will be is not known before it is made, and metrics change.
    varying = path in ("/sample", "/names", "/metrics")
    framing = {"content-length", "transfer-encoding"} if varying else set()
    assert mine - framing == theirs - framing
    assert all(head.headers[name] == got.headers[name] for name in mine - framing)
    assert head.headers["cache-control"]


def test_every_get_has_an_answer_there(client: httpx2.Client) -> None:
    """Or the test above compares refusals."""
    for path in {*GETS} - {"/about", "/inside", "/readyz", "/train", "/train/{job_id}"}:
        with client.stream("GET", url_of(client, path)) as response:
            assert response.status_code == 200, path


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/event-stream"])
@pytest.mark.parametrize("path", ["/sample", "/names"])
def test_no_text_is_begun(
    client: httpx2.Client, monkeypatch: pytest.MonkeyPatch, path: str, accept: str
) -> None:
    def begun(*_: object, **__: object) -> None:
        raise AssertionError("a text was begun")

    monkeypatch.setattr(Texts, "open", begun)
    monkeypatch.setattr(names_route.Search, "begin", begun)
    head = client.head(path, params={"model": "toy", "seed": 7}, headers={"Accept": accept})
    expected = 406 if (path, accept) == ("/names", "text/event-stream") else 200
    assert head.status_code == expected
    if expected == 200:
        assert head.headers["x-seed"] == "7" and head.headers["x-model"] == "toy"
        assert "content-length" not in head.headers
    assert client.head(path, params={"model": "nobody"}).status_code == 404
    assert client.head(path, params={"seed": "x"}).status_code == 422


def test_what_has_no_get_has_no_head(client: httpx2.Client) -> None:
    for path in ("/train", "/score", "/v1/completions"):
        response = client.head(path)
        assert (response.status_code, response.headers["allow"]) == (405, "POST")


def test_the_connection_goes_on_after_it(client: httpx2.Client) -> None:
    connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port, timeout=60)
    connection.connect()
    ours = connection.sock
    for method, path in (
        ("HEAD", "/sample"),
        ("HEAD", "/"),
        ("GET", "/healthz"),
        ("HEAD", "/jobs"),
    ):
        connection.request(method, path)
        response = connection.getresponse()
        assert response.status == 200
        response.read()
    assert isinstance(ours, socket.socket) and connection.sock is ours
    connection.close()


@pytest.mark.skipif(not shutil.which("wget"), reason="wget is not installed")
def test_wget_looks_whether_it_is_there(client: httpx2.Client) -> None:
    url = f"{str(client.base_url).rstrip('/')}/healthz"
    assert subprocess.run(["wget", "-q", "--spider", url], check=False).returncode == 0


def test_openapi_lists_no_head(client: httpx2.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert not any("head" in operations for operations in paths.values())

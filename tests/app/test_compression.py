"""Large JSON is compressed for those who take it; nothing that is sent while it is made."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.serving import serve
from tests.toys import toy_checkpoint

PLAIN = {"Accept-Encoding": "identity"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    data: Path = tmp_path_factory.mktemp("data")
    Registry(data / "models").publish(Reference("toy"), toy_checkpoint())
    with serve(data) as client:
        yield client


def inspected(client: httpx2.Client, characters: int, **headers: str) -> httpx2.Response:
    body = {"text": "kara" * (characters // 4), "top": 5, "cells": [0, 1]}
    with client.stream("POST", "/models/toy/inspect", json=body, headers=headers) as response:
        assert response.status_code == 200
        response._content = b"".join(response.iter_raw())
    return response


@pytest.mark.parametrize("characters", [40, 400, 8000])
def test_json_is_compressed_for_who_takes_it(client: httpx2.Client, characters: int) -> None:
    plain = inspected(client, characters, **PLAIN)
    assert "content-encoding" not in plain.headers
    packed = inspected(client, characters, **{"Accept-Encoding": "br, gzip;q=0.5"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(packed.content) == plain.content
    assert len(packed.content) < len(plain.content) / 3
    # What is long is sent while it is compressed.
    is_long = len(plain.content) > 1 << 16
    assert ("content-length" in packed.headers) != is_long
    assert json.loads(plain.content)["characters"]


@pytest.mark.parametrize("accepted", ["identity", "gzip;q=0", "br", "*;q=0", "gzip;q=x", ""])
def test_who_takes_no_gzip_gets_none(client: httpx2.Client, accepted: str) -> None:
    response = inspected(client, 400, **{"Accept-Encoding": accepted})
    assert "content-encoding" not in response.headers
    assert int(response.headers["content-length"]) == len(response.content)


def test_small_json_is_sent_as_it_is(client: httpx2.Client) -> None:
    response = client.get("/healthz", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in response.headers


@pytest.mark.parametrize(
    "accept", ["text/plain", "text/event-stream", "application/x-ndjson"], ids=["text", "sse", "nd"]
)
def test_what_is_sent_while_it_is_made_is_not_held_back(client: httpx2.Client, accept: str) -> None:
    body = {"model": "toy", "seed": 7, "length": 4000}
    if accept.endswith("ndjson"):
        body |= {"primes": ["k", "ka"]}
    headers = {"Accept": accept, "Accept-Encoding": "gzip"}
    with client.stream("POST", "/sample", json=body, headers=headers) as response:
        assert response.headers["content-type"].startswith(accept)
        assert "content-encoding" not in response.headers
        chunks = list(response.iter_raw())
    assert len(chunks) > 1
    assert chunks[0][:2] != b"\x1f\x8b"


def test_head_has_the_headers_of_get(client: httpx2.Client) -> None:
    gzipped = {"Accept-Encoding": "gzip"}
    got, head = (
        client.request(method, "/openapi.json", headers=gzipped) for method in ("GET", "HEAD")
    )
    assert got.headers["content-encoding"] == "gzip"
    for name in ("content-encoding", "content-length", "vary"):
        assert head.headers.get(name) == got.headers.get(name), name

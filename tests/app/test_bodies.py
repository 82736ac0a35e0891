"""A body is bounded, counted and read as what it is; one that is wrong leaves nothing behind."""

import asyncio
import errno
import json
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from fastapi import Request
from python_multipart.multipart import MultipartParser

from app.http.bodies import receive_text
from models.text.intake.members import MAX_MEMBERS
from tests.serving import TEXT, eventually, problem, serve, wrong_fields
from tests.uploads import FORM, LIMIT, form, names, on_disk, part, post_form
from worker.corpora import CorpusStore, Upload


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx2.Client]:
    """Of a server whose Redis is away, which no test here may notice."""
    with serve(data, max_upload_bytes=LIMIT) as client:
        yield client


# Forms


def test_a_form_is_cut_wherever_the_network_cuts_it(client: httpx2.Client) -> None:
    text = TEXT + "\r\n--A\r\n--"
    for size in (1, 7, 1000):
        body = form(part("corpus", text), part("model", next(names))).encode()
        pieces = (body[i : i + size] for i in range(0, len(body), size))
        response = client.post("/train", content=pieces, headers={"Content-Type": FORM})
        assert response.json()["corpus"]["bytes"] == len(text)


def test_a_form_without_its_text(client: httpx2.Client, name: str) -> None:
    assert "is missing" in wrong_fields(post_form(client, part("model", name)))["corpus"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", form(part("corpus", TEXT))),
        ("multipart/form-data; boundary=" + "x" * 300, form(part("corpus", TEXT))),
        (FORM, TEXT),
        (FORM, ""),
        (FORM, part("model", "a") + part("corpus", TEXT)),
        (FORM, form("--B\r\n\r\nno headers\r\n")),
        (FORM, form("--B\r\nContent-Disposition: form-data\r\n\r\nno name\r\n")),
        (FORM, form(part("corpus", TEXT, "".join(f"X-{n}: y\r\n" for n in range(20))))),
        (FORM, form(part("corpus", TEXT, f"X: {'y' * 10_000}\r\n"))),
    ],
)
def test_a_form_that_is_none(
    client: httpx2.Client, data: Path, content_type: str, body: str
) -> None:
    before = on_disk(data)
    response = client.post("/train", content=body, headers={"Content-Type": content_type})
    assert "multipart/form-data" in problem(response, 400, "malformed_body")["detail"]
    assert on_disk(data) == before


def test_a_field_is_read_as_utf8_whatever_charset_it_names(
    client: httpx2.Client, name: str
) -> None:
    charset = "Content-Type: text/plain; charset=punycode\r\n"
    prime = part("sample_prime", "Grüße", charset)
    text = part("corpus", f"{TEXT}Grüße\n", charset)
    response = post_form(client, part("model", name), prime, text)
    assert response.json()["options"]["sample_prime"] == "Grüße"
    body = form(part("model", name), part("sample_prime", "Grüße"), part("corpus", TEXT))
    response = client.post("/train", content=body.encode("latin-1"), headers={"Content-Type": FORM})
    assert wrong_fields(response) == {"sample_prime": "must be UTF-8"}


def test_a_field_that_would_fill_the_memory(client: httpx2.Client, name: str) -> None:
    response = post_form(client, part("sample_prime", "x" * (LIMIT // 2)), part("model", name))
    assert wrong_fields(response) == {"sample_prime": "may have at most 64 KiB"}


def test_no_form_however_broken_breaks_the_server(client: httpx2.Client, data: Path) -> None:
    before = on_disk(data)
    dice = random.Random(1)
    whole = form(part("model", "Z"), part("seed", "1"), part("corpus", TEXT[:300])).encode()
    for _ in range(150):
        body = bytearray(whole)
        for _ in range(dice.randrange(1, 6)):
            at = dice.randrange(len(body))
            body[at : at + dice.randrange(12)] = dice.randbytes(dice.randrange(6))
        response = client.post("/train", content=bytes(body), headers={"Content-Type": FORM})
        assert response.status_code in (400, 415, 422), response.text
    assert on_disk(data) == before


# JSON


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ('{"dropout": NaN}', "body", "NaN is not a JSON number"),
        ('{"dropout": 1e999}', "dropout", "a number from 0"),
        ('{"seed": ' + "1" * 5000 + "}", "body", "is not JSON"),
        ("[" * 30_000, "body", "nested too deeply"),
        ("{", "body", "at character 1"),
        ("[]", "body", "must be a JSON object"),
        ("", "body", "is not JSON"),
        ('{"model": 7}', "model", "must be text"),
        ('{"sample_prime": "\\ud800"}', "sample_prime", "must be text"),
        ('{"sample_at": [1.5]}', "sample_at", "100,300,500"),
        ('{"corpus_id": "x"}', "corpus_id", "GET /corpora"),
        ('{"layers": 2}', "layers", "corpus_id"),
        (
            json.dumps({"model": "a", "corpus_id": "0" * 64}),
            "corpus_id",
            "is unknown; GET /corpora lists all corpora",
        ),
        (json.dumps({"model": "a"}), "corpus_id", "is missing"),
    ],
)
def test_json_that_asks_for_nothing_possible(
    client: httpx2.Client, body: str, field: str, words: str
) -> None:
    headers = {"Content-Type": "application/json"}
    wrong = wrong_fields(client.post("/train", content=body, headers=headers))
    assert words in wrong[field]


def test_json_that_is_not_utf8(client: httpx2.Client) -> None:
    headers = {"Content-Type": "application/json"}
    response = client.post("/train", content=b'{"model": "\xff"}', headers=headers)
    wrong = wrong_fields(response, "invalid_json")
    assert "not UTF-8" in wrong["body"]


# Size


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("content_type", ["text/plain", FORM])
def test_a_text_that_is_too_large(
    client: httpx2.Client, data: Path, name: str, chunked: bool, content_type: str
) -> None:
    before = on_disk(data)
    text = "ab\n" * LIMIT
    whole = form(part("model", name), part("corpus", text)) if content_type == FORM else text
    body: Any = (whole[i : i + 5000].encode() for i in range(0, len(whole), 5000))
    response = client.post(
        "/train",
        params={} if content_type == FORM else {"model": name},
        content=body if chunked else whole,
        headers={"Content-Type": content_type},
    )
    assert "at most 256 KiB" in problem(response, 413, "body_too_large")["detail"]
    assert on_disk(data) == before


def test_a_text_as_large_as_may_be(client: httpx2.Client, name: str) -> None:
    text = ("ab\n" * LIMIT)[:LIMIT]
    parts = part("model", name), part("corpus", text)
    assert post_form(client, *parts).status_code == 202


def test_a_large_text_is_refused_before_it_is_sent(client: httpx2.Client) -> None:
    head = (
        "POST /train?model=a HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        f"Content-Length: {LIMIT + 1}\r\n\r\n"
    )
    with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_json_that_is_too_large(client: httpx2.Client) -> None:
    response = client.post("/train", json={"sample_prime": "x" * LIMIT})
    assert "at most 64 KiB" in problem(response, 413, "body_too_large")["detail"]


MEGABYTE = 1 << 20


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (part("corpus", "x") * (MAX_MEMBERS + 1), "more than 10,000 files"),
        (part("corpus", "x", f"X: {'y' * 4000}\r\n") * 600, "too much besides its text"),
        (form(part("corpus", TEXT)) + "x" * (MEGABYTE + 4096), "too much besides its text"),
        ("\r\n" * MEGABYTE, "too much besides its text"),
    ],
    ids=["files", "headers", "end", "beginning"],
)
def test_a_form_is_refused_while_it_still_comes(
    client: httpx2.Client, data: Path, body: str, words: str
) -> None:
    before = on_disk(data)
    head = (
        f"POST /train HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\n"
        f"Transfer-Encoding: chunked\r\n\r\n{100 * len(body):x}\r\n"
    )
    address = client.base_url.host, client.base_url.port
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall((head + body).encode())
        # All that the server says, while most of the body is missing.
        answer = connection.makefile("rb").read().decode()
    assert answer.startswith("HTTP/1.1 413") and words in answer
    eventually(lambda: on_disk(data) == before)


def test_few_parts_of_forms_are_parsed_in_a_turn_of_the_event_loop(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = form(part("corpus", "x") * 3000).encode()
    corpora = CorpusStore(data / "corpora")
    turns = [0]
    parse = MultipartParser.write

    def counted(parser: MultipartParser, piece: bytes) -> int:
        turns[-1] += 1
        assert len(piece) <= 16 << 10
        return parse(parser, piece)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def upload(lock: anyio.Lock) -> int:
        headers = [(b"content-type", FORM.encode())]
        request = Request({"type": "http", "headers": headers, "query_string": b""}, receive)
        async with receive_text(request, corpora, len(body), (), lambda _: None, lock) as text:
            return len(text.files)

    async def check() -> None:
        lock = anyio.Lock()
        uploads = asyncio.gather(*(upload(lock) for _ in range(3)))
        while not uploads.done():
            await asyncio.sleep(0)
            turns.append(0)
        assert uploads.result() == [3000] * 3

    monkeypatch.setattr(MultipartParser, "write", counted)
    asyncio.run(check())
    assert sum(turns) >= 3 * len(body) / (16 << 10)
    assert max(turns) == 1


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
def test_a_compressed_body(client: httpx2.Client, name: str, encoding: str) -> None:
    headers = {"Content-Encoding": encoding}
    response = client.post("/train", params={"model": name}, content=TEXT, headers=headers)
    detail = problem(response, 415, "unsupported_media_type")["detail"]
    assert "compressed bodies are not supported" in detail


def test_a_part_in_an_encoding(client: httpx2.Client, name: str) -> None:
    encoded = part("corpus", "QUJD", "Content-Transfer-Encoding: base64\r\n")
    assert problem(post_form(client, part("model", name), encoded), 415)


# When things break


def test_a_client_that_leaves_in_the_middle_leaves_nothing(
    client: httpx2.Client, data: Path
) -> None:
    before = on_disk(data)
    for head in (
        "POST /train?model=a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n",
        "POST /train HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n"
        f"Content-Type: {FORM}\r\n\r\n" + part("corpus", "x")[:-2],
    ):
        with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
            connection.sendall(head.encode() + b"a text that never en")
            eventually(lambda: on_disk(data) > before)
        eventually(lambda: on_disk(data) == before)


def test_a_full_disk_is_told_and_nothing_is_kept(
    client: httpx2.Client, data: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: Upload, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = on_disk(data)
    with monkeypatch.context() as patch:
        patch.setattr(Upload, "write", full)
        response = client.post("/train", params={"model": name}, content=TEXT)
        assert "disk is full" in problem(response, 507, "disk_full")["detail"]
    assert on_disk(data) == before
    assert client.post("/train", params={"model": name}, content=TEXT).status_code == 202

"""A text goes in by three ways and comes out as a job; what can't be trained on is told why."""

import errno
import hashlib
import json
import os
import random
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest

from models.presets import PRESETS
from tests.serving import TEXT, eventually, problem, serve, wrong_fields
from worker.corpora import CorpusStore, Upload
from worker.jobs import JobStore

LIMIT = 256 << 10
FORM = "multipart/form-data; boundary=B"

_names = (f"m{n}" for n in count())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx2.Client]:
    """Of a server whose Redis is away, which no test here may notice."""
    with serve(data, max_upload_bytes=LIMIT) as client:
        yield client


@pytest.fixture
def name() -> str:
    """A model name that no other test has."""
    return next(_names)


def on_disk(data: Path) -> set[Path]:
    """Everything that the server keeps, half written things too."""
    return {path for path in data.rglob("*") if path.suffix != ".json"} - {
        data / "corpora" / ".deleting",
        data / "jobs" / ".create",
    }


def part(name: str, content: str, more: str = "") -> str:
    return f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n{more}\r\n{content}\r\n'


def form(*parts: str) -> str:
    return "".join(parts) + "--B--\r\n"


def post_form(client: httpx2.Client, *parts: str) -> httpx2.Response:
    return client.post("/train", content=form(*parts), headers={"Content-Type": FORM})


# Three ways


def test_a_text_is_safe_on_disk_when_the_answer_comes(
    client: httpx2.Client, data: Path, name: str
) -> None:
    response = client.post("/train", params={"model": name, "max_steps": 7}, content=TEXT)
    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == f"/jobs/{job['id']}" == job["links"]["self"]
    assert job["model"] == name
    assert job["status"] == "queued"
    assert job["options"]["max_steps"] == 7
    assert job["corpus_id"] == hashlib.sha256(TEXT.encode()).hexdigest() == job["corpus"]["id"]
    assert job["corpus"]["characters"] == len(TEXT)
    spec = JobStore(data / "jobs").get(job["id"]).spec
    assert spec["options"]["max_steps"] == 7
    assert (data / "corpora" / spec["corpus_id"] / "original").read_text() == TEXT


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/plain; charset=punycode", None]
)
def test_a_raw_body_is_text_whatever_its_type(
    client: httpx2.Client, name: str, content_type: str | None
) -> None:
    text = f"a=1&b=%41&{name}\n{TEXT}"
    headers = {"Content-Type": content_type} if content_type else {}
    response = client.post("/train", params={"model": name}, content=text, headers=headers)
    assert response.json()["corpus"]["id"] == hashlib.sha256(text.encode()).hexdigest()


def test_the_three_ways_make_the_same_job(client: httpx2.Client) -> None:
    options = {"num_layers": "3", "dropout": "0.25", "sample_at": "500,20", "tokens": "auto"}
    before = [part(k, v) for k, v in options.items()]
    raw = client.post("/train", params=options | {"model": next(_names)}, content=TEXT)
    forms = [
        post_form(client, *before, part("model", next(_names)), part("corpus", TEXT)),
        post_form(client, part("corpus", TEXT), part("model", next(_names)), *before),
    ]
    values = {"num_layers": 3, "dropout": 0.25, "sample_at": [20, 500]}
    asked = client.post(
        "/train",
        json={"corpus_id": raw.json()["corpus_id"], "model": next(_names)} | values,
    )
    jobs = [response.json() for response in (raw, *forms, asked)]
    assert {job["corpus_id"] for job in jobs} == {raw.json()["corpus_id"]}
    for job in jobs:
        assert job["options"] == jobs[0]["options"]
        assert job["options"] | values == job["options"]
        assert job["options"]["tokens"] == "characters"


def test_a_form_may_have_its_options_in_the_query(client: httpx2.Client, name: str) -> None:
    response = client.post("/train", params={"model": name}, files={"corpus": ("x.txt", TEXT)})
    assert response.status_code == 202


def test_an_empty_option_is_absent(client: httpx2.Client, name: str) -> None:
    response = client.post(f"/train?model={name}&dropout=&seed=&sample_at=", content=TEXT)
    options = response.json()["options"]
    assert "dropout" not in options
    assert options["seed"] == 0
    assert options["sample_at"][0] == 100


def test_a_form_is_cut_wherever_the_network_cuts_it(client: httpx2.Client) -> None:
    text = TEXT + "\r\n--A\r\n--"
    for size in (1, 7, 1000):
        body = form(part("corpus", text), part("model", next(_names))).encode()
        pieces = (body[i : i + size] for i in range(0, len(body), size))
        response = client.post("/train", content=pieces, headers={"Content-Type": FORM})
        assert response.json()["corpus"]["bytes"] == len(text)


# What a text must be


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "empty"),
        (b"a", "1 character: send at least 100"),
        (b"a" * 500, "repeats one character"),
        (b"PK\x03\x04" + bytes(range(256)) * 4, "binary file"),
        ("grün\n".encode("latin-1") * 40, "offset 2 "),
        (TEXT.encode("utf-16"), "UTF-16"),
    ],
)
def test_a_text_that_nothing_can_be_learned_from(
    client: httpx2.Client, data: Path, name: str, text: bytes, words: str
) -> None:
    before = on_disk(data)
    wrong = wrong_fields(client.post("/train", params={"model": name}, content=text))
    assert words in wrong["corpus"]
    assert on_disk(data) == before


def test_the_way_on_that_is_told_is_one(client: httpx2.Client, name: str) -> None:
    text = "grün\n".encode("latin-1") * 40
    query = {"model": name}
    wrong = wrong_fields(client.post("/train", params=query, content=text))
    assert "tokens=bytes" in wrong["corpus"]
    response = client.post("/train", params=query | {"tokens": "bytes"}, content=text)
    assert response.json()["options"]["tokens"] == "bytes"
    assert response.json()["corpus"]["encoding"] == "bytes"


# What options must be


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("model", "../x", "lower-case letters"),
        ("model", "Linux", "lower-case letters"),
        ("model", "con\n", "lower-case letters"),
        ("model", "a" * 64, "63 at most"),
        ("model", "", "is missing"),
        ("preset", "gpt", f"{', '.join(list(PRESETS)[:-1])} or warpeace"),
        ("network", "transformer", "lstm, gru or rnn"),
        ("num_layers", "9", "a whole number from 1 to 8"),
        ("num_layers", "2.5", "a whole number from 1 to 8"),
        ("hidden_size", "9" * 5000, "a whole number from 8 to 4096"),
        ("dropout", "nan", "a number from 0 to 0.9"),
        ("learning_rate", "1e400", "a number from 1e-06 to 1"),
        ("max_seconds", "0", "above 0 and at most"),
        ("max_epochs", "-inf", "above 0 and at most"),
        ("sample_at", "1,x", "100,300,500"),
        ("sample_at", "0", "from 1 to"),
        ("sample_temperature", "0.001", "0.01 to 10"),
        ("sample_prime", "x" * 1001, "at most 1,000 characters"),
        ("seed", str(2**63), "from 0 to"),
        ("layers", "2", "num_layers"),
    ],
)
def test_an_option_out_of_its_range(
    client: httpx2.Client, data: Path, name: str, option: str, value: str, words: str
) -> None:
    before = on_disk(data)
    options = {"model": name} | {option: value}
    wrong = wrong_fields(client.post("/train", params=options, content=TEXT))
    assert wrong.keys() == {option}
    assert words in wrong[option]
    parts = [part(k, v) for k, v in options.items()]
    assert wrong_fields(post_form(client, *parts, part("corpus", TEXT))).keys() == {option}
    assert on_disk(data) == before


def test_all_that_is_wrong_is_told_at_once(client: httpx2.Client) -> None:
    response = client.post("/train?num_layers=0&dropout=2", content=TEXT)
    assert wrong_fields(response).keys() == {"model", "num_layers", "dropout"}


def test_an_option_twice(client: httpx2.Client, name: str) -> None:
    response = client.post(f"/train?model={name}&seed=1&seed=2", content=TEXT)
    assert "once" in wrong_fields(response)["seed"]
    parts = part("model", name), part("seed", "1"), part("seed", "2"), part("corpus", TEXT)
    assert "once" in wrong_fields(post_form(client, *parts))["seed"]


def test_a_field_name_that_is_none_is_not_repeated(client: httpx2.Client, name: str) -> None:
    response = client.post(f"/train?model={name}&<script>=1", content=TEXT)
    assert "script" not in response.text
    assert problem(response, 422)


# Forms


def test_a_form_without_its_text(client: httpx2.Client, name: str) -> None:
    assert "is missing" in wrong_fields(post_form(client, part("model", name)))["corpus"]


def test_a_form_with_two_texts(client: httpx2.Client, name: str) -> None:
    parts = part("model", name), part("corpus", TEXT), part("corpus", TEXT)
    assert "more than once" in wrong_fields(post_form(client, *parts))["corpus"]


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
    assert "multipart/form-data" in problem(response, 400)["detail"]
    assert on_disk(data) == before


def test_a_field_is_read_as_utf8_whatever_charset_it_names(
    client: httpx2.Client, name: str
) -> None:
    charset = "Content-Type: text/plain; charset=punycode\r\n"
    prime = part("sample_prime", "Grüße", charset)
    response = post_form(client, part("model", name), prime, part("corpus", TEXT, charset))
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
    wrong = wrong_fields(client.post("/train", content=b'{"model": "\xff"}', headers=headers))
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
    assert "at most 256 KiB" in problem(response, 413)["detail"]
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
    assert "at most 64 KiB" in problem(response, 413)["detail"]


def test_a_form_with_an_endless_end(client: httpx2.Client, data: Path, name: str) -> None:
    before = on_disk(data)
    body = form(part("model", name), part("corpus", TEXT)) + "x" * (LIMIT + (1 << 20))
    pieces = (body[i : i + 50_000].encode() for i in range(0, len(body), 50_000))
    response = client.post("/train", content=pieces, headers={"Content-Type": FORM})
    assert problem(response, 413)
    assert on_disk(data) == before


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
def test_a_compressed_body(client: httpx2.Client, name: str, encoding: str) -> None:
    headers = {"Content-Encoding": encoding}
    response = client.post("/train", params={"model": name}, content=TEXT, headers=headers)
    assert "compressed bodies are not supported" in problem(response, 415)["detail"]


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
        assert "disk is full" in problem(response, 507)["detail"]
    assert on_disk(data) == before
    assert client.post("/train", params={"model": name}, content=TEXT).status_code == 202


# One job of a name


def test_a_name_with_an_unfinished_job_is_taken(client: httpx2.Client, name: str) -> None:
    first = client.post("/train", params={"model": name}, content=TEXT).json()
    second = client.post("/train", params={"model": name}, content=TEXT)
    assert first["id"] in problem(second, 409)["detail"]
    client.post(first["links"]["cancel"])
    assert client.post("/train", params={"model": name}, content=TEXT).status_code == 202


def test_of_many_at_once_one_gets_the_name(client: httpx2.Client, name: str) -> None:
    def post(_: int) -> int:
        return client.post("/train", params={"model": name}, content=TEXT).status_code

    with ThreadPoolExecutor(12) as pool:
        assert sorted(pool.map(post, range(12))) == [202] + 11 * [409]


def test_a_key_gives_the_first_job_again(client: httpx2.Client, name: str) -> None:
    headers = {"Idempotency-Key": f"key of {name}"}
    first = client.post("/train", params={"model": name}, content=TEXT, headers=headers)
    again = client.post("/train", params={"model": name}, content=TEXT, headers=headers)
    assert again.status_code == 202
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    headers = {"Idempotency-Key": "x" * 256}
    response = client.post("/train", params={"model": name}, content=TEXT, headers=headers)
    assert "at most 255" in wrong_fields(response)["idempotency-key"]


# Corpora


def test_a_corpus_is_kept_with_its_report(client: httpx2.Client) -> None:
    text = (
        "\ufeffOne line.\r\nAnother line, and so on until it is long enough to learn from.\r\n" * 2
    )
    response = client.post("/corpora", content=text)
    assert response.status_code == 201
    report = response.json()
    assert report["id"] == hashlib.sha256(text.encode()).hexdigest()
    assert report["line_ends"] == "crlf"
    assert len(report["normalised"]) == 2
    assert "characters are few" in report["warnings"][-1]
    assert client.get(response.headers["location"]).json() == report
    assert client.post("/corpora", files={"corpus": text}).json() == report


@pytest.mark.parametrize(
    ("text", "words", "characters"),
    [
        (b"", "empty", None),
        (b"too short", "9 characters: send at least 100", None),
        ("grün\n".encode("latin-1") * 40, "offset 2 ", 200),
    ],
)
def test_a_corpus_that_cannot_be_trained_on_is_kept_with_a_warning(
    client: httpx2.Client, text: bytes, words: str, characters: int | None
) -> None:
    response = client.post("/corpora", content=text)
    assert response.status_code == 201
    report = response.json()
    assert report["bytes"] == len(text)
    assert report["characters"] == characters
    assert words in report["warnings"][0]


def test_corpora_page_by_page(client: httpx2.Client) -> None:
    ids = {client.post("/corpora", content=f"{n} {TEXT}").json()["id"] for n in range(3)}
    listed: list[str] = []
    cursor = ""
    while cursor is not None:
        page = client.get("/corpora", params={"limit": 2, "cursor": cursor}).json()
        assert len(page["corpora"]) <= 2
        listed += [corpus["id"] for corpus in page["corpora"]]
        cursor = page["next"]
    assert ids <= set(listed)
    assert listed == sorted(set(listed))


def test_a_corpus_goes_when_no_unfinished_job_needs_it(
    client: httpx2.Client, data: Path, name: str
) -> None:
    job = client.post("/train", params={"model": name}, content=name + TEXT).json()
    address = f"/corpora/{job['corpus_id']}"
    assert job["id"] in problem(client.delete(address), 409)["detail"]
    client.post(job["links"]["cancel"])
    assert client.delete(address).status_code == 204
    assert not (data / "corpora" / job["corpus_id"]).exists()
    assert problem(client.delete(address), 404)
    assert problem(client.get(address), 404)


def test_what_a_killed_server_left_is_swept_away(tmp_path: Path) -> None:
    store = CorpusStore(tmp_path)
    for age, name in ((7200, ".stage-old"), (0, ".stage-new")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "original").write_text("half a te")
        then = (tmp_path / name).stat().st_mtime - age
        for path in (tmp_path / name / "original", tmp_path / name):
            os.utime(path, (then, then))
    store.sweep()
    assert {path.name for path in tmp_path.iterdir()} == {".stage-new"}

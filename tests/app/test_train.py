"""A text goes in by three ways and becomes a job; one that cannot be trained on is explained."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.serving import TEXT, Query, problem, serve, wrong_fields
from tests.uploads import LIMIT, names, on_disk, part, post_form
from worker.jobs import JobStore


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx2.Client]:
    """Of a server whose Redis is away, which no test here may notice."""
    with serve(data, max_upload_bytes=LIMIT) as client:
        yield client


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
    raw = client.post("/train", params=options | {"model": next(names)}, content=TEXT)
    forms = [
        post_form(client, *before, part("model", next(names)), part("corpus", TEXT)),
        post_form(client, part("corpus", TEXT), part("model", next(names)), *before),
    ]
    values = {"num_layers": 3, "dropout": 0.25, "sample_at": [20, 500]}
    asked = client.post(
        "/train",
        json={"corpus_id": raw.json()["corpus_id"], "model": next(names)} | values,
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


@pytest.mark.parametrize(
    ("text", "words", "code"),
    [
        (b"", "empty", "invalid_corpus"),
        (b"a", "1 character: send at least 100", "invalid_corpus"),
        (b"a" * 500, "repeats one character", "invalid_corpus"),
        (b"PK\x03\x04" + bytes(range(256)) * 4, "it is damaged", "invalid_corpus"),
        ("grün\n".encode("latin-1") * 40, "offset 2;", "not_utf8"),
        (TEXT.encode("utf-16"), "UTF-16", "not_utf8"),
    ],
)
def test_a_text_that_nothing_can_be_learned_from(
    client: httpx2.Client, data: Path, name: str, text: bytes, words: str, code: str
) -> None:
    before = on_disk(data)
    wrong = wrong_fields(client.post("/train", params={"model": name}, content=text), code)
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


# One job of a name


def test_a_name_with_an_unfinished_job_is_taken(client: httpx2.Client, name: str) -> None:
    first = client.post("/train", params={"model": name}, content=TEXT).json()
    second = client.post("/train", params={"model": name}, content=TEXT)
    assert first["id"] in problem(second, 409, "name_taken")["detail"]
    client.post(first["links"]["cancel"])
    assert client.post("/train", params={"model": name}, content=TEXT).status_code == 202


def test_of_many_at_once_one_gets_the_name(client: httpx2.Client, name: str) -> None:
    def post(_: int) -> int:
        return client.post("/train", params={"model": name}, content=TEXT).status_code

    with ThreadPoolExecutor(12) as pool:
        assert sorted(pool.map(post, range(12))) == [202] + 11 * [409]


def test_a_key_knows_its_job_after_a_resume_too(client: httpx2.Client, name: str) -> None:
    headers = {"Idempotency-Key": f"resumed {name}"}
    query: Query = {"model": name, "max_steps": 5}
    first = client.post("/train", params=query, content=TEXT, headers=headers).json()
    client.post(first["links"]["cancel"])
    assert client.post(f"/jobs/{first['id']}/resume", json={"max_steps": 9}).status_code == 202
    again = client.post("/train", params=query, content=TEXT, headers=headers)
    assert again.status_code == 202 and again.json()["id"] == first["id"]


def test_a_key_gives_the_first_job_again(client: httpx2.Client, name: str) -> None:
    headers = {"Idempotency-Key": f"key of {name}"}
    first = client.post("/train", params={"model": name}, content=TEXT, headers=headers)
    again = client.post("/train", params={"model": name}, content=TEXT, headers=headers)
    assert again.status_code == 202
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    others: list[tuple[Query, str]] = [
        ({"model": name, "seed": 1}, TEXT),
        ({"model": next(names)}, TEXT),
        ({"model": name}, f"{TEXT}more\n"),
    ]
    for query, text in others:
        response = client.post("/train", params=query, content=text, headers=headers)
        wrong = wrong_fields(response, "idempotency_key_reused")
        assert first.json()["id"] in wrong["idempotency-key"]
    headers = {"Idempotency-Key": "x" * 256}
    response = client.post("/train", params={"model": name}, content=TEXT, headers=headers)
    assert "at most 255" in wrong_fields(response)["idempotency-key"]

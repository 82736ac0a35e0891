"""Corpora are kept with a report, listed, and deleted when no job needs them."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.serving import TEXT, problem, serve
from tests.uploads import LIMIT
from worker.corpora import CorpusStore


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx2.Client]:
    """Of a server whose Redis is away, which no test here may notice."""
    with serve(data, max_upload_bytes=LIMIT) as client:
        yield client


def test_a_corpus_is_kept_with_its_report(client: httpx2.Client) -> None:
    text = (
        "\ufeffOne line.\r\nAnother line, and so on until it is long enough to learn from.\r\n" * 2
    )
    response = client.post("/corpora", content=text)
    assert response.status_code == 201
    report = response.json()
    assert report["id"] == hashlib.sha256(text.encode()).hexdigest()
    assert report["line_ends"] == "crlf"
    assert len(report["normalised"]) == 3
    assert any("characters are few" in warning for warning in report["warnings"])
    assert client.get(response.headers["location"]).json() == report
    assert client.post("/corpora", files={"corpus": text}).json() == report


@pytest.mark.parametrize(
    ("text", "words", "characters"),
    [
        (b"", "empty", None),
        (b"too short", "9 characters: send at least 100", None),
        ("grün\n".encode("latin-1") * 40, "offset 2;", 200),
        # Its bytes can be trained on, but only on request.
        (b"7z\xbc\xaf\x27\x1c" + bytes(range(256)), "a 7z archive: unpack it first", None),
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
    url = f"/corpora/{job['corpus_id']}"
    assert job["id"] in problem(client.delete(url), 409, "corpus_in_use")["detail"]
    client.post(job["links"]["cancel"])
    assert client.delete(url).status_code == 204
    assert not (data / "corpora" / job["corpus_id"]).exists()
    assert problem(client.delete(url), 404, "unknown_corpus")
    assert problem(client.get(url), 404, "unknown_corpus")


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

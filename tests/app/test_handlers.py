"""Errors of the layers below become problems with a status and a code."""

import re
from collections.abc import Iterator

import httpx2
import pytest

from app.http.handlers import of_error
from app.http.problems import CODES
from models.checkpoints.reference import UnknownModel
from models.errors import CharloomError
from models.files import CheckpointError
from models.text.cleaning import CorpusError
from tests.serving import problem, serve
from tests.support import ROOT
from worker.corpora import UnknownCorpus
from worker.jobs import NameTaken, UnknownJob


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


def every(kind: type[CharloomError]) -> Iterator[type[CharloomError]]:
    for child in kind.__subclasses__():
        yield child
        yield from every(child)


def test_each_error_of_the_tree_has_a_code_of_its_own() -> None:
    """Those that HTTP answers with; the terminal's and the worker's own are not among them."""
    answered = {
        one
        for one in every(CharloomError)
        if one.__module__.startswith(("models.", "worker.")) and one.code in CODES
    }
    assert {one.code for one in answered} >= {
        "corpus_in_use",
        "damaged_model",
        "invalid_corpus",
        "job_ended",
        "job_not_ended",
        "name_taken",
        "no_ngram",
        "not_a_network",
        "not_utf8",
        "unknown_characters",
        "unknown_corpus",
        "unknown_job",
        "unknown_model",
    }
    codes = [one.code for one in answered]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    ("error", "status", "code", "words"),
    [
        (UnknownJob("x"), 404, "unknown_job", "job not found; GET /jobs lists all jobs"),
        (UnknownModel("x"), 404, "unknown_model", "model not found; GET /models lists all models"),
        (
            UnknownCorpus("x"),
            404,
            "unknown_corpus",
            "corpus not found; GET /corpora lists all corpora",
        ),
        (
            CheckpointError("model.safetensors is truncated"),
            404,
            "damaged_model",
            "the model's files are damaged: delete the model and train it again",
        ),
        (CorpusError("too short"), 422, "invalid_corpus", "corpus too short"),
    ],
)
def test_an_error_becomes_a_problem(
    error: CharloomError, status: int, code: str, words: str
) -> None:
    found = of_error(error)
    assert (found.status_code, found.code, found.detail) == (status, code, words)


def test_a_conflict_says_what_is_in_the_way() -> None:
    found = of_error(NameTaken("linux", "0" * 22))
    assert (found.status_code, found.code) == (409, "name_taken")
    assert "0" * 22 in found.detail


def test_every_code_is_raised_somewhere_and_none_that_is_unknown() -> None:
    sources = [
        path.read_text(encoding="utf-8")
        for folder in ("app", "worker", "models")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "problems.py"
    ]
    text = "\n".join(sources)
    assert [code for code in CODES if f'"{code}"' not in text] == ["invalid_fields"]
    raised = re.findall(r'Problem\(\s*\d{3},\s*"(\w+)"', text)
    assert raised and set(raised) <= CODES.keys()

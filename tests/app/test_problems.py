"""Every error is one that a client can read, has a code, and says nothing that it should not."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.http.problems import CODES, MAX_ERRORS, FieldError, Problem, invalid_fields, responses
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.serving import problem, serve, wrong_fields
from tests.toys import toy_checkpoint

ROOT = Path(__file__).resolve().parents[2]
KEYS = "sampler1:sample,trainer1:train,the-chief:admin"
CHIEF = {"Authorization": "Bearer the-chief"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with serve(tmp_path_factory.mktemp("data")) as client:
        yield client


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


def test_a_problem_has_what_rfc_9457_asks_for() -> None:
    found = Problem(409, "name_taken", "words", headers={"X": "y"}, more={"workers": 3})
    response = found.response()
    assert response.media_type == "application/problem+json"
    assert (response.status_code, response.headers["x"]) == (409, "y")
    assert bytes(response.body) == (
        b'{"type":"about:blank","title":"Conflict","status":409,"code":"name_taken",'
        b'"detail":"words","workers":3}'
    )
    assert responses(413, 422)[413]["description"] == "Content Too Large"
    assert responses(413, 422)[422]["description"] == "Unprocessable Content"


def test_the_fields_of_a_422_are_in_its_detail_too() -> None:
    errors = [FieldError(field=name, message="is odd") for name in ("a", "b")]
    found = invalid_fields(errors)
    assert (found.status_code, found.code, found.detail) == (
        422,
        "invalid_fields",
        "a is odd; b is odd",
    )


def test_a_problem_lists_some_errors_and_not_thousands(client: httpx2.Client) -> None:
    query = "&".join(f"x{n}=1" for n in range(500))
    assert len(wrong_fields(client.get(f"/jobs?{query}"))) == MAX_ERRORS


# Codes over HTTP, by status


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A server with keys and limits, a model, and little that it takes."""
    data = tmp_path_factory.mktemp("data")
    Registry(data / "models").publish(Reference("toy"), toy_checkpoint())
    limits: dict[str, Any] = {"max_streams": 1, "max_upload_bytes": 1000}
    with serve(data, api_keys=KEYS, key_rate="1000/minute", **limits) as client:
        yield client


def bearing(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "content", "status", "code"),
    [
        ("GET", "/jobs", {}, b"", 401, "missing_key"),
        ("GET", "/jobs", {"Authorization": "Basic the-chief"}, b"", 401, "missing_key"),
        ("GET", "/jobs", bearing("stranger"), b"", 401, "invalid_key"),
        ("GET", "/jobs", bearing("sampler1"), b"", 403, "insufficient_scope"),
        ("GET", "/jobs", CHIEF | {"Host": "evil.example"}, b"", 403, "unknown_host"),
        ("DELETE", "/models/x", CHIEF | {"Origin": "https://y.example"}, b"", 403, "cross_origin"),
        ("GET", "/nothing", CHIEF, b"", 404, "unknown_endpoint"),
        ("GET", "/models/nobody", CHIEF, b"", 404, "unknown_model"),
        ("GET", "/models/toy:ngram", CHIEF, b"", 404, "not_a_network"),
        ("GET", "/sample?model=toy:ngram", CHIEF, b"", 404, "no_ngram"),
        ("GET", f"/jobs/{'0' * 22}", CHIEF, b"", 404, "unknown_job"),
        ("GET", f"/corpora/{'0' * 64}", CHIEF, b"", 404, "unknown_corpus"),
        ("PUT", "/jobs", CHIEF, b"", 405, "method_not_allowed"),
        ("GET", "/sample", CHIEF | {"Accept": "image/png"}, b"", 406, "not_acceptable"),
        ("POST", "/train?model=m", CHIEF, b"x" * 1001, 413, "body_too_large"),
        ("POST", "/score", CHIEF, b" " * (1 << 20), 413, "body_too_large"),
        (
            "POST",
            "/corpora",
            CHIEF | {"Content-Encoding": "gzip"},
            b"x",
            415,
            "unsupported_media_type",
        ),
        ("POST", "/corpora", CHIEF | {"Content-Type": "multipart/form-data"}, b"", 400,
         "malformed_body"),
        ("GET", "/sample?length=0", CHIEF, b"", 422, "invalid_fields"),
        ("GET", "/sample?prime=É", CHIEF, b"", 422, "unknown_characters"),
        ("POST", "/sample", CHIEF, b"{", 422, "invalid_json"),
        ("POST", "/sample", CHIEF, b'{"continue_from": "x"}', 422, "invalid_state"),
        ("POST", "/train?model=m", CHIEF, b"x", 422, "invalid_corpus"),
        ("POST", "/train?model=m", CHIEF, b"\xff" * 500, 422, "not_utf8"),
    ],
)  # fmt: skip
def test_each_error_has_its_code(
    guarded: httpx2.Client,
    method: str,
    path: str,
    headers: dict[str, str],
    content: bytes,
    status: int,
    code: str,
) -> None:
    problem(guarded.request(method, path, headers=headers, content=content), status, code)


def test_too_many_requests_and_too_many_texts_are_told_apart(tmp_path: Path) -> None:
    Registry(tmp_path / "models").publish(Reference("toy"), toy_checkpoint())
    public: dict[str, Any] = {"public": "sample", "public_streams": 1, "public_rate": "3/hour"}
    with serve(tmp_path, api_keys=KEYS, max_streams=1, **public) as client:
        with client.stream("GET", "/sample?length=1000000") as running:
            chunks = running.iter_raw()
            assert next(chunks)
            refused = [
                (client.get("/sample"), 429, "too_many_streams"),
                (client.get("/sample", headers=bearing("sampler1")), 503, "server_full"),
            ]
        # The server may not know yet that the client has left.
        assert client.get("/models").status_code in (200, 429)
        refused.append((client.get("/models"), 429, "rate_limited"))
        for response, status, code in refused:
            problem(response, status, code)
            assert int(response.headers["retry-after"]) > 0


# Codes in the source


def trees(*folders: str) -> Iterator[ast.Module]:
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            if path != ROOT / "app" / "http" / "problems.py":
                yield ast.parse(path.read_text(encoding="utf-8"))


def constants(*folders: str) -> set[str]:
    return {
        node.value
        for tree in trees(*folders)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_code_is_used_and_asserted_by_a_test() -> None:
    # problems.py has it as the default of its functions.
    assert CODES.keys() - constants("app", "worker", "models") == {"invalid_fields"}
    asserted = constants("tests/app")
    assert CODES.keys() - asserted == set()


def raised(tree: ast.Module) -> Iterator[str]:
    """The codes that calls in a module give to problems."""
    places = {
        "Problem": 1,
        "unprocessable": 2,
        "invalid_fields": 1,
        "_unauthorized": 0,
        "too_many": 0,
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            place = places.get(node.func.id)
            if place is not None and len(node.args) > place:
                argument = node.args[place]
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value


def test_no_code_is_raised_that_is_not_listed() -> None:
    found = {code for tree in trees("app") for code in raised(tree)}
    assert len(found) > 20
    assert found - CODES.keys() == set()


def test_a_code_is_a_name_for_programs() -> None:
    assert all(re.fullmatch("[a-z0-9]+(_[a-z0-9]+)*", code) for code in CODES)
    assert all(words.endswith(".") for words in CODES.values())

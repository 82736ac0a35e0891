"""What both dialects promise: errors in their own shape, rows freed, nobody else's text touched."""

import concurrent.futures
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import ollama
import openai
import pytest

from app.http.problems import FieldError, Problem, invalid_fields
from app.routes.dialects.common import said, sample_query, status, warmth
from models.checkpoints.registry import Registry
from tests.dialects import openai_client, sampled
from tests.serving import eventually, serve


@pytest.fixture(scope="module")
def client(dated: Path) -> Iterator[httpx2.Client]:
    with serve(dated) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", "", 404),
        ("GET", "", "", 404),
        ("GET", "/completions", "", 405),
        ("GET", "/generate", "", 405),
        ("POST", "/completions", "{", 400),
        ("POST", "/completions", "[]", 400),
        ("POST", "/completions", "{}", 400),
        ("POST", "/generate", "{", 400),
        ("POST", "/generate", '{"model": "toy", "prompt": "a", "options": 3}', 400),
        ("POST", "/show", '"toy"', 400),
        ("POST", "/completions", " " * (4 << 20), 413),
    ],
)
def test_every_error_has_the_dialects_own_shape(
    client: httpx2.Client, method: str, path: str, body: str, status: int
) -> None:
    for prefix in ("/v1", "/api"):
        response = client.request(method, prefix + path, content=body)
        assert response.status_code in (status, 404, 405)
        assert response.headers["content-type"] == "application/json"
        error = response.json()["error"]
        assert isinstance(error, dict if prefix == "/v1" else str)


@pytest.mark.parametrize("path", ["/v1/models", "/api/tags"])
def test_a_mistake_has_the_dialects_own_shape_too(
    client: httpx2.Client, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: Registry) -> None:
        raise RuntimeError("a secret path")

    monkeypatch.setattr(Registry, "entries", broken)
    response = client.get(path)
    assert response.status_code == 500
    assert response.json().keys() == {"error"} and "secret" not in response.text


def test_other_addresses_keep_their_shape(client: httpx2.Client) -> None:
    for path in ("/v1x", "/apis/x", "/models/nobody"):
        assert client.get(path).headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("stream", ["true", "false"])
@pytest.mark.parametrize("path", ["/v1/completions", "/api/generate"])
def test_a_client_that_leaves_frees_its_rows(dated: Path, path: str, stream: str) -> None:
    body = (
        '{"model": "toy", "prompt": "a", "n": 4, "max_tokens": 1000000, '
        f'"options": {{"num_predict": 1000000}}, "stream": {stream}}}'
    )
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    rows = 4 if path == "/v1/completions" else 1
    with serve(dated) as client:

        def are_open(count: int) -> bool:
            return f"\ncharloom_streams_open {count}.0\n" in client.get("/metrics").text

        for _ in range(3):
            with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as one:
                one.sendall((head + body).encode())
                eventually(lambda: are_open(rows))
            eventually(lambda: are_open(0))


def test_a_full_server_says_so_in_both(dated: Path) -> None:
    with serve(dated, max_streams=3) as client, openai_client(client) as ai:
        # Some choices fit, not all: none is left behind. Short ones could end before that.
        for _ in range(2):
            with pytest.raises(openai.InternalServerError) as full:
                ai.completions.create(model="toy", prompt="a", n=4, max_tokens=50_000)
            assert full.value.status_code == 503 and full.value.type == "server_error"
            assert int(full.value.response.headers["retry-after"]) > 0
        assert len(ai.completions.create(model="toy", prompt="a", n=3).choices) == 3
        with client.stream("GET", "/sample?model=toy&length=1000000") as running:
            chunks = running.iter_raw()
            assert next(chunks)
            with ai.completions.create(
                model="toy", prompt="a", n=2, max_tokens=1_000_000, stream=True
            ) as two:
                assert next(iter(two))
                with ollama.Client(host=str(client.base_url)) as llama:
                    with pytest.raises(ollama.ResponseError) as refused:
                        llama.generate(model="toy", prompt="a")
                    assert refused.value.status_code == 503


def test_a_server_that_stops_ends_streams_with_an_error(dated: Path) -> None:
    ended: list[Exception] = []
    begun = [threading.Event(), threading.Event()]

    def complete(client: httpx2.Client) -> None:
        with openai_client(client) as ai:
            try:
                for _ in ai.completions.create(
                    model="toy", prompt="a", max_tokens=1_000_000, stream=True
                ):
                    begun[0].set()
            except openai.APIError as error:
                ended.append(error)

    def generate(client: httpx2.Client) -> None:
        options = {"num_predict": 1_000_000}
        with ollama.Client(host=str(client.base_url)) as llama:
            try:
                for _ in llama.generate(model="toy", prompt="a", options=options, stream=True):
                    begun[1].set()
            except ollama.ResponseError as error:
                ended.append(error)

    with serve(dated) as client:
        threads = [threading.Thread(target=ask, args=(client,)) for ask in (complete, generate)]
        for thread in threads:
            thread.start()
        assert all(event.wait(20) for event in begun)
    for thread in threads:
        thread.join(20)
    assert len(ended) == 2
    assert all("the server is shutting down" in str(error) for error in ended)


# What a client may send

HUGE = 10**30
NUMBERS = (HUGE, -HUGE, 2**63, 2**64, -(2**63), -1, 0, 1, 1e-300, 1e300, 0.5, True, "1", None)
HOSTILE: list[dict[str, Any]] = [
    *({"top_k": value} for value in NUMBERS),
    *({"top_p": value} for value in NUMBERS),
    *({"seed": value} for value in NUMBERS),
    *({"temperature": value} for value in NUMBERS),
    {"temperature": 1e-300, "top_k": HUGE, "top_p": 1e-300, "seed": HUGE},
    {"temperature": 10, "top_k": 1 << 20, "top_p": 1, "seed": -HUGE},
]


def completed(client: httpx2.Client, options: dict[str, Any]) -> tuple[int, str]:
    """The status and the text that OpenAI's dialect gives to options."""
    asked = {"model": "toy", "prompt": "a", "max_tokens": 20} | options
    response = client.post("/v1/completions", json=asked)
    done = response.status_code == 200
    return response.status_code, response.json()["choices"][0]["text"] if done else ""


def generated(client: httpx2.Client, options: dict[str, Any]) -> tuple[int, str]:
    """The same of Ollama's."""
    asked = {"model": "toy", "prompt": "a", "stream": False}
    response = client.post("/api/generate", json=asked | {"options": {"num_predict": 20} | options})
    done = response.status_code == 200
    return response.status_code, response.json()["response"] if done else ""


@pytest.mark.parametrize("ask", [completed, generated])
def test_no_option_touches_the_texts_of_others(
    dated: Path,
    ask: Callable[[httpx2.Client, dict[str, Any]], tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is refused or it is served; in one lane, where all texts share a batch."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    over = threading.Event()
    with serve(dated) as client, concurrent.futures.ThreadPoolExecutor(4) as pool:
        alone = [sampled(client, seed=seed, length=20_000) for seed in range(4)]

        def watch(seed: int) -> int:
            count = 0
            while not (over.is_set() and count):
                assert sampled(client, seed=seed, length=20_000) == alone[seed]
                count += 1
            return count

        watching = [pool.submit(watch, seed) for seed in range(4)]
        try:
            answers = [ask(client, options) for options in HOSTILE]
        finally:
            over.set()
        assert all(watcher.result() for watcher in watching)
    for options, (code, text) in zip(HOSTILE, answers, strict=True):
        assert (code == 200 and len(text) == 20) or code == 400, options
    assert {code for code, _ in answers} == {200, 400}


# What they share


@pytest.mark.parametrize(("sent", "used"), [(0, 0), (1e-300, 0.01), (0.01, 0.01), (3, 3)])
def test_a_temperature_is_0_or_one_that_can_be_computed(sent: float, used: float) -> None:
    assert warmth(sent) == used


@pytest.mark.parametrize(
    ("code", "expected"), [(404, 404), (413, 413), (415, 400), (422, 400), (503, 503)]
)
def test_what_is_wrong_with_a_request_is_a_400(code: int, expected: int) -> None:
    assert status(Problem(code, "invalid_fields", "words")) == expected


def test_fields_have_the_dialects_names_in_words() -> None:
    problem = invalid_fields(
        [FieldError(field="prime", message="is missing"), FieldError(field="n", message="is odd")]
    )
    assert said(problem, {"prime": "prompt"}) == "prompt is missing; n is odd"
    assert said(Problem(503, "server_full", "later"), {}) == "later"


def test_a_seed_of_any_size_is_one_of_ours() -> None:
    seeds = [sample_query(model="toy", seed=seed).seed for seed in (None, 7, -1, 2**63 + 7, HUGE)]
    assert seeds == [None, 7, 2**63 - 1, 7, HUGE % 2**63]

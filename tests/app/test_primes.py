"""``POST /sample`` with many primes: JSON lines, each the text of a request of its own."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from app.routes.texts import derived_seed
from app.schemas.texts import MAX_TEXTS
from tests.serving import Query, problem, serve, wrong_fields
from tests.toys import ALPHABET

AS_JSON = {"Accept": "application/json"}
PRIMES = ["", "a", "hello", "a", "xyz " * 50]


def lines_of(response: httpx2.Response) -> list[dict[str, Any]]:
    """The lines of an answer by their index."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    lines: list[dict[str, Any]] = [json.loads(line) for line in response.text.splitlines()]
    return sorted(lines, key=lambda line: int(line["index"]))


@pytest.mark.parametrize("model", ["toy", "bytes", "counted"])
def test_each_line_is_the_answer_to_a_request_of_its_own(client: httpx2.Client, model: str) -> None:
    primes = PRIMES if model != "bytes" else ["", "A", "あ", "AA\n"]
    fields: Query = {"model": model, "length": 300, "temperature": [1.5, 0.5], "echo": True}
    lines = lines_of(client.post("/sample", json=fields | {"seed": 9, "primes": primes}))
    assert [line["index"] for line in lines] == list(range(len(primes)))
    for line, prime in zip(lines, primes, strict=True):
        assert line["seed"] == derived_seed(9, line["index"])
        own = fields | {"prime": prime, "seed": line["seed"]}
        alone = client.post("/sample", json=own, headers=AS_JSON).json()
        for name in ("text", "finish_reason", "characters", "model", "digest", "precision"):
            assert line[name] == alone[name]
        on = {"model": model, "length": 50, "continue_from": line["state"]}
        rest = client.post("/sample", json=on | {"temperature": 1}).text
        assert rest == client.post("/sample", json=on | {"continue_from": alone["state"]}).text


def test_as_many_as_there_may_be_whatever_the_load(client: httpx2.Client) -> None:
    primes = [ALPHABET.decoder().decode(ALPHABET.encode("abc")[: n % 4]) for n in range(MAX_TEXTS)]
    fields: Query = {"model": "toy", "length": 200, "seed": 3, "primes": primes}
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(client.get, "/sample?model=toy&length=100000&seed=1")
        lines = lines_of(client.post("/sample", json=fields))
        again = lines_of(client.post("/sample", json=fields))
        assert len(beside.result().text) == 100_000
    assert [line["text"] for line in lines] == [line["text"] for line in again]
    assert len({line["text"] for line in lines}) == MAX_TEXTS
    assert {line["characters"] for line in lines} == {200}


def test_stops_and_probabilities_hold_for_each(client: httpx2.Client) -> None:
    fields: Query = {"model": "toy", "seed": 3, "length": 400, "primes": ["a", "b"], "stop": ["zz"]}
    lines = lines_of(client.post("/sample", json=fields | {"probabilities": 2}))
    for line in lines:
        assert "".join(one["char"] for one in line["probabilities"]) == line["text"]
        assert line["finish_reason"] in ("stop", "length") and "zz" not in line["text"]


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"primes": []}, "primes", "must have at least 1 item"),
        ({"primes": ["a"] * 129}, "primes", "must have at most 128 items"),
        ({"primes": "a"}, "primes", "must be a list"),
        ({"primes": [3]}, "primes.0", "must be text"),
        ({"primes": ["a" * 16_385]}, "primes", "at most 16,384 characters"),
        ({"primes": ["a", "É"]}, "primes.1", "has characters not in"),
        ({"primes": ["a"], "prime": "b"}, "primes", "without prime"),
        ({"primes": ["a"], "continue_from": "x"}, "primes", "without prime and continue_from"),
        ({"primes": ["a"] * 128, "length": 125_001}, "length", "at most 125000"),
        ({"primes": ["a"] * 10, "length": 50_000, "probabilities": 1}, "length", "at most 50000"),
    ],
)
def test_what_is_wrong_is_named(
    client: httpx2.Client, fields: dict[str, Any], field: str, words: str
) -> None:
    if fields.get("probabilities"):
        fields = fields | {"length": 50_001}
    assert words in wrong_fields(client.post("/sample", json={"model": "toy"} | fields))[field]


def test_only_lines_are_an_answer(client: httpx2.Client) -> None:
    for accept in ("text/plain", "text/event-stream"):
        refused = client.post("/sample", json={"primes": ["a"]}, headers={"Accept": accept})
        problem(refused, 406, "not_acceptable")
    assert "primes" in wrong_fields(client.get("/sample?model=toy&primes=a"))


def test_on_a_full_server_none_is_left_behind(toys: Any) -> None:
    with serve(toys, max_streams=3) as client:
        for _ in range(3):
            fields = {"model": "toy", "primes": ["a"] * 4, "length": 50_000}
            problem(client.post("/sample", json=fields), 503, "server_full")
        assert len(lines_of(client.post("/sample", json=fields | {"primes": ["a"] * 3}))) == 3

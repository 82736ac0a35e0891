"""An answer in one piece is bounded, and making it keeps nobody waiting."""

import json
from typing import Any

import httpx2
import pytest

from app.http.streaming import compact
from app.routes import sample, texts, whole
from app.routes.dialects import answers, choices, requests
from tests.serving import Query, wrong_fields

AS_JSON = {"Accept": "application/json"}
MOST = texts.MAX_LISTED


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is 6,000 characters and alternatives."""
    for module in (sample, requests):
        monkeypatch.setattr(module, "MAX_LISTED", 6000)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("probabilities", [1, 5])
def test_a_json_answer_has_so_many_alternatives(client: httpx2.Client, probabilities: int) -> None:
    length = 6000 // (1 + probabilities)
    fields: Query = {"model": "toy", "seed": 1, "probabilities": probabilities}
    answer = client.get("/sample", params=fields | {"length": length}, headers=AS_JSON).json()
    text = client.get("/sample", params={"model": "toy", "seed": 1, "length": length}).text
    assert answer["text"] == text == "".join(one["char"] for one in answer["probabilities"])
    assert all(len(one["top"]) == probabilities for one in answer["probabilities"])
    long = fields | {"length": length + 1}
    refused = client.get("/sample", params=long, headers=AS_JSON)
    assert f"at most {probabilities - 1} for" in wrong_fields(refused)["probabilities"]
    posted = client.post("/sample", json=long, headers=AS_JSON)
    assert wrong_fields(posted).keys() == {"probabilities"}
    events = client.get("/sample", params=long, headers={"Accept": "text/event-stream"})
    assert events.status_code == 200 and f'"characters": {length + 1}' in events.text


def test_the_bounds_are_those_that_are_documented(client: httpx2.Client) -> None:
    fields: Query = {"model": "toy", "length": 1_000_000, "probabilities": 1}
    wrong = wrong_fields(client.get("/sample", params=fields, headers=AS_JSON))
    assert "at most 0 for a JSON answer of this length" in wrong["probabilities"]
    completion: dict[str, Any] = {"model": "toy", "n": 16, "logprobs": 20}
    response = client.post("/v1/completions", json=completion | {"max_tokens": 2977})
    assert response.status_code == 400
    assert "max_tokens must be at most 2976 with" in response.json()["error"]["message"]
    assert 2976 * 16 * 21 <= MOST == 1_000_000


@pytest.mark.usefixtures("small")
def test_a_completion_has_so_many_alternatives(client: httpx2.Client) -> None:
    asked: dict[str, Any] = {"model": "toy", "seed": 1, "n": 4, "logprobs": 2}
    done = client.post("/v1/completions", json=asked | {"max_tokens": 500})
    assert done.status_code == 200
    for choice in done.json()["choices"]:
        assert "".join(choice["logprobs"]["tokens"]) == choice["text"]
        assert len(choice["text"]) == 500 == len(choice["logprobs"]["top_logprobs"])
    long = asked | {"max_tokens": 501}
    refused = client.post("/v1/completions", json=long)
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "max_tokens"
    assert client.post("/v1/completions", json=long | {"stream": True}).status_code == 200
    # Without alternatives, only texts count.
    assert client.post("/v1/completions", json=long | {"logprobs": None}).status_code == 200


def test_no_step_of_a_large_answer_holds_the_interpreter(
    client: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What becomes JSON in one step is small, however large the answer is."""
    sizes: list[int] = []

    def watched(value: object) -> bytes:
        sizes.append(len(encoded := compact(value)))
        return encoded

    for module in (whole, answers, choices):
        monkeypatch.setattr(module, "compact", watched)
    fields: Query = {"model": "toy", "length": 20_000, "probabilities": 20}
    # Compressed, an answer is sent without its length.
    headers = AS_JSON | {"Accept-Encoding": "identity"}
    answer = client.get("/sample", params=fields, headers=headers)
    assert len(answer.content) > 5_000_000 and max(sizes) < 300_000
    assert int(answer.headers["content-length"]) == len(answer.content)
    sizes.clear()
    asked = {"model": "toy", "max_tokens": 20_000, "logprobs": 20}
    assert len(client.post("/v1/completions", json=asked).content) > 5_000_000
    assert max(sizes) < 300_000


def test_events_with_alternatives_are_small(client: httpx2.Client) -> None:
    fields: Query = {"model": "toy", "length": 5000, "probabilities": 20}
    events = client.get("/sample", params=fields, headers={"Accept": "text/event-stream"})
    lines = [line for line in events.text.split("\n") if line.startswith("data: ")]
    assert max(map(len, lines)) < 300_000
    read = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert sum(len(one["characters"]) for one in read) == 5000
    assert max(len(one["characters"]) for one in read) <= texts.LISTED_AT_ONCE

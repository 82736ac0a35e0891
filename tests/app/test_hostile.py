"""Whatever a field of a sampling request holds, in any dialect: it is served, or refused in the
endpoint's own shape; never a mistake of the server. Over real HTTP."""

import json
from collections.abc import Iterator
from dataclasses import replace

import httpx2
import numpy as np
import pytest

from app.routes.dialects.ollama import GenerateRequest, OllamaChat, OllamaOptions, Shown
from app.routes.dialects.requests import ChatRequest, CompletionRequest
from app.schemas.texts import NamesQuery, SampleRequest
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.serving import Query, serve, wrong_fields
from tests.toys import toy_checkpoint

VALUES = [
    *("-2", "-1", "0", "1", "1.5", "1e-300", "1e308", "1e400", "-1e400", "NaN", "Infinity"),
    *("1000000000000000000", str(2**31), str(2**63), str(-(2**63)), str(10**30), "9" * 5000),
    *("null", "true", "false", '""', '"x"', '"1e400"', '"nan"', '"-1"', "[]", "{}", "[[]]"),
    *('[""]', '["a"]', '["a", null, 3]', "[1, 2]", '["a", "b", "c", "d", "e"]', '{"a": 1}'),
    *(r'"\ud800"', r'"a\udc00"', r'["\ud800"]', '"\\u0000"', '"\\ufeff"', '"\\r\\n"'),
    json.dumps("a" * 1_000_000),
    json.dumps(["a" * 300]),
]
"""As JSON texts: some are no JSON, and some no text."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    data = tmp_path_factory.mktemp("data")
    checkpoint = replace(toy_checkpoint(), lines=np.array([1], np.uint64))
    Registry(data / "models").publish(Reference("toy"), checkpoint)
    with serve(data) as client:
        yield client


SOON = {"temperature": "10", "stop": '["a", "e", "i"]'}
"""Ends a text that may be as long as possible."""


def members(fields: dict[str, str]) -> str:
    return "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}"


def completion(field: str, value: str) -> tuple[str, str]:
    base = {"model": '"toy"', "prompt": '"a"', "max_tokens": "5"} | SOON
    return "/v1/completions", members(base | {field: value})


SAID = '[{"role": "user", "content": "a"}]'


def completed_chat(field: str, value: str) -> tuple[str, str]:
    base = {"model": '"toy"', "messages": SAID, "max_tokens": "5"} | SOON
    return "/v1/chat/completions", members(base | {field: value})


def chat(field: str, value: str) -> tuple[str, str]:
    base = {"model": '"toy"', "messages": SAID, "options": '{"num_predict": 5}'}
    return "/api/chat", members(base | {field: value})


def message(field: str, value: str) -> tuple[str, str]:
    said = members({"role": '"user"', "content": '"a"'} | {field: value})
    return "/api/chat", members({"model": '"toy"', "messages": f"[{said}]", "stream": "false"})


def part(field: str, value: str) -> tuple[str, str]:
    said = members({"type": '"text"', "text": '"a"'} | {field: value})
    return message("content", f"[{said}]")


def generation(field: str, value: str) -> tuple[str, str]:
    base = {"model": '"toy"', "prompt": '"a"', "options": '{"num_predict": 5}'}
    return "/api/generate", members(base | {field: value})


def option(field: str, value: str) -> tuple[str, str]:
    options = members({"num_predict": "5"} | SOON | {field: value})
    return "/api/generate", members({"model": '"toy"', "prompt": '"a"', "options": options})


def show(field: str, value: str) -> tuple[str, str]:
    return "/api/show", members({field: value})


def sample(field: str, value: str) -> tuple[str, str]:
    base = {"model": '"toy"', "prime": '"a"', "length": "5"}
    return "/sample", members(base | {field: value})


FIELDS = [
    *((completion, field) for field in [*CompletionRequest.model_fields, "suffix"]),
    *((completed_chat, field) for field in [*ChatRequest.model_fields, "tools"]),
    *((chat, field) for field in [*OllamaChat.model_fields, "options", "tools"]),
    *((generation, field) for field in [*GenerateRequest.model_fields, "options", "images"]),
    *((option, field) for field in [*OllamaOptions.model_fields, "num_ctx", "mirostat"]),
    *((message, field) for field in ("role", "content", "images")),
    *((part, field) for field in ("type", "text")),
    *((show, field) for field in Shown.model_fields),
    *((sample, field) for field in SampleRequest.model_fields),
]


@pytest.mark.parametrize(("asking", "field"), FIELDS)
def test_a_value_in_a_body_is_served_or_refused(
    client: httpx2.Client, asking: object, field: str
) -> None:
    assert callable(asking)
    for value in VALUES:
        path, body = asking(field, value)
        response = client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert response.status_code in (200, 400, 404, 422), (value[:40], response.text)
        if response.status_code == 200:
            continue
        answer = response.json()
        if path == "/sample":
            assert answer["code"] and "set_int" not in answer["detail"]
        elif path.startswith("/v1/"):
            assert answer["error"].keys() == {"message", "type", "param", "code"}
        else:
            assert answer.keys() == {"error"} and isinstance(answer["error"], str)


@pytest.mark.parametrize("field", NamesQuery.model_fields)
def test_a_value_in_a_query_is_served_or_refused(client: httpx2.Client, field: str) -> None:
    for text in VALUES[:-2]:
        value = text.strip('"').encode().decode("unicode_escape")
        fields: Query = {"model": "toy", "count": 1, "max_length": 5}
        query = httpx2.QueryParams(fields | {field: value.encode("utf-8", "surrogatepass")})
        assert client.get(f"/names?{query}").status_code in (200, 404, 422), value[:40]


def test_inapplicable_fields_are_ignored(client: httpx2.Client) -> None:
    plain = client.post("/v1/completions", content=completion("seed", "1")[1]).json()["choices"]
    for field in ("echoed", "suffix", "logit_bias", "user", "presence_penalty"):
        for value in ("3", "null", '"x"', '{"a": 1}', "1e400"):
            body = members(json_members(completion("seed", "1")[1]) | {field: value})
            assert client.post("/v1/completions", content=body).json()["choices"] == plain


def json_members(body: str) -> dict[str, str]:
    return {name: json.dumps(value) for name, value in json.loads(body).items()}


@pytest.mark.parametrize("value", ["-1", "-2", "0"])
def test_ollamas_ways_to_say_no_limit(client: httpx2.Client, value: str) -> None:
    """A text has no end of its own: it is written until a stop, or until nobody reads."""
    whole = client.get("/sample?model=toy&prime=a&seed=1&length=3000").text
    options: Query = {"num_predict": int(value), "seed": 1, "stop": [whole[2500:2520]]}
    body = {"model": "toy", "prompt": "a", "options": options, "stream": False}
    answer = client.post("/api/generate", json=body).json()
    assert answer["response"] == whole[: whole.find(whole[2500:2520])] and answer["done"]


def test_a_number_of_many_digits_is_refused_in_words(client: httpx2.Client) -> None:
    body = sample("seed", "9" * 5000)[1]
    wrong = wrong_fields(client.post("/sample", content=body), "invalid_json")
    assert wrong == {"body": "is not JSON: a number has more than 1,000 digits"}

"""The clients that people have work unchanged: openai's, ollama's and llm's own, over real HTTP."""

import json
import math
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import ollama
import openai
import pytest

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.text.vocab import Vocabulary
from tests.serving import eventually, serve
from tests.toys import toy_checkpoint

BYTES = Vocabulary("bytes", [0x0A, 0x41, 0x81, 0x82, 0xE3])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    registry = Registry(data / "models")
    card = {"created_at": "2026-01-02T03:04:05.000Z"}
    registry.publish(Reference("toy"), toy_checkpoint(**card))
    registry.publish(Reference("toy", "v1"), toy_checkpoint(seed=1, **card))
    registry.publish(Reference("bytes"), toy_checkpoint(vocabulary=BYTES))
    return data


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx2.Client]:
    with serve(data) as client:
        yield client


def openai_client(client: httpx2.Client) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{client.base_url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def ai(client: httpx2.Client) -> Iterator[openai.OpenAI]:
    with openai_client(client) as ai:
        yield ai


@pytest.fixture(scope="module")
def llama(client: httpx2.Client) -> Iterator[ollama.Client]:
    with ollama.Client(host=str(client.base_url)) as llama:
        yield llama


def sampled(client: httpx2.Client, **fields: Any) -> str:
    response = client.get("/sample", params={"model": "toy"} | fields)
    assert response.status_code == 200, response.text
    return response.text


# OpenAI's


def test_a_completion_is_what_sample_writes(client: httpx2.Client, ai: openai.OpenAI) -> None:
    asked: Any = {"model": "toy", "prompt": "hello", "max_tokens": 200, "seed": 7}
    done = ai.completions.create(**asked, temperature=0.8, top_p=0.9)
    text = sampled(client, prime="hello", length=200, seed=7, temperature=0.8, top_p=0.9)
    (choice,) = done.choices
    assert (choice.text, choice.finish_reason, choice.index) == (text, "length", 0)
    assert (done.object, done.model) == ("text_completion", "toy")
    assert done.usage and done.usage.to_dict() == {
        "prompt_tokens": 5,
        "completion_tokens": 200,
        "total_tokens": 205,
    }
    listed = ai.completions.create(**asked | {"prompt": ["hello"]}, temperature=0.8, top_p=0.9)
    assert listed.choices == done.choices
    assert listed.id != done.id


def test_a_stream_is_the_same_in_chunks(ai: openai.OpenAI) -> None:
    asked: Any = {"model": "toy", "prompt": "ab", "max_tokens": 30_000, "seed": 7, "echo": True}
    whole = ai.completions.create(**asked)
    chunks = list(
        ai.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    *texts, end, usage = chunks
    assert len(texts) > 3
    assert "".join(chunk.choices[0].text for chunk in texts) == whole.choices[0].text
    assert {chunk.choices[0].finish_reason for chunk in texts} == {None}
    assert end.choices[0].finish_reason == "length" and end.choices[0].text == ""
    assert usage.choices == [] and usage.usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1
    assert not any(chunk.usage for chunk in ai.completions.create(**asked, stream=True))


def test_stop_ends_before_the_first(client: httpx2.Client, ai: openai.OpenAI) -> None:
    whole = sampled(client, seed=2, length=2000)
    for stop in (whole[700:704], [whole[700:704], whole[600:603], ""]):
        done = ai.completions.create(model="toy", prompt="", max_tokens=2000, seed=2, stop=stop)
        end = min(whole.find(one) for one in ([stop] if isinstance(stop, str) else stop[:2]))
        assert done.choices[0].text == whole[:end]
        assert done.choices[0].finish_reason == "stop"


def test_several_choices_differ_and_the_first_is_the_seeds(
    client: httpx2.Client, ai: openai.OpenAI
) -> None:
    asked: Any = {"model": "toy", "prompt": "a", "max_tokens": 3000, "seed": -3, "n": 16}
    done = ai.completions.create(**asked)
    texts = [choice.text for choice in sorted(done.choices, key=lambda choice: choice.index)]
    assert len(set(texts)) == 16
    assert texts[0] == sampled(client, prime="a", length=3000, seed=2**63 - 3)
    assert done.usage and done.usage.completion_tokens == 16 * 3000
    assert done.usage.prompt_tokens == 1
    streamed = [""] * 16
    ended = []
    for chunk in ai.completions.create(**asked, stream=True):
        (choice,) = chunk.choices
        streamed[choice.index] += choice.text
        ended += [choice.index] if choice.finish_reason == "length" else []
    assert streamed == texts and sorted(ended) == list(range(16))


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_are_of_each_character(ai: openai.OpenAI, stream: bool) -> None:
    asked: Any = {"model": "toy", "prompt": "abc", "max_tokens": 2000, "seed": 1, "echo": True}
    asked |= {"logprobs": 3, "stream": stream}
    answer = ai.completions.create(**asked)
    choices = [chunk.choices[0] for chunk in (answer if stream else [answer])]
    text = "".join(choice.text for choice in choices)
    parts = [choice.logprobs for choice in choices if choice.logprobs]
    tokens = [token for part in parts for token in part.tokens or []]
    own = [one for part in parts for one in part.token_logprobs or []]
    top: list[Any] = [one for part in parts for one in part.top_logprobs or []]
    offsets = [one for part in parts for one in part.text_offset or []]
    assert "".join(tokens) == text and len(text) == 2003
    assert offsets == list(range(2003))
    assert own[:3] == top[:3] == [None] * 3
    for token, mine, others in zip(tokens[3:], own[3:], top[3:], strict=True):
        assert len(others) == 3 and -1e4 < mine <= 0
        assert sum(math.exp(other) for other in others.values()) < 1.001
        assert others.get(token, mine) == mine
    none: Any = ai.completions.create(model="toy", prompt="a", max_tokens=5, logprobs=0).choices[0]
    assert len(none.logprobs.token_logprobs) == 5 and none.logprobs.top_logprobs == [{}] * 5


def test_what_means_nothing_here_is_ignored(client: httpx2.Client, ai: openai.OpenAI) -> None:
    done = ai.completions.create(
        model="toy",
        prompt="Ab",
        seed=1,
        max_tokens=50,
        presence_penalty=0.5,
        best_of=1,
        logit_bias={"50256": -100},
        user="somebody",
        suffix=None,
        extra_body={"colour": "red", "unknown": "skip", "top_k": 2},
        extra_query={"api-version": "1"},
    )
    assert done.choices[0].text == sampled(client, prime="b", seed=1, length=50, top_k=2)


def test_the_likeliest_alone_by_either_way_of_saying_so(
    client: httpx2.Client, ai: openai.OpenAI
) -> None:
    greedy = sampled(client, temperature=0, length=100)
    for way in ({"temperature": 0}, {"top_p": 0}):
        done = ai.completions.create(model="toy", prompt="", max_tokens=100, **way)  # type: ignore[call-overload]
        assert done.choices[0].text == greedy


def test_bytes_models_complete_in_sound_utf8(ai: openai.OpenAI) -> None:
    asked: Any = {"model": "bytes", "prompt": "あ", "max_tokens": 3000, "temperature": 3}
    chunks = list(ai.completions.create(**asked, stream=True, logprobs=1))
    text = "".join(chunk.choices[0].text for chunk in chunks)
    assert len(text) == 3000 and "あ" in text
    parts = [chunk.choices[0].logprobs for chunk in chunks]
    assert "".join(token for part in parts if part for token in part.tokens or []) == text


def test_models_are_listed_and_found(ai: openai.OpenAI) -> None:
    models = ai.models.list().data
    assert [model.id for model in models] == ["bytes", "toy", "toy:v1"]
    assert ai.models.retrieve("toy:v1") == models[2]
    assert models[1].created == 1767323045 and models[1].owned_by == "charloom"


def test_openais_errors(ai: openai.OpenAI) -> None:
    for model in ("nobody", "GPT 5", "gpt-3.5-turbo", "toy:v9"):
        with pytest.raises(openai.NotFoundError) as missing:
            ai.completions.create(model=model, prompt="a")
        assert missing.value.code == "model_not_found" and missing.value.param == "model"
        with pytest.raises(openai.NotFoundError):
            ai.models.retrieve(model)
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"prompt": "Héllo"}, "prompt", "'H', 'é'"),
        ({"prompt": [1, 2]}, "prompt", "one text"),
        ({"prompt": ["a", "b"]}, "prompt", "one text"),
        ({"prompt": "a" * 20_000}, "prompt", "16,384"),
        ({"max_tokens": 0}, "max_tokens", "from 1"),
        ({"temperature": -1}, "temperature", "from 0"),
        ({"n": 17}, "n", "1 to 16"),
        ({"stop": ["a"] * 5}, "stop", "4"),
        ({"logprobs": 21}, "logprobs", "20"),
    ]
    for fields, field, words in wrong:
        with pytest.raises(openai.BadRequestError) as bad:
            ai.completions.create(**{"model": "toy", "prompt": "a"} | fields)  # type: ignore[call-overload]
        assert bad.value.param == field and words in bad.value.message
        assert bad.value.type == "invalid_request_error"
    with pytest.raises(openai.NotFoundError):
        ai.chat.completions.create(model="toy", messages=[])


def test_llm_completes(client: httpx2.Client, tmp_path: Path) -> None:
    (tmp_path / "extra-openai-models.yaml").write_text(
        "- model_id: loom\n  model_name: toy\n  completion: true\n"
        f'  api_base: "{client.base_url}/v1"\n'
    )
    environment = os.environ | {"LLM_USER_PATH": str(tmp_path), "OPENAI_API_KEY": "none"}
    options = ["-o", "seed", "7", "-o", "max_tokens", "100", "-o", "temperature", "0.8"]
    for stream in ([], ["--no-stream"]):
        run = subprocess.run(
            [sys.executable, "-m", "llm", "-m", "loom", "hello", *options, *stream],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert run.returncode == 0, run.stderr
        text = sampled(client, prime="hello", seed=7, length=100, temperature=0.8)
        assert run.stdout.strip() == text.strip()


# Ollama's


def test_generation_is_what_sample_writes(client: httpx2.Client, llama: ollama.Client) -> None:
    options: Any = {"seed": 5, "num_predict": 200, "temperature": 0.7, "top_k": 9, "top_p": 0.9}
    done = llama.generate(model="toy", prompt="hello", options=options)
    assert done.response == sampled(
        client, prime="hello", seed=5, length=200, temperature=0.7, top_k=9, top_p=0.9
    )
    assert done.done and done.done_reason == "length"
    assert (done.model, done.prompt_eval_count, done.eval_count) == ("toy:latest", 5, 200)
    assert done.total_duration and done.eval_duration is not None and done.load_duration
    assert done.total_duration >= done.load_duration + done.eval_duration > 0
    off: Any = {"seed": 5, "top_k": 0, "top_p": 1.0, "num_ctx": 4096, "mirostat": 1}
    plain = llama.generate(model="toy", prompt="", options=off, keep_alive=0, system="x", raw=True)
    assert plain.response == sampled(client, seed=5)


def test_it_streams_by_default_and_by_the_client(
    client: httpx2.Client, llama: ollama.Client
) -> None:
    options: Any = {"seed": 5, "num_predict": 30_000}
    parts = list(llama.generate(model="toy:v1", prompt="a", options=options, stream=True))
    *texts, end = parts
    assert len(texts) > 3 and not any(part.done for part in texts)
    text = sampled(client, model="toy:v1", prime="a", seed=5, length=30_000)
    assert "".join(part.response or "" for part in texts) == text
    assert end.done and end.done_reason == "length" and end.response == ""
    assert end.eval_count == 30_000
    # As curl sends it: no word of a stream, and a form's content type.
    body = json.dumps({"model": "toy:v1", "prompt": "a", "options": options})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    raw = client.post("/api/generate", content=body, headers=form)
    assert raw.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in raw.text.splitlines()]
    assert "".join(line["response"] for line in lines) == text
    assert lines[-1]["done"] is True and lines[0]["created_at"].endswith("Z")


def test_ollamas_stop_and_drawn_seeds(client: httpx2.Client, llama: ollama.Client) -> None:
    whole = sampled(client, seed=2)
    options: Any = {"seed": 2, "stop": [whole[300:303]], "num_predict": -1}
    done = llama.generate(model="toy", prompt="", options=options)
    assert done.response == whole[: whole.find(whole[300:303])]
    assert done.done_reason == "stop"
    drawn = [llama.generate(model="toy", prompt="", options={"seed": -1}) for _ in range(2)]
    assert drawn[0].response != drawn[1].response


def test_without_a_prompt_a_model_is_loaded(llama: ollama.Client) -> None:
    done = llama.generate(model="toy")
    assert (done.response, done.done, done.done_reason) == ("", True, "load")


def test_ollama_lists_shows_and_tells_its_version(
    client: httpx2.Client, llama: ollama.Client
) -> None:
    models = llama.list().models
    assert [model.model for model in models] == ["bytes:latest", "toy:latest", "toy:v1"]
    toy = models[1]
    assert toy.digest == client.get("/models/toy").json()["digest"]
    assert toy.modified_at and toy.modified_at.year == 2026
    assert toy.details and toy.details.family == "lstm" and toy.size
    shown = llama.show("toy:v1")
    assert shown.capabilities == ["completion"]
    assert shown.modelinfo and shown.modelinfo["lstm.block_count"] == 2
    version = client.get("/api/version").json()["version"]
    assert version == client.get("/openapi.json").json()["info"]["version"]


def test_ollamas_errors(llama: ollama.Client) -> None:
    for ask in (llama.show, lambda model: llama.generate(model=model, prompt="a")):
        for model in ("nobody", "Nobody!"):
            with pytest.raises(ollama.ResponseError) as missing:
                ask(model)  # type: ignore[operator]
            assert missing.value.status_code == 404 and "model not found" in missing.value.error
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("É", {}, "prompt has characters not in this model's vocabulary: 'É'"),
        ("a", {"temperature": 11}, "temperature must be a number from 0"),
        ("a", {"num_predict": 10_000_000}, "num_predict"),
        ("a", {"stop": ["a"] * 5}, "stop"),
    ]
    for prompt, options, words in wrong:
        with pytest.raises(ollama.ResponseError) as bad:
            llama.generate(model="toy", prompt=prompt, options=options)
        assert bad.value.status_code == 400 and words in bad.value.error


# Both


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
def test_a_client_that_leaves_frees_its_rows(data: Path, path: str, stream: str) -> None:
    body = (
        '{"model": "toy", "prompt": "a", "n": 4, "max_tokens": 1000000, '
        f'"options": {{"num_predict": 1000000}}, "stream": {stream}}}'
    )
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    rows = 4 if path == "/v1/completions" else 1
    with serve(data) as client:

        def are_open(count: int) -> bool:
            return f"\ncharloom_streams_open {count}.0\n" in client.get("/metrics").text

        for _ in range(3):
            with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as one:
                one.sendall((head + body).encode())
                eventually(lambda: are_open(rows))
            eventually(lambda: are_open(0))


def test_a_full_server_says_so_in_both(data: Path) -> None:
    with serve(data, max_streams=3) as client, openai_client(client) as ai:
        # Some choices fit, not all: none is left behind.
        for _ in range(2):
            with pytest.raises(openai.InternalServerError) as full:
                ai.completions.create(model="toy", prompt="a", n=4)
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


def test_a_server_that_stops_ends_streams_with_an_error(data: Path) -> None:
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

    with serve(data) as client:
        threads = [threading.Thread(target=ask, args=(client,)) for ask in (complete, generate)]
        for thread in threads:
            thread.start()
        assert all(event.wait(20) for event in begun)
    for thread in threads:
        thread.join(20)
    assert len(ended) == 2
    assert all("the server is shutting down" in str(error) for error in ended)

"""Clients that only chat work unchanged: the last message of the user is the text to continue.

The clients are OpenAI's, Ollama's and llm's own; what Open WebUI and LibreChat send is replayed.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import ollama
import openai
import pytest

from tests.dialects import sampled
from tests.serving import serve

CHAT: Any = [
    {"role": "system", "content": "You are a pirate."},
    {"role": "user", "content": "never read"},
    {"role": "assistant", "content": None},
    {"role": "user", "content": "hello"},
]


@pytest.fixture(scope="module")
def client(dated: Path) -> Iterator[httpx2.Client]:
    with serve(dated) as client:
        yield client


def test_openais_chat_is_what_sample_writes(client: httpx2.Client, ai: openai.OpenAI) -> None:
    asked: Any = {"model": "toy", "messages": CHAT, "seed": 7, "temperature": 0.8, "n": 2}
    done = ai.chat.completions.create(**asked, max_completion_tokens=200)
    text = sampled(client, prime="hello", length=200, seed=7, temperature=0.8)
    first, second = done.choices
    assert (first.message.content, first.message.role) == (text, "assistant")
    assert first.finish_reason == "length" and second.message.content != text
    assert done.object == "chat.completion" and done.model == "toy"
    assert done.usage and done.usage.prompt_tokens == 5 and done.usage.completion_tokens == 400
    assert ai.chat.completions.create(**asked, max_tokens=200).choices == done.choices


def test_openais_chat_streams(client: httpx2.Client, ai: openai.OpenAI) -> None:
    asked: Any = {"model": "toy", "messages": CHAT, "max_tokens": 20_000, "seed": 7}
    asked |= {"stream": True, "stream_options": {"include_usage": True}}
    opening, *texts, end, usage = ai.chat.completions.create(**asked)
    assert (opening.choices[0].delta.role, opening.choices[0].delta.content) == ("assistant", "")
    text = sampled(client, prime="hello", length=20_000, seed=7)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in texts) == text
    assert end.choices[0].finish_reason == "length" and not end.choices[0].delta.content
    assert usage.choices == [] and usage.usage and usage.usage.total_tokens == 20_005
    assert {chunk.object for chunk in texts} == {"chat.completion.chunk"}


@pytest.mark.parametrize("stream", [False, True])
def test_openais_chat_has_logprobs(ai: openai.OpenAI, stream: bool) -> None:
    asked: Any = {"model": "toy", "messages": CHAT, "max_tokens": 600, "logprobs": True}
    answer: Any = ai.chat.completions.create(**asked, top_logprobs=3, stream=stream)
    choices: Any = [chunk.choices[0] for chunk in (answer if stream else [answer])]
    tokens = [one for choice in choices if choice.logprobs for one in choice.logprobs.content]
    texts = [(choice.delta if stream else choice.message).content or "" for choice in choices]
    assert "".join(token.token for token in tokens) == "".join(texts)
    assert len(tokens) == 600
    for token in tokens:
        assert bytes(token.bytes).decode() == token.token and token.logprob <= 0
        assert len(token.top_logprobs) == 3
        assert sum(math.exp(one.logprob) for one in token.top_logprobs) < 1.001


def test_a_message_may_be_a_list_of_texts(client: httpx2.Client, ai: openai.OpenAI) -> None:
    said = [{"type": "text", "text": "he"}, {"type": "text", "text": "llo"}]
    messages: Any = [{"role": "user", "content": said}]
    done = ai.chat.completions.create(model="toy", messages=messages, seed=7, max_tokens=50)
    assert done.choices[0].message.content == sampled(client, prime="hello", length=50, seed=7)
    said.append({"type": "image_url", "image_url": {"url": "data:,"}})  # type: ignore[dict-item]
    with pytest.raises(openai.BadRequestError, match="parts of the type text"):
        ai.chat.completions.create(model="toy", messages=messages)


def test_ollamas_chat_is_what_sample_writes(client: httpx2.Client, llama: ollama.Client) -> None:
    options: Any = {"seed": 5, "num_predict": 5000, "temperature": 0.7, "top_k": 9}
    done = llama.chat(model="toy", messages=CHAT[1::2], options=options)
    text = sampled(client, prime="hello", seed=5, length=5000, temperature=0.7, top_k=9)
    assert (done.message.content, done.message.role) == (text, "assistant")
    assert (done.model, done.done_reason, done.eval_count) == ("toy:latest", "length", 5000)
    *texts, end = llama.chat(model="toy", messages=CHAT[1::2], options=options, stream=True)
    assert "".join(part.message.content or "" for part in texts) == text
    assert end.done and end.prompt_eval_count == 5 and end.message.content == ""
    plain = llama.chat(model="toy", messages=[ollama.Message(role="user", content="hello")])
    assert len(plain.message.content or "") == 1000


def test_ollamas_chat_loads_and_refuses(llama: ollama.Client) -> None:
    loaded = llama.chat(model="toy:v1")
    assert (loaded.done_reason, loaded.message.content) == ("load", "")
    assert "toy:v1" in [model.model for model in llama.ps().models]
    wrong: list[tuple[Any, int, str]] = [
        ([{"role": "user", "content": "É"}], 400, "messages has characters not in"),
        ([{"role": "system", "content": "a"}], 400, "a message with the role user"),
        ([{"role": "user", "content": "a" * 20_000}], 400, "messages must have at most 16,384"),
    ]
    for messages, status, words in wrong:
        with pytest.raises(ollama.ResponseError) as bad:
            llama.chat(model="toy", messages=messages)
        assert bad.value.status_code == status and words in bad.value.error
    with pytest.raises(ollama.ResponseError, match="model not found"):
        llama.chat(model="nobody", messages=CHAT[1::2])


def test_ollama_lists_what_is_in_memory(dated: Path) -> None:
    with serve(dated) as client, ollama.Client(host=str(client.base_url)) as llama:
        assert llama.ps().models == []
        llama.generate(model="toy")
        (running,) = llama.ps().models
    assert running.model == "toy:latest" and running.size and running.size > 10_000
    assert running.size_vram == 0 and running.expires_at and running.expires_at.year == 9999


def test_ollamas_own_cli_finds_a_server(client: httpx2.Client) -> None:
    for headers in ({}, {"Accept": "*/*"}, {"User-Agent": "ollama/0.9 (amd64 linux) Go/go1.24"}):
        response = client.head("/", headers=headers)
        assert response.status_code == 200 and response.content == b""


def test_llm_chats(client: httpx2.Client, tmp_path: Path) -> None:
    (tmp_path / "extra-openai-models.yaml").write_text(
        f'- model_id: loom\n  model_name: toy\n  api_base: "{client.base_url}/v1"\n'
    )
    environment = os.environ | {"LLM_USER_PATH": str(tmp_path), "OPENAI_API_KEY": "none"}
    options = ["-o", "seed", "7", "-o", "max_tokens", "100", "-s", "Be brief."]
    run = subprocess.run(
        [sys.executable, "-m", "llm", "-m", "loom", "hello", *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == sampled(client, prime="hello", seed=7, length=100).strip()


# What web interfaces send, after their public source


def test_open_webui_on_ollamas_dialect(client: httpx2.Client) -> None:
    """It lists models and their server's version, and asks for chats with options."""
    models = {model["model"] for model in client.get("/api/tags").json()["models"]}
    assert client.get("/api/version").json()["version"] and client.get("/api/ps").status_code == 200
    for model in models - {"bytes:latest"}:
        body = {
            "model": model,
            "messages": [{"role": "system", "content": "Be kind."}, *CHAT[1::2]],
            "stream": True,
            "options": {"temperature": 0.8, "seed": 4, "num_predict": 300, "num_ctx": 2048},
            "keep_alive": "5m",
        }
        with client.stream("POST", "/api/chat", content=json.dumps(body)) as answer:
            assert answer.headers["content-type"] == "application/x-ndjson"
            *said, last = map(json.loads, answer.iter_lines())
        text = "".join(line["message"]["content"] for line in said)
        asked: Any = {"prime": "hello", "seed": 4, "length": 300, "temperature": 0.8}
        assert text == sampled(client, model=model, **asked)
        assert last["done"] and last["eval_count"] == 300 and last["eval_duration"] > 0
    # A title is asked for beside the chat, without a stream and without options.
    title = {"model": "toy", "messages": CHAT[1::2], "stream": False}
    assert client.post("/api/chat", json=title).json()["message"]["content"]


def test_open_webui_on_openais_dialect(client: httpx2.Client) -> None:
    headers = {
        "Authorization": "Bearer none",
        "X-OpenWebUI-User-Id": "1",
        "HTTP-Referer": "https://x",
    }
    ids = [model["id"] for model in client.get("/v1/models", headers=headers).json()["data"]]
    assert "toy" in ids
    body = {
        "stream": True,
        "model": "toy",
        "messages": CHAT,
        "stream_options": {"include_usage": True},
        "temperature": 0.8,
        "seed": 4,
        "max_tokens": 300,
        "frequency_penalty": 1.1,
        "stop": [],
    }
    with client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    *events, done = lines
    assert done == "[DONE]"
    said = [one["choices"][0]["delta"] for one in map(json.loads, events) if one["choices"]]
    text = "".join(delta.get("content", "") for delta in said)
    assert text == sampled(client, prime="hello", seed=4, length=300, temperature=0.8)
    assert json.loads(events[-1])["usage"]["completion_tokens"] == 300


def test_langchain(client: httpx2.Client) -> None:
    """What its classes for chats and completions send, of both dialects."""
    said = [{"content": "Be", "role": "system"}, {"content": "hello", "role": "user"}]
    asked: dict[str, Any] = {"model": "toy", "seed": 7, "temperature": 0.8}
    text = sampled(client, prime="hello", seed=7, length=80, temperature=0.8)
    chat = asked | {"stream": False, "messages": said, "max_completion_tokens": 80}
    answer = client.post("/v1/chat/completions", json=chat).json()
    assert answer["choices"][0]["message"]["content"] == text
    whole = asked | {"prompt": ["hello", "ab"], "best_of": 1, "n": 1, "max_tokens": 80}
    whole |= {"frequency_penalty": 0, "presence_penalty": 0, "logprobs": None, "top_p": 1}
    choices = client.post("/v1/completions", json=whole).json()["choices"]
    assert [choice["index"] for choice in choices] == [0, 1] and choices[0]["text"] == text
    options = {"num_predict": 80, "temperature": 0.8, "seed": 7, "stop": ["zz"]}
    body = {"model": "toy", "stream": True, "options": options, "messages": said[1:], "tools": []}
    lines = [json.loads(line) for line in client.post("/api/chat", json=body).text.splitlines()]
    content = "".join(line["message"]["content"] for line in lines)
    assert content == text.partition("zz")[0] and lines[-1]["done"]


def test_librechat(client: httpx2.Client) -> None:
    """Its parts of text, and the members that mean nothing here."""
    body = {
        "model": "toy",
        "temperature": 1,
        "top_p": 1,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "n": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
        "user": "66f0c0ffee",
        "parallel_tool_calls": False,
        "messages": [
            {"role": "system", "content": "# Instructions"},
            {"role": "user", "name": "ada", "content": [{"type": "text", "text": "hello"}]},
        ],
        "max_tokens": 100,
        "seed": 3,
    }
    answer = client.post("/v1/chat/completions", json=body).text
    events = [json.loads(line[6:]) for line in answer.splitlines() if line.startswith("data: {")]
    deltas = [one["choices"][0]["delta"] for one in events if one["choices"]]
    assert "".join(delta.get("content", "") for delta in deltas) == sampled(
        client, prime="hello", seed=3, length=100
    )
    assert deltas[0]["role"] == "assistant"
    assert [one["choices"][0]["finish_reason"] for one in events[:-1]][-1] == "length"

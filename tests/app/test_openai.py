"""OpenAI's own clients work unchanged, over real HTTP: openai's and llm's."""

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.dialects import sampled
from tests.serving import serve


@pytest.fixture(scope="module")
def client(dated: Path) -> Iterator[httpx2.Client]:
    with serve(dated) as client:
        yield client


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
    assert own[0] is top[0] is None
    for token, mine, others in zip(tokens[1:], own[1:], top[1:], strict=True):
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
        ({"prompt": [1, 2]}, "prompt", "must be text"),
        ({"prompt": [[1, 2]]}, "prompt", "must be text"),
        ({"prompt": []}, "prompt", "1 to 128"),
        ({"prompt": ["a"] * 129}, "prompt", "1 to 128"),
        ({"prompt": ["a"] * 9, "n": 16}, "prompt", "128 texts in all"),
        ({"prompt": "a" * 20_000}, "prompt", "16,384"),
        ({"max_tokens": -2}, "max_tokens", "from -1"),
        ({"max_tokens": -1, "n": 17}, "n", "1 to 16"),
        ({"max_tokens": -1, "prompt": ["a"] * 17}, "max_tokens", "stream=true"),
        ({"n": 3, "best_of": 2}, "best_of", "at least n"),
        ({"best_of": 21}, "best_of", "1 to 20"),
        ({"best_of": 2, "stream": True}, "best_of", "must be n with stream=true"),
        ({"temperature": -1}, "temperature", "from 0"),
        ({"n": 17}, "n", "1 to 16"),
        ({"stop": ["a"] * 5}, "stop", "4"),
        ({"logprobs": 21}, "logprobs", "20"),
    ]
    for fields, field, words in wrong:
        with pytest.raises(openai.BadRequestError) as bad:
            ai.completions.create(**{"model": "toy", "prompt": "a"} | fields)
        assert bad.value.param == field and words in bad.value.message
        assert bad.value.type == "invalid_request_error"
    for messages in ([], [{"role": "system", "content": "a"}], [{"role": "user", "content": [3]}]):
        with pytest.raises(openai.BadRequestError) as bad:
            ai.chat.completions.create(model="toy", messages=messages)  # type: ignore[arg-type]
        assert bad.value.param == "messages"


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

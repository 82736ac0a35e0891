"""Many texts in one answer of OpenAI's dialect: whose they are, which are best, what they cost."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest

from tests.dialects import sampled
from tests.serving import serve

PROMPTS = ["a", "hello", "", "xyz"]


@pytest.fixture(scope="module")
def client(dated: Path) -> Iterator[httpx2.Client]:
    with serve(dated) as client:
        yield client


def test_a_list_of_prompts_has_the_choices_of_each(ai: openai.OpenAI) -> None:
    asked: Any = {"model": "toy", "max_tokens": 300, "seed": 7, "n": 3}
    alone = [ai.completions.create(**asked, prompt=prompt) for prompt in PROMPTS]
    together = ai.completions.create(**asked, prompt=PROMPTS)
    assert [choice.index for choice in together.choices] == list(range(12))
    texts = [choice.text for choice in together.choices]
    assert texts == [choice.text for one in alone for choice in one.choices]
    assert together.usage and together.usage.prompt_tokens == 9
    assert together.usage.completion_tokens == 12 * 300
    streamed, ended = [""] * 12, set()
    for chunk in ai.completions.create(**asked, prompt=PROMPTS, stream=True, echo=True):
        (choice,) = chunk.choices
        streamed[choice.index] += choice.text
        ended |= {choice.index} if choice.finish_reason else set()
    assert streamed == [PROMPTS[index // 3] + text for index, text in enumerate(texts)]
    assert ended == set(range(12))


def test_prompts_without_a_seed_have_texts_of_their_own(ai: openai.OpenAI) -> None:
    done = ai.completions.create(model="toy", prompt=["a"] * 128, max_tokens=40)
    assert len({choice.text for choice in done.choices}) == 128


def mean_logprob(choice: Any) -> float:
    return float(np.mean(choice.logprobs.token_logprobs))


def test_the_best_are_the_likeliest(ai: openai.OpenAI) -> None:
    asked: Any = {"model": "toy", "prompt": ["a", "hello"], "max_tokens": 60, "seed": 7}
    every = ai.completions.create(**asked, n=8, logprobs=0).choices
    expected = [
        [one.text for one in sorted(group, key=mean_logprob, reverse=True)[:3]]
        for group in (every[:8], every[8:])
    ]
    best = ai.completions.create(**asked, n=3, best_of=8)
    assert [choice.text for choice in best.choices] == expected[0] + expected[1]
    assert [choice.index for choice in best.choices] == list(range(6))
    assert best.choices[0].logprobs is None
    assert best.usage and best.usage.completion_tokens == 16 * 60
    told = ai.completions.create(**asked, n=3, best_of=8, logprobs=2).choices
    assert [choice.text for choice in told] == expected[0] + expected[1]
    assert mean_logprob(told[0]) >= mean_logprob(told[1]) >= mean_logprob(told[2])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["toy", "bytes"])
def test_an_echoed_prompt_has_logprobs(
    client: httpx2.Client, ai: openai.OpenAI, model: str, stream: bool
) -> None:
    """Those that /inspect tells. Without anything to write, the prompt is only read."""
    prompt = "hello world\n" * 90 if model == "toy" else "AあA\n" * 200
    seen = client.post(f"/models/{model}/inspect", json={"text": prompt, "top": 2}).json()
    expected = [one["probability"] for one in seen["characters"]]
    asked: Any = {"model": model, "prompt": [prompt, prompt[:4]], "echo": True, "logprobs": 2}
    for tokens in (0, 5):
        answer: Any = ai.completions.create(**asked, max_tokens=tokens, stream=stream)
        parts: Any = [c for chunk in (answer if stream else [answer]) for c in chunk.choices]
        for index, text in enumerate((prompt, prompt[:4])):
            told = [part.logprobs for part in parts if part.index == index and part.logprobs]
            own = [one for part in told for one in part.token_logprobs or []]
            assert len(own) == len(text) + tokens
            assert own[0] is None
            assert np.exp(own[1 : len(text)]) == pytest.approx(expected[1 : len(text)], rel=1e-3)
            assert "".join(one for part in told for one in part.tokens).startswith(text)
            assert [at for part in told for at in part.text_offset] == list(range(len(own)))


def test_nothing_may_be_written(ai: openai.OpenAI) -> None:
    nothing = ai.completions.create(model="toy", prompt="abc", max_tokens=0)
    assert (nothing.choices[0].text, nothing.choices[0].finish_reason) == ("", "length")
    assert nothing.usage and nothing.usage.to_dict()["completion_tokens"] == 0
    echoed = ai.completions.create(model="toy", prompt="abc", max_tokens=0, echo=True)
    assert echoed.choices[0].text == "abc"


def test_as_much_as_possible_ends_at_a_stop(client: httpx2.Client, ai: openai.OpenAI) -> None:
    whole = sampled(client, seed=2, length=3000)
    stop = whole[2500:2520]
    done = ai.completions.create(model="toy", prompt="", seed=2, max_tokens=-1, stop=stop)
    assert done.choices[0].text == whole[: whole.find(stop)]


def test_prompts_with_logprobs_are_bounded_even_in_a_stream(client: httpx2.Client) -> None:
    asked = {"model": "toy", "prompt": ["a" * 10_000] * 5, "echo": True, "logprobs": 20}
    refused = client.post("/v1/completions", json=asked | {"stream": True})
    assert refused.status_code == 400
    assert "prompt must have at most 47619 characters" in refused.json()["error"]["message"]

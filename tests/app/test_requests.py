"""What OpenAI's clients ask for, as the queries that it becomes."""

from typing import Any

import pytest

from app.http.problems import Problem
from app.http.validation import validated
from app.routes.dialects.requests import ChatRequest, CompletionRequest
from app.routes.texts import derived_seed

SAID = [{"role": "user", "content": "ab"}]


def test_each_prompt_has_the_seeds_of_a_request_of_its_own() -> None:
    fields = validated(CompletionRequest, {"model": "m", "prompt": ["a", "b"], "seed": 5, "n": 2})
    queries = fields.queries()
    assert [(query.prime, query.seed) for query in queries] == [
        (prime, derived_seed(5, index)) for prime in "ab" for index in range(2)
    ]
    drawn = validated(CompletionRequest, {"model": "m", "prompt": ["a", "a"]}).queries()
    assert drawn[0].seed != drawn[1].seed


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ({}, 1000),
        ({"max_tokens": 0}, 0),
        ({"max_tokens": -1}, 1_000_000),
        ({"max_tokens": 7, "max_completion_tokens": 9}, 9),
        ({"max_completion_tokens": -1}, 1_000_000),
        ({"max_completion_tokens": None, "max_tokens": 3}, 3),
    ],
)
def test_how_long_a_text_of_a_chat_is(fields: dict[str, Any], length: int) -> None:
    (query,) = validated(ChatRequest, {"model": "m", "messages": SAID} | fields).queries()
    assert (query.prime, query.length) == ("ab", length)


def test_alternatives_are_computed_only_where_they_are_needed() -> None:
    asked: dict[str, Any] = {"model": "m", "prompt": "a"}
    for fields, computed in (
        ({}, 0),
        ({"logprobs": 0}, 1),
        ({"logprobs": 5}, 5),
        ({"best_of": 2}, 1),
        ({"best_of": 2, "n": 2}, 0),
    ):
        queries = validated(CompletionRequest, asked | fields).queries()
        assert {query.probabilities for query in queries} == {computed}, fields


def test_an_answer_in_one_piece_is_bounded_by_all_of_its_texts() -> None:
    asked = {"model": "m", "prompt": ["a"] * 128, "max_tokens": 125_000}
    assert len(validated(CompletionRequest, asked).queries()) == 128
    with pytest.raises(Problem, match="max_tokens"):
        validated(CompletionRequest, asked | {"max_tokens": 125_001}).queries()
    streamed = asked | {"max_tokens": 1_000_000, "stream": True}
    assert len(validated(CompletionRequest, streamed).queries()) == 128

"""A choice in parts has what the same one in one piece has."""

import json

import pytest

from app.routes.dialects.choices import NO_PROBABILITY, ChatChoice, Form, TextChoice, logarithm
from models.decoding.characters import Character, Piece

PROMPT = Piece("pq", [Character("p", 0.5, [("x", 0.9)]), Character("q", 0.25, [("q", 0.25)])])
WORDS = [
    Piece("ab", [Character("a", 1.0, [("a", 1.0), ("b", 0.0)]), Character("b", 0.5, [])]),
    Piece("あ", [Character("あ", 0.0, [("a", 0.5)])]),
]


def whole(choice: Form, *pieces: Piece) -> dict[str, object]:
    for piece in pieces:
        choice.keep(piece)
    found: dict[str, object] = json.loads(b"".join(choice.whole(3, "stop")))
    return found


def test_a_completions_parts_add_up() -> None:
    parts = TextChoice(0, 1)
    told = [parts.part(PROMPT, is_prompt=True), *map(parts.part, WORDS), parts.ending("stop")]
    kept = TextChoice(0, 1)
    kept.keep(PROMPT, is_prompt=True)
    answer = whole(kept, *WORDS)
    assert answer["text"] == "".join(one["text"] for one in told) == "pqabあ"
    assert (answer["index"], answer["finish_reason"]) == (3, "stop")
    for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
        column = [item for one in told for item in one["logprobs"][name]]
        assert answer["logprobs"][name] == column  # type: ignore[index]
    logprobs = [None, *map(logarithm, (0.25, 1.0, 0.5, 0.0))]
    assert answer["logprobs"]["token_logprobs"] == logprobs  # type: ignore[index]
    assert answer["logprobs"]["text_offset"] == [0, 1, 2, 3, 4]  # type: ignore[index]
    assert told[1]["logprobs"]["top_logprobs"][0] == {"a": 0.0}


def test_a_chats_parts_add_up() -> None:
    parts = ChatChoice(1, 1)
    told = [*parts.opening(), *map(parts.part, WORDS), parts.ending("length")]
    assert told[0]["delta"] == {"role": "assistant", "content": ""}
    answer = whole(ChatChoice(1, 1), *WORDS)
    message = {"role": "assistant", "content": "abあ", "refusal": None}
    assert answer["message"] == message
    tokens = [one for part in told[1:-1] for one in part["logprobs"]["content"]]
    assert answer["logprobs"] == {"content": tokens, "refusal": None}
    assert tokens[2]["bytes"] == list("あ".encode()) and tokens[2]["logprob"] == NO_PROBABILITY
    assert [len(token["top_logprobs"]) for token in tokens] == [1, 0, 1]


@pytest.mark.parametrize("form", [TextChoice, ChatChoice])
def test_without_logprobs_there_are_none(form: type[Form]) -> None:
    assert form(0, None).part(WORDS[0])["logprobs"] is None
    assert whole(form(0, None), *WORDS)["logprobs"] is None
    # Of an empty text, they are empty.
    assert all(not column for column in dict(whole(form(0, 2))["logprobs"]).values())  # type: ignore[call-overload]

"""Choices of OpenAI's answers, as completions and chats have them: in parts, or in one piece.

Knows the pieces of one text; no request and no stream.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypedDict

from app.http.streaming import compact
from models.decoding.characters import Character, Piece

NO_PROBABILITY = -9999.0
"""The logarithm of a probability that fp32 rounds to 0; JSON has no infinity."""

Choice = dict[str, Any]
"""One of a completion or of a chat, whole or a part."""


class Logprobs(TypedDict):
    """Of each character; the first of a prompt has none."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class Form(ABC):
    """The choice of one text.

    Args:
        index: of the choice.
        alternatives: number of characters to list in the place of each; None is no logprobs.
    """

    prefix: ClassVar[str]
    whole_object: ClassVar[str]
    part_object: ClassVar[str]

    def __init__(self, index: int, alternatives: int | None) -> None:
        self.index = index
        self.alternatives = alternatives
        # As JSON, which takes a sixth of the memory of its objects.
        self._texts: list[str] = []
        self._columns: dict[str, list[bytes]] = {}

    @abstractmethod
    def opening(self) -> list[Choice]:
        """What comes before the text in a stream."""

    @abstractmethod
    def part(self, piece: Piece, *, is_prompt: bool = False) -> Choice:
        """A piece of the text, or of the prompt before it, in a stream."""

    @abstractmethod
    def ending(self, finish_reason: str | None) -> Choice:
        """What comes after the text in a stream."""

    @abstractmethod
    def keep(self, piece: Piece, *, is_prompt: bool = False) -> None:
        """Takes a piece for an answer in one piece."""

    @abstractmethod
    def whole(self, index: int, finish_reason: str | None) -> list[bytes]:
        """The choice in one piece, as JSON in parts."""

    def _keep(self, text: str, columns: Mapping[str, list[Any]]) -> None:
        self._texts.append(text)
        for name, column in columns.items():
            parts = self._columns.setdefault(name, [])
            if column:
                parts += [b"," if parts else b"", compact(column)[1:-1]]

    def _whole(self, head: Mapping[str, object], tail: bytes) -> list[bytes]:
        """A choice with these members, and its logprobs as JSON that ends so."""
        parts = [compact(head)[:-1], b',"logprobs":']
        if self.alternatives is None:
            return [*parts, b"null}"]
        if not self._columns:
            self.keep(Piece())
        for number, (name, column) in enumerate(self._columns.items()):
            parts += [b"," if number else b"{", compact(name), b":[", *column, b"]"]
        return [*parts, tail, b"}}"]


class TextChoice(Form):
    """A choice of a completion."""

    prefix, whole_object, part_object = "cmpl", "text_completion", "text_completion"

    def __init__(self, index: int, alternatives: int | None) -> None:
        super().__init__(index, alternatives)
        self._offset = 0

    def opening(self) -> list[Choice]:
        return []

    def part(self, piece: Piece, *, is_prompt: bool = False) -> Choice:
        logprobs = self._logprobs(piece, is_prompt) if self.alternatives is not None else None
        self._offset += len(piece.text)
        return {
            "index": self.index,
            "text": piece.text,
            "logprobs": logprobs,
            "finish_reason": None,
        }

    def ending(self, finish_reason: str | None) -> Choice:
        return self.part(Piece()) | {"finish_reason": finish_reason}

    def keep(self, piece: Piece, *, is_prompt: bool = False) -> None:
        part = self.part(piece, is_prompt=is_prompt)
        self._keep(part["text"], part["logprobs"] or {})

    def whole(self, index: int, finish_reason: str | None) -> list[bytes]:
        text = "".join(self._texts)
        head = {"index": index, "text": text, "finish_reason": finish_reason}
        return self._whole(head, b"")

    def _logprobs(self, piece: Piece, is_prompt: bool) -> Logprobs:
        own: list[float | None] = [logarithm(one.probability) for one in piece.characters]
        top: list[dict[str, float] | None] = [self._top(one) for one in piece.characters]
        if is_prompt and own and not self._offset:
            # Nothing comes before it that it could follow from.
            own[0] = top[0] = None
        return {
            "tokens": [one.char for one in piece.characters],
            "token_logprobs": own,
            "top_logprobs": top,
            "text_offset": list(range(self._offset, self._offset + len(own))),
        }

    def _top(self, character: Character) -> dict[str, float]:
        return {char: logarithm(p) for char, p in character.top[: self.alternatives]}


class ChatChoice(Form):
    """A choice of a chat."""

    prefix, whole_object, part_object = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def opening(self) -> list[Choice]:
        return [self._delta({"role": "assistant", "content": ""})]

    def part(self, piece: Piece, *, is_prompt: bool = False) -> Choice:
        logprobs = None
        if self.alternatives is not None:
            logprobs = {"content": self._tokens(piece), "refusal": None}
        return self._delta({"content": piece.text}) | {"logprobs": logprobs}

    def ending(self, finish_reason: str | None) -> Choice:
        return self._delta({}) | {"finish_reason": finish_reason}

    def keep(self, piece: Piece, *, is_prompt: bool = False) -> None:
        self._keep(piece.text, {"content": self._tokens(piece)})

    def whole(self, index: int, finish_reason: str | None) -> list[bytes]:
        message = {"role": "assistant", "content": "".join(self._texts), "refusal": None}
        head = {"index": index, "message": message, "finish_reason": finish_reason}
        return self._whole(head, b',"refusal":null')

    def _delta(self, delta: Mapping[str, str]) -> Choice:
        return {"index": self.index, "delta": delta, "logprobs": None, "finish_reason": None}

    def _tokens(self, piece: Piece) -> list[dict[str, Any]]:
        if self.alternatives is None:
            return []
        return [
            _token(one.char, one.probability)
            | {"top_logprobs": [_token(char, p) for char, p in one.top[: self.alternatives]]}
            for one in piece.characters
        ]


def _token(char: str, probability: float) -> dict[str, Any]:
    encoded = char.encode("utf-8", "replace")
    return {"token": char, "logprob": logarithm(probability), "bytes": list(encoded)}


def logarithm(probability: float) -> float:
    return math.log(probability) if probability > 0 else NO_PROBABILITY

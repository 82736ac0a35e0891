"""A text in one piece, as JSON, and the end of one that is streamed. Knows no endpoint."""

import time
from collections.abc import Mapping

from fastapi.concurrency import run_in_threadpool

from app.http.streaming import compact
from app.routes.texts import Opened, Texts, listed
from app.schemas.texts import CopiesAvoided, TextAnswer, TextCharacter, TextEnd
from models.decoding.characters import Character, Piece


def character(one: Character) -> TextCharacter:
    return {"char": one.char, "probability": one.probability, "top": one.top}


def ending(texts: Texts, opened: Opened) -> TextEnd:
    """What an ended text was, and the state to continue it from."""
    stream = opened.reader.stream
    avoided: CopiesAvoided = {"copies_avoided": stream.detours} if stream.is_guarded else {}
    return {
        "finish_reason": opened.reader.finish_reason,
        "characters": stream.characters,
        "seed": opened.seed,
        "digest": opened.model.digest,
        "seconds": round(time.monotonic() - opened.began, 6),
        "state": texts.state(opened),
        **avoided,
    }


class Whole:
    """Collects a text. Nothing long is done on the event loop."""

    def __init__(self, texts: Texts, opened: Opened) -> None:
        self.opened = opened
        self._texts = texts
        self._said = [opened.echoed]
        self._characters: list[bytes] = []

    async def add(self, piece: Piece) -> None:
        self._said.append(piece.text)
        if piece.characters:
            # Kept as JSON, which takes a sixth of the memory.
            self._characters += await run_in_threadpool(_encoded, piece)

    async def to_json(self, more: Mapping[str, object] | None = None) -> list[bytes]:
        """The ended text as JSON in parts, with more members in front."""
        parts = [await run_in_threadpool(self._answer, more or {})]
        if self.opened.reader.stream.probabilities:
            # Each is preceded by a comma.
            parts = [parts[0][:-1], b',"probabilities":[', *self._characters[1:], b"]}"]
        return parts

    def _answer(self, more: Mapping[str, object]) -> bytes:
        answer: TextAnswer = {
            "text": "".join(self._said),
            "model": str(self.opened.reference),
            "precision": self.opened.precision,
            **ending(self._texts, self.opened),
        }
        return compact({**more, **answer})


def _encoded(piece: Piece) -> list[bytes]:
    parts = []
    for part in listed(piece):
        parts += [b",", compact([character(one) for one in part.characters])[1:-1]]
    return parts

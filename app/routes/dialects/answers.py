"""Answers of OpenAI's dialect: several texts as choices, in events as they come or in one piece.

Knows texts on their way; what a choice looks like is in ``app.routes.dialects.choices``.
"""

import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import TypedDict

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from app.http.negotiation import EVENTS
from app.http.problems import Problem
from app.http.streaming import ClosingResponse, compact, parts_response
from app.routes.dialects.choices import Choice, Form, logarithm
from app.routes.dialects.common import failure, said, status
from app.routes.dialects.requests import OpenAIRequest
from app.routes.texts import Opened, listed
from app.routes.together import close, merged
from models.decoding.characters import Piece
from models.json_lines import one_line

_FIELDS = {"length": "max_tokens"}
_MODEL_CODES = ("damaged_model", "no_ngram", "not_a_network", "unknown_model")
"""Codes that OpenAI's clients know as ``model_not_found``."""

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

Part = tuple[Piece, bool]
"""A piece of a text, and whether it is its prompt."""


class Usage(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


def error(problem: Problem) -> Response:
    """A problem in OpenAI's shape."""
    return JSONResponse(_error(problem), status(problem), problem.headers)


def _error(problem: Problem) -> dict[str, object]:
    names = [_FIELDS.get(one.field, one.field) for one in problem.errors]
    code = status(problem)
    kind = "invalid_request_error" if code < 500 else "server_error"
    param = names[0] if names else None
    if problem.code in _MODEL_CODES:
        param = "model"
    body = {
        "message": said(problem, _FIELDS),
        "type": _TYPES.get(code, kind),
        "param": param,
        "code": "model_not_found" if problem.code in _MODEL_CODES else None,
    }
    return {"error": body}


class Answer:
    """The choices of one request, on their way.

    Args:
        fields: what is asked for.
        opened: the texts, those of a prompt together.
        form: that of the choices.
    """

    def __init__(self, fields: OpenAIRequest, opened: Sequence[Opened], form: type[Form]) -> None:
        self.fields = fields
        self.opened = opened
        self._form = form
        first = opened[0]
        self._head = {
            "id": f"{form.prefix}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": str(first.reference),
            "system_fingerprint": f"fp_{first.model.digest[:12]}",
        }
        self._usage_asked = fields.stream_options.include_usage
        self._choices = [form(index, fields.alternatives) for index in range(len(opened))]
        self._logprobs = [0.0] * len(opened)

    async def response(self, request: Request) -> Response:
        """The answer: a stream, or what is known once the texts have ended."""
        if not self.fields.stream:
            return await self._at_once(request)
        headers = self.opened[0].headers
        return ClosingResponse(self._events(), EVENTS, headers, lambda: close(self.opened))

    async def _at_once(self, request: Request) -> Response:
        try:
            async with aclosing(self._parts()) as coming:
                async for index, part in coming:
                    if part is not None:
                        await run_in_threadpool(self._keep, index, *part)
                    elif problem := failure(self.opened[index]):
                        return error(problem)
                    if await request.is_disconnected():
                        break
        finally:
            close(self.opened)
        parts = await run_in_threadpool(self._whole)
        return parts_response(parts, self.opened[0].headers)

    def _keep(self, index: int, piece: Piece, is_prompt: bool) -> None:
        self._choices[index].keep(piece, is_prompt=is_prompt)
        if not is_prompt:
            self._logprobs[index] += sum(logarithm(one.probability) for one in piece.characters)

    def _whole(self) -> list[bytes]:
        head = self._head | {"object": self._form.whole_object}
        parts = [compact(head)[:-1], b',"choices":[']
        for number, index in enumerate(self._best()):
            reason = self.opened[index].reader.finish_reason
            parts += [b"," if number else b"", *self._choices[index].whole(number, reason)]
        return [*parts, b'],"usage":', compact(self._usage()), b"}"]

    def _best(self) -> list[int]:
        """The texts to return, of each prompt the likeliest first if there are more than asked."""
        each = self.fields.candidates
        found: list[int] = []
        for begin in range(0, len(self.opened), each):
            group: Sequence[int] = range(begin, begin + each)
            if each > self.fields.n:
                group = sorted(group, key=self._mean_logprob, reverse=True)
            found += group[: self.fields.n]
        return found

    def _mean_logprob(self, index: int) -> float:
        characters = self.opened[index].reader.stream.characters
        return self._logprobs[index] / characters if characters else float("-inf")

    async def _events(self) -> AsyncIterator[bytes]:
        for choice in self._choices:
            for opening in choice.opening():
                yield self._event(opening)
        async with aclosing(self._parts()) as coming:
            async for index, part in coming:
                choice, opened = self._choices[index], self.opened[index]
                if part is not None:
                    yield self._event(choice.part(part[0], is_prompt=part[1]))
                elif problem := failure(opened):
                    yield _data(_error(problem))
                    return
                else:
                    yield self._event(choice.ending(opened.reader.finish_reason))
        if self._usage_asked:
            head = self._head | {"object": self._form.part_object}
            yield _data(head | {"choices": [], "usage": self._usage()})
        yield b"data: [DONE]\n\n"

    def _parts(self) -> AsyncGenerator[tuple[int, Part | None], None]:
        return merged([self._told(one) for one in self.opened])

    async def _told(self, opened: Opened) -> AsyncIterator[Part]:
        """Yields the parts of one text, after those of its prompt if that is echoed."""
        tells = self.fields.tells_prompt
        if self.fields.echoes and opened.echoed and not tells:
            yield Piece(opened.echoed), True
        pieces = aiter(opened.reader)
        piece = await anext(pieces, None)
        if tells:
            # Known once something follows it, or nothing will.
            for part in listed(opened.reader.stream.told_prime):
                yield part, True
        while piece is not None:
            for part in listed(piece):
                yield part, False
            piece = await anext(pieces, None)

    def _event(self, choice: Choice) -> bytes:
        head = self._head | {"object": self._form.part_object, "choices": [choice]}
        return _data(head | {"usage": None} if self._usage_asked else head)

    def _usage(self) -> Usage:
        read = sum(len(one.echoed) for one in self.opened[:: self.fields.candidates])
        written = sum(one.reader.stream.characters for one in self.opened)
        return {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
        }


def _data(value: Mapping[str, object]) -> bytes:
    return b"data: " + one_line(value).encode() + b"\n\n"

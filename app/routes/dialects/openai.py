"""``/v1``: text completion for OpenAI's clients. A character is a token.

Errors are ``{"error": {"message", "type", "param", "code"}}``. There is no chat: a character model
continues a text. Knows no other dialect.
"""

import math
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import aclosing
from typing import Any, Literal, TypedDict

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from pydantic import Field, field_validator

from app.http.bodies import json_body
from app.http.negotiation import EVENTS
from app.http.problems import Problem, unprocessable
from app.http.streaming import ClosingResponse, compact, parts_response
from app.routes.dialects.common import (
    DEFAULT_LENGTH,
    LEAST_TOP_P,
    MAX_LENGTH,
    ForeignJson,
    Lenient,
    close,
    failure,
    merged,
    open_texts,
    received,
    said,
    sample_query,
    status,
    warmth,
)
from app.routes.services import ServicesDep, writing_for
from app.routes.texts import MAX_LISTED, Opened, listed
from app.schemas.common import PathModel, Unknown
from app.schemas.texts import MAX_PRIME, MAX_STOP, MAX_STOPS, SampleQuery
from models.checkpoints.card import date
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Entry
from models.decoding.batch import Character, Piece
from models.json_lines import one_line

router = APIRouter(prefix="/v1", tags=["OpenAI's dialect"])

MAX_CHOICES = 16
NO_PROBABILITY = -9999.0
"""The logarithm of a probability that fp32 rounds to 0; JSON has no infinity."""

_FIELDS = {"prime": "prompt", "length": "max_tokens"}
_MODEL_CODES = ("damaged_model", "no_ngram", "not_a_network", "unknown_model")
"""Codes that OpenAI's clients know as ``model_not_found``."""

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class OpenAIModel(TypedDict):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class OpenAIModelList(TypedDict):
    object: Literal["list"]
    data: list[OpenAIModel]


class Logprobs(TypedDict):
    """Of each character; those of the prompt have none."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class Choice(TypedDict):
    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: str | None


class Usage(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class StreamOptions(Lenient):
    include_usage: bool = Field(default=False, description="End with the usage.")


class CompletionRequest(Lenient):
    """The supported subset of OpenAI's fields, plus ``top_k`` and ``unknown``."""

    model: str = Field(description="Model to use.")
    prompt: str = Field("", max_length=MAX_PRIME, description="Text to continue.")
    max_tokens: int = Field(DEFAULT_LENGTH, ge=1, le=MAX_LENGTH, description="Characters to write.")
    temperature: float = Field(1.0, ge=0, le=10, description="Randomness; 0 is argmax.")
    top_p: float | None = Field(
        None, ge=0, le=1, description="Nucleus sampling: smallest set with this total probability."
    )
    top_k: int | None = Field(
        None, ge=1, le=1 << 20, description="Number of most likely characters to sample from."
    )
    n: int = Field(1, ge=1, le=MAX_CHOICES, description="Completions to write.")
    seed: int | None = Field(None, description="Random seed; the same one gives the same text.")
    stop: list[str] = Field(
        [], max_length=MAX_STOPS, description="Strings; the text ends before the first one found."
    )
    echo: bool = Field(False, description="Start the text with the prompt.")
    logprobs: int | None = Field(
        None, ge=0, le=20, description="Alternatives to list for each character."
    )
    stream: bool = Field(False, description="Send the text as events as it is written.")
    stream_options: StreamOptions = Field(StreamOptions(), description="Options of a stream.")
    unknown: Unknown = Field(
        "error", description="Whether unknown characters are an error or skipped."
    )

    @field_validator("prompt", mode="before")
    @classmethod
    def _one_prompt(cls, prompt: Any) -> Any:
        if isinstance(prompt, list) and len(prompt) == 1:
            prompt = prompt[0]
        if not isinstance(prompt, str):
            raise ValueError("must be one text: a string, or a list of one string")
        return prompt

    @field_validator("stop", mode="before")
    @classmethod
    def _stops(cls, stop: Any) -> Any:
        stops = [stop] if isinstance(stop, str) else stop
        if not isinstance(stops, list):
            raise ValueError("must be a string, or a list of strings")
        if not all(isinstance(one, str) and len(one) <= MAX_STOP for one in stops):
            raise ValueError(f"must be strings of at most {MAX_STOP} characters")
        return [one for one in stops if one]

    @field_validator("logprobs", mode="before")
    @classmethod
    def _alternatives(cls, logprobs: Any) -> Any:
        # Chat completions have it as a boolean, and some clients send that here too.
        if isinstance(logprobs, bool):
            return 1 if logprobs else None
        return logprobs

    def sample(self) -> SampleQuery:
        return sample_query(
            model=self.model,
            prime=self.prompt,
            temperature=warmth(self.temperature),
            length=self.max_tokens,
            seed=self.seed,
            top_k=self.top_k,
            top_p=None if self.top_p is None else max(self.top_p, LEAST_TOP_P),
            stop=self.stop,
            unknown=self.unknown,
            probabilities=0 if self.logprobs is None else max(1, self.logprobs),
        )


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


@router.get("/models", summary="List models (OpenAI)", response_model=ForeignJson)
def list_models(services: ServicesDep) -> OpenAIModelList:
    return {"object": "list", "data": [_model(entry) for entry in services.models.entries()]}


@router.get("/models/{model}", summary="Get a model (OpenAI)", response_model=ForeignJson)
def show_model(model: PathModel, services: ServicesDep) -> OpenAIModel:
    return _model(services.models.entry(Reference.from_client(model)))


def _model(entry: Entry) -> OpenAIModel:
    made = date(entry.card)
    return {
        "id": str(entry.reference),
        "object": "model",
        "created": int(made.timestamp()) if made else 0,
        "owned_by": "charloom",
    }


@router.post(
    "/completions",
    summary="Complete a text (OpenAI)",
    openapi_extra=json_body(CompletionRequest),
)
async def complete(request: Request, services: ServicesDep) -> Response:
    """`max_tokens` counts characters; the default is 1000. Unsupported fields are ignored."""
    fields = await received(request, CompletionRequest)
    _check_size(fields)
    caller = writing_for(request, services)
    opened = await open_texts(services.texts, fields.sample(), fields.n, caller)
    completion = Completion(fields, opened)
    if fields.stream:
        return ClosingResponse(
            completion.events(), EVENTS, opened[0].headers, lambda: close(opened)
        )
    return await completion.at_once(request)


def _check_size(fields: CompletionRequest) -> None:
    """Raises Problem, 422: an answer in one piece would have too many alternatives."""
    if fields.stream or fields.logprobs is None:
        return
    each = fields.n * (1 + max(1, fields.logprobs))
    if fields.max_tokens * each > MAX_LISTED:
        raise unprocessable(
            "max_tokens",
            f"must be at most {MAX_LISTED // each} with these logprobs and n; with stream=true "
            "there is no such limit",
        )


class Completion:
    """The choices of one request, on their way."""

    def __init__(self, fields: CompletionRequest, opened: list[Opened]) -> None:
        self.fields = fields
        self.opened = opened
        first = opened[0]
        self._prompt = first.echoed
        self._head = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": str(first.reference),
            "system_fingerprint": f"fp_{first.model.digest[:12]}",
        }
        self._usage_asked = fields.stream_options.include_usage
        # Characters of each choice so far.
        self._offsets = [0] * len(opened)

    async def at_once(self, request: Request) -> Response:
        has_logprobs = self.fields.logprobs is not None
        choices = [_WholeChoice(i, has_logprobs=has_logprobs) for i in range(len(self.opened))]
        for index, choice in enumerate(choices):
            self._keep(choice, self._echoed(index))
        try:
            async with aclosing(self._pieces()) as coming:
                async for index, piece in coming:
                    if piece is not None:
                        said = self._said(index, piece)
                        await run_in_threadpool(self._keep, choices[index], said)
                    elif problem := failure(self.opened[index]):
                        return error(problem)
                    if await request.is_disconnected():
                        break
        finally:
            close(self.opened)
        parts = await run_in_threadpool(self._answer, choices)
        return parts_response(parts, self.opened[0].headers)

    def _keep(self, choice: "_WholeChoice", said: Iterable[Choice]) -> None:
        for part in said:
            choice.add(part)

    def _answer(self, choices: list["_WholeChoice"]) -> list[bytes]:
        parts = [compact(self._head)[:-1], b',"choices":']
        for index, choice in enumerate(choices):
            parts.append(b"," if index else b"[")
            parts += choice.to_json(self.opened[index].reader.finish_reason)
        return [*parts, b'],"usage":', compact(self._usage()), b"}"]

    async def events(self) -> AsyncIterator[bytes]:
        for index in range(len(self.opened)):
            for choice in self._echoed(index):
                yield self._event(choice)
        async with aclosing(self._pieces()) as coming:
            async for index, piece in coming:
                if piece is not None:
                    for choice in self._said(index, piece):
                        yield self._event(choice)
                elif problem := failure(self.opened[index]):
                    yield _data(_error(problem))
                    return
                else:
                    reason = self.opened[index].reader.finish_reason
                    yield self._event(self._choice(index, Piece(), reason))
        if self._usage_asked:
            yield _data(self._head | {"choices": [], "usage": self._usage()})
        yield b"data: [DONE]\n\n"

    def _echoed(self, index: int) -> Iterator[Choice]:
        if self.fields.echo and self._prompt:
            yield self._choice(index, Piece(), None, echo=True)

    def _said(self, index: int, piece: Piece) -> Iterator[Choice]:
        for part in listed(piece):
            yield self._choice(index, part, None)

    def _pieces(self) -> AsyncGenerator[tuple[int, Piece | None], None]:
        return merged([aiter(one.reader) for one in self.opened])

    def _event(self, choice: Choice) -> bytes:
        usage = {"usage": None} if self._usage_asked else {}
        return _data(self._head | {"choices": [choice]} | usage)

    def _choice(
        self, index: int, piece: Piece, finish_reason: str | None, *, echo: bool = False
    ) -> Choice:
        text = self._prompt + piece.text if echo else piece.text
        logprobs = None
        if self.fields.logprobs is not None:
            logprobs = _LogprobsBuilder(self._offsets[index])
            if echo:
                logprobs.prompt(self._prompt)
            logprobs.add(piece.characters, self.fields.logprobs)
        self._offsets[index] += len(text)
        return {
            "index": index,
            "text": text,
            "logprobs": logprobs.to_json() if logprobs else None,
            "finish_reason": finish_reason,
        }

    def _usage(self) -> Usage:
        written = sum(one.reader.stream.characters for one in self.opened)
        return {
            "prompt_tokens": len(self._prompt),
            "completion_tokens": written,
            "total_tokens": len(self._prompt) + written,
        }


def _data(value: Mapping[str, object]) -> bytes:
    return b"data: " + one_line(value).encode() + b"\n\n"


class _WholeChoice:
    """A choice of an answer in one piece, kept as JSON: that takes a sixth of the memory."""

    def __init__(self, index: int, *, has_logprobs: bool) -> None:
        self._index = index
        self._texts: list[str] = []
        names = Logprobs.__annotations__ if has_logprobs else ()
        self._columns: dict[str, list[bytes]] = {name: [] for name in names}

    def add(self, said: Choice) -> None:
        self._texts.append(said["text"])
        for name, column in (said["logprobs"] or {}).items():
            if column:
                parts = self._columns[name]
                parts += [b"," if parts else b"", compact(column)[1:-1]]

    def to_json(self, finish_reason: str | None) -> list[bytes]:
        text = "".join(self._texts)
        head = {"index": self._index, "text": text, "finish_reason": finish_reason}
        parts = [compact(head)[:-1], b',"logprobs":']
        if not self._columns:
            return [*parts, b"null}"]
        for number, (name, column) in enumerate(self._columns.items()):
            parts += [b"," if number else b"{", compact(name), b":[", *column, b"]"]
        return [*parts, b"}}"]


class _LogprobsBuilder:
    """Collects the log probability of each character and of the most likely ones in its place.

    The characters of a prompt have none.
    """

    def __init__(self, offset: int) -> None:
        self._offset = offset
        self._tokens: list[str] = []
        self._own: list[float | None] = []
        self._top: list[dict[str, float] | None] = []

    def prompt(self, text: str) -> None:
        self._tokens += text
        self._own += [None] * len(text)
        self._top += [None] * len(text)

    def add(self, characters: list[Character], count: int) -> None:
        for character in characters:
            self._tokens.append(character.char)
            self._own.append(logarithm(character.probability))
            top = {char: logarithm(probability) for char, probability in character.top[:count]}
            self._top.append(top)

    def to_json(self) -> Logprobs:
        return {
            "tokens": self._tokens,
            "token_logprobs": self._own,
            "top_logprobs": self._top,
            "text_offset": list(range(self._offset, self._offset + len(self._tokens))),
        }


def logarithm(probability: float) -> float:
    return math.log(probability) if probability > 0 else NO_PROBABILITY

"""``/api``: text generation for Ollama's clients. A character is a token.

Errors are ``{"error": text}``, durations are nanoseconds. A model does not chat: it continues the
last message of the user. A prompt is always raw. Knows no other dialect.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NotRequired, TypedDict, cast

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from pydantic import Field, field_validator

from app.http.bodies import json_body, read_json
from app.http.negotiation import NDJSON
from app.http.problems import Problem, unprocessable
from app.http.streaming import ClosingResponse
from app.http.validation import validated
from app.routes.dialects.common import (
    DEFAULT_LENGTH,
    LEAST_TOP_P,
    MAX_LENGTH,
    Chat,
    ForeignJson,
    Lenient,
    failure,
    listed_stops,
    received,
    said,
    sample_query,
    status,
    warmth,
)
from app.routes.services import Services, ServicesDep, writing_for
from app.routes.texts import Opened
from app.routes.together import close, open_all
from app.schemas.common import Style, Unknown
from app.schemas.texts import MAX_BODY, MAX_PRIME, SampleQuery
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Entry
from models.json_lines import one_line

router = APIRouter(prefix="/api", tags=["Ollama's dialect"])

_FIELDS = {"length": "num_predict"}
_NEVER, _LATE = "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"


class OllamaDetails(TypedDict):
    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class OllamaModel(TypedDict):
    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: OllamaDetails


class OllamaModelList(TypedDict):
    models: list[OllamaModel]


class RunningModel(OllamaModel):
    """A model in memory, which no clock removes."""

    expires_at: str
    size_vram: int


class RunningModels(TypedDict):
    models: list[RunningModel]


class OllamaModelDetails(TypedDict):
    license: str
    modelfile: str
    parameters: str
    template: str
    details: OllamaDetails
    model_info: dict[str, str | int]
    capabilities: list[str]
    modified_at: str


class Message(TypedDict):
    role: str
    content: str


class SaidText(TypedDict):
    """A text: in a chat it is a ``message``, else the ``response``."""

    response: NotRequired[str]
    message: NotRequired[Message]


Saying = Callable[[str], SaidText]


class Line(SaidText):
    """A part of an answer; the last one has the fields after ``done``."""

    model: str
    created_at: str
    done: bool
    done_reason: NotRequired[str]
    total_duration: NotRequired[int]
    load_duration: NotRequired[int]
    prompt_eval_count: NotRequired[int]
    prompt_eval_duration: NotRequired[int]
    eval_count: NotRequired[int]
    eval_duration: NotRequired[int]


class OllamaOptions(Lenient):
    """The supported subset of Ollama's options, plus ``unknown`` and ``style``."""

    temperature: float = Field(1.0, ge=0, le=10, description="Randomness; 0 is argmax.")
    top_k: int | None = Field(
        None, description="Number of most likely characters to sample from; 0 or less is all."
    )
    top_p: float | None = Field(
        None, description="Nucleus sampling: smallest set with this total probability; 1 is all."
    )
    seed: int | None = Field(None, description="Random seed; -1 is a drawn one.")
    num_predict: int = Field(
        DEFAULT_LENGTH,
        le=MAX_LENGTH,
        description="Characters to write; 0 or less is as many as possible.",
    )
    stop: list[str] = Field([], description="Strings; the text ends before the first one found.")
    unknown: Unknown = "error"
    style: Style = None

    @field_validator("stop", mode="before")
    @classmethod
    def _stops(cls, stop: Any) -> Any:
        return listed_stops(stop)

    @property
    def drawn_from(self) -> int | None:
        return self.top_k if self.top_k and self.top_k > 0 else None

    @property
    def mass(self) -> float | None:
        if self.top_p is None or self.top_p >= 1:
            return None
        return max(self.top_p, LEAST_TOP_P)


class GenerateRequest(Lenient):
    """A prompt to continue."""

    model: str = Field(description="Model to use.")
    prompt: str = Field("", max_length=MAX_PRIME, description="Text to continue.")
    stream: bool = Field(True, description="Send the text line by line as it is written.")


class OllamaChat(Lenient):
    """A chat to continue."""

    model: str = Field(description="Model to use.")
    messages: Chat
    stream: bool = Field(True, description="Send the text line by line as it is written.")


def _query(model: str, prompt: str, options: OllamaOptions) -> SampleQuery:
    return sample_query(
        model=model,
        prime=prompt,
        temperature=warmth(options.temperature),
        # A text has no end of its own to wait for.
        length=options.num_predict if options.num_predict > 0 else MAX_LENGTH,
        # -1 asks for a drawn seed.
        seed=None if options.seed == -1 else options.seed,
        top_k=options.drawn_from,
        top_p=options.mass,
        stop=options.stop,
        unknown=options.unknown,
        style=options.style,
    )


class Shown(Lenient):
    """The model to show; older clients send ``name``."""

    model: str = Field("", description="Model to show.")
    name: str = Field("", description="The same, for older clients.")


def error(problem: Problem) -> Response:
    """A problem in Ollama's shape."""
    return JSONResponse(_error(problem), status(problem), problem.headers)


def _error(problem: Problem) -> dict[str, str]:
    return {"error": said(problem, _FIELDS)}


@router.get("/version", summary="Get the version (Ollama)")
async def version(request: Request) -> dict[str, str]:
    """The version of charloom."""
    return {"version": request.app.version}


@router.get("/tags", summary="List models (Ollama)", response_model=ForeignJson)
def list_models(services: ServicesDep) -> OllamaModelList:
    """Every model under each of its tags."""
    return {"models": [_model(entry) for entry in services.models.entries()]}


def _model(entry: Entry) -> OllamaModel:
    return {
        "name": entry.reference.full,
        "model": entry.reference.full,
        "modified_at": entry.card.get("created_at") or _NEVER,
        "size": entry.config.weight_bytes(),
        "digest": entry.digest,
        "details": _details(entry),
    }


def _details(entry: Entry) -> OllamaDetails:
    return {
        "parent_model": "",
        "format": "safetensors",
        "family": entry.config.kind,
        "families": [entry.config.kind],
        "parameter_size": _size(entry.config.parameters()),
        "quantization_level": "F32",
    }


def _size(parameters: int) -> str:
    for unit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if parameters >= unit:
            return f"{parameters / unit:.1f}{letter}"
    return str(parameters)


@router.get("/ps", summary="List models in memory (Ollama)", response_model=ForeignJson)
def list_running(services: ServicesDep) -> RunningModels:
    """The models whose weights are in memory."""
    loaded = {model.digest: model.bytes for model in services.loaded.models}
    return {
        "models": [
            {
                **_model(entry),
                "size": loaded[entry.digest],
                "size_vram": 0,
                "expires_at": _LATE,
            }
            for entry in services.models.entries()
            if entry.digest in loaded
        ]
    }


@router.post(
    "/show",
    summary="Show a model (Ollama)",
    response_model=ForeignJson,
    openapi_extra=json_body(Shown),
)
async def show_model(request: Request, services: ServicesDep) -> OllamaModelDetails:
    """What clients of Ollama ask of a model before they use it."""
    asked = await received(request, Shown)
    reference = Reference.from_client(asked.model or asked.name)
    entry = await run_in_threadpool(services.models.entry, reference)
    kind = entry.config.kind
    return {
        "license": "",
        "modelfile": f"FROM {entry.reference.full}\n",
        "parameters": "temperature 1",
        "template": "{{ .Prompt }}",
        "details": _details(entry),
        "model_info": {
            "general.architecture": kind,
            "general.parameter_count": entry.config.parameters(),
            f"{kind}.block_count": entry.config.num_layers,
            f"{kind}.embedding_length": entry.config.hidden_size,
            f"{kind}.vocab_size": entry.config.vocabulary_size,
        },
        "capabilities": ["completion"],
        "modified_at": entry.card.get("created_at") or _NEVER,
    }


@router.post(
    "/generate",
    summary="Generate text (Ollama)",
    openapi_extra=json_body(GenerateRequest),
)
async def generate(request: Request, services: ServicesDep) -> Response:
    """`options.num_predict` counts characters; the default is 1000. Other fields are ignored.

    Without a prompt the model is only loaded; an empty prompt begins a text.
    """
    began = time.perf_counter_ns()
    body = await read_json(request, MAX_BODY)
    fields, options = validated(GenerateRequest, body), _options(body.get("options"))
    if body.get("prompt") is None:
        return await _load(services, fields.model, _response)
    query = _query(fields.model, fields.prompt, options)
    opened = await _opened(request, services, query, "prompt")
    return await _written(request, Generation(opened, _response, began), stream=fields.stream)


@router.post(
    "/chat",
    summary="Complete a chat (Ollama)",
    openapi_extra=json_body(OllamaChat),
)
async def chat(request: Request, services: ServicesDep) -> Response:
    """The last message of the user is the text to continue; other messages are ignored.

    The options are those of `/api/generate`. Without messages the model is only loaded.
    """
    began = time.perf_counter_ns()
    body = await read_json(request, MAX_BODY)
    if not body.get("messages"):
        return await _load(services, validated(Shown, body).model, _message)
    fields, options = validated(OllamaChat, body), _options(body.get("options"))
    query = _query(fields.model, fields.messages, options)
    opened = await _opened(request, services, query, "messages")
    return await _written(request, Generation(opened, _message, began), stream=fields.stream)


async def _load(services: Services, model: str, saying: Saying) -> Response:
    reference = Reference.from_client(model)
    await services.loaded.get(reference)
    return JSONResponse(_last_line(reference.full, "load", saying("")))


async def _opened(request: Request, services: Services, query: SampleQuery, prompt: str) -> Opened:
    caller = writing_for(request, services)
    (opened,) = await open_all(services.texts, [query], caller, names=[prompt])
    return opened


async def _written(request: Request, generation: "Generation", *, stream: bool) -> Response:
    if not stream:
        return await generation.at_once(request)
    opened = generation.opened
    return ClosingResponse(generation.lines(), NDJSON, opened.headers, lambda: close([opened]))


def _options(given: Any) -> OllamaOptions:
    if not isinstance(given, dict | None):
        raise unprocessable("options", "must be a JSON object")
    return validated(OllamaOptions, given or {})


def _response(text: str) -> SaidText:
    return {"response": text}


def _message(text: str) -> SaidText:
    return {"message": {"role": "assistant", "content": text}}


def _line(model: str, said: SaidText) -> Line:
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return cast(Line, {"model": model, "created_at": now, **said, "done": False})


def _last_line(model: str, done_reason: str, said: SaidText) -> Line:
    return {**_line(model, said), "done": True, "done_reason": done_reason}


class Generation:
    """One text on its way, and its timing."""

    def __init__(self, opened: Opened, saying: Saying, began: int) -> None:
        self.opened = opened
        self._saying = saying
        self._model = opened.reference.full
        self._began = began
        self._loaded = time.perf_counter_ns()
        self._first: int | None = None

    async def lines(self) -> AsyncIterator[bytes]:
        async for text in self._texts():
            yield _json(_line(self._model, self._saying(text)))
        if problem := failure(self.opened):
            yield _json(_error(problem))
        else:
            yield _json(self._last())

    async def at_once(self, request: Request) -> Response:
        texts = []
        try:
            async for text in self._texts():
                texts.append(text)
                if await request.is_disconnected():
                    break
        finally:
            close([self.opened])
        if problem := failure(self.opened):
            return error(problem)
        return JSONResponse(self._last("".join(texts)), headers=self.opened.headers)

    async def _texts(self) -> AsyncIterator[str]:
        async for piece in self.opened.reader:
            self._first = self._first or time.perf_counter_ns()
            yield piece.text

    def _last(self, text: str = "") -> Line:
        now = time.perf_counter_ns()
        first = self._first or now
        reason = self.opened.reader.finish_reason or "stop"
        return {
            **_last_line(self._model, reason, self._saying(text)),
            "total_duration": now - self._began,
            "load_duration": self._loaded - self._began,
            "prompt_eval_count": len(self.opened.echoed),
            "prompt_eval_duration": first - self._loaded,
            "eval_count": self.opened.reader.stream.characters,
            "eval_duration": now - first,
        }


def _json(line: Mapping[str, object]) -> bytes:
    return one_line(line).encode() + b"\n"

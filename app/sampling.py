"""``/sample``: text from a model, streamed as it is made, as SSE with probabilities, or as JSON."""

import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response, StreamingResponse
from fastapi.sse import format_sse_event
from pydantic import Field, field_validator
from starlette.types import Receive, Scope, Send

from app.catalogue import NamedWriter
from app.problems import Problem, responses, unprocessable, validated
from app.schemas import MAX_SEED, Fields, ModelReference, SampleResult, Temperature, Unknown
from app.services import Services, ServicesDep
from app.states import MAX_TOKEN, NotAState, Saved
from app.streams import Reader, ServerFull
from app.uploads import json_body, known_query, read_json
from models.batch import Character, Piece, Stream, StreamState
from models.decoder import Precision
from models.sampling import SampleOptions
from models.vocab import UnknownCharacters, Vocabulary

router = APIRouter(tags=["sampling"])

DRAWN_SEEDS = 2**53
"""Drawn seeds stay below this, so that every JSON parser reads them exactly."""

MAX_PRIME = 16_384
MAX_BODY = MAX_TOKEN + (1 << 20)
MAX_STOPS, MAX_STOP = 4, 256
RETRY_SECONDS = "2"

TEXT, EVENTS, JSON = "text/plain", "text/event-stream", "application/json"


class SampleQuery(Fields):
    """What decides a text."""

    model: ModelReference | None = Field(
        None, description="may be left out while there is only one model"
    )
    prime: str = Field(
        "", max_length=MAX_PRIME, description="text to read first", examples=["ROMEO:"]
    )
    temperature: Temperature = Field(1.0, description="0 is argmax", examples=[0.8])
    length: int = Field(
        1000, ge=1, le=1_000_000, description="characters to write, the prime not among them"
    )
    seed: int | None = Field(
        None, ge=0, le=MAX_SEED, description="the same seed gives the same text"
    )
    top_k: int | None = Field(None, ge=1, le=1 << 20, description="choose among so many")
    top_p: float | None = Field(None, gt=0, le=1, description="choose among so much probability")
    stop: list[str] = Field([], max_length=MAX_STOPS, description="the text ends before the first")
    echo: bool = Field(False, description="puts the prime in front")
    unknown: Unknown = Field(
        "error", description="what to do with characters that the model does not know"
    )
    precision: Precision | None = Field(
        None, description="exact is fp32, fast is int8; the model's best if left out"
    )
    probabilities: int = Field(
        0, ge=0, le=20, description="alternatives to tell of each character; SSE and JSON only"
    )

    @field_validator("stop")
    @classmethod
    def _sound_stops(cls, stops: list[str]) -> list[str]:
        if not all(0 < len(stop) <= MAX_STOP for stop in stops):
            raise ValueError(f"must be strings of 1 to {MAX_STOP} characters")
        return stops


class SampleRequest(SampleQuery):
    """The same as JSON, and the way on from an earlier answer."""

    continue_from: str | None = Field(
        None, max_length=MAX_TOKEN, description="the `state` of an earlier answer"
    )


@dataclass(frozen=True, slots=True)
class Opened:
    """A text on its way, and what its answer says of it."""

    named: NamedWriter
    precision: Precision
    seed: int
    reader: Reader
    echoed: str
    began: float

    @property
    def headers(self) -> dict[str, str]:
        return sample_headers(self.named, self.seed, self.precision)


def sample_headers(named: NamedWriter, seed: int, precision: Precision) -> dict[str, str]:
    """What every text, and what is drawn like one, says of how it came about."""
    return {
        "X-Model": named.reference,
        "X-Model-Digest": named.model.digest,
        "X-Seed": str(seed),
        "X-Precision": precision,
        "Cache-Control": "no-cache, no-store, no-transform",
        "X-Accel-Buffering": "no",
    }


def draw_seed() -> int:
    return secrets.randbelow(DRAWN_SEEDS)


def derived_seed(seed: int, index: int) -> int:
    """The seed of the text number ``index`` of a request that makes several.

    The first one's is the request's own. The others are hashed: of requests with neighbouring
    seeds no two texts shall be the same.
    """
    if index == 0:
        return seed
    mixed = hashlib.blake2b(f"{seed} {index}".encode(), digest_size=8).digest()
    return int.from_bytes(mixed, "little") >> 1


_DOCUMENTATION: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The text, in chunks as it is made; each ends on a whole character.",
        "content": {
            TEXT: {
                "schema": {"type": "string"},
                "example": "ROMEO:\nWhat say you, sir? I have a soul of love.",
            },
            EVENTS: {
                "schema": {"type": "string"},
                "example": 'event: text\ndata: {"text":"What say"}\n\nevent: end\n'
                'data: {"finish_reason":"length","characters":8,"seed":7}\n\n',
            },
            JSON: {"schema": SampleResult.model_json_schema()},
        },
        "headers": {
            name: {"schema": {"type": "string"}, "description": text}
            for name, text in (
                ("X-Model", "the model that wrote"),
                ("X-Model-Digest", "its checkpoint"),
                ("X-Seed", "the seed, drawn if none was given"),
                ("X-Precision", "exact (fp32) or fast (int8)"),
            )
        },
    },
    **responses(404, 406, 409, 422, 503),
}


@router.get(
    "/sample",
    summary="Stream text from a model",
    response_class=StreamingResponse,
    responses=_DOCUMENTATION,
    dependencies=[Depends(known_query)],
)
async def sample(
    fields: Annotated[SampleQuery, Query()], request: Request, services: ServicesDep
) -> Response:
    """By `Accept`: plain text in chunks (the default), `text/event-stream`, or JSON at once."""
    return await _answer(request, services, SampleRequest.model_construct(**dict(fields)))


@router.post(
    "/sample",
    summary="Stream text from a model, asked in JSON",
    response_class=StreamingResponse,
    responses=_DOCUMENTATION,
    openapi_extra=json_body(SampleRequest),
    dependencies=[Depends(known_query)],
)
async def sample_json(request: Request, services: ServicesDep) -> Response:
    """The same fields as a JSON object; for long primes, and to go on from a `state`."""
    fields = validated(SampleRequest, await read_json(request, MAX_BODY))
    return await _answer(request, services, fields)


async def _answer(request: Request, services: Services, fields: SampleRequest) -> Response:
    kind = accepted(request, (TEXT, EVENTS, JSON))
    if fields.probabilities and kind == TEXT:
        raise unprocessable(
            "probabilities", f"don't fit into plain text: ask with Accept: {EVENTS} or {JSON}"
        )
    opened = await open_text(services, fields, keep_state=kind != TEXT)
    if kind == JSON:
        return await _at_once(request, services, opened)
    chunks, media_type = _plain(opened), f"{TEXT}; charset=utf-8"
    if kind == EVENTS:
        chunks, media_type = _events(services, opened), EVENTS
    return ClosingResponse(chunks, media_type, opened.headers, opened.reader.close)


def accepted(request: Request, offers: tuple[str, ...]) -> str:
    """The offer that a client's ``Accept`` likes best; the first where it has no preference.

    Raises:
        Problem: 406, it takes none of them.
    """
    header = request.headers.get("accept") or "*/*"
    best, liking = offers[0], 0.0
    for offer in offers:
        quality = _quality(header, offer)
        if quality > liking:
            best, liking = offer, quality
    if not liking:
        raise Problem(406, f"this address answers with {', '.join(offers)}")
    return best


def _quality(header: str, offer: str) -> float:
    """How much an ``Accept`` header likes a media type, from 0 to 1 (RFC 9110, 12.5.1)."""
    most_specific, quality = -1, 0.0
    for entry in header.split(","):
        kind, *parameters = (part.strip().lower() for part in entry.split(";"))
        ranges = {"*/*": 0, offer.partition("/")[0] + "/*": 1, offer: 2}
        if ranges.get(kind, -1) > most_specific:
            most_specific = ranges[kind]
            weights = [p.removeprefix("q=") for p in parameters if p.startswith("q=")]
            try:
                quality = float(weights[0]) if weights else 1.0
            except ValueError:
                quality = 0.0
    return quality


async def find_writer(services: Services, reference: str | None) -> NamedWriter:
    """The model asked for, loaded; the only one there is if none was named."""
    if reference is None:
        names = await run_in_threadpool(services.models.names)
        if len(names) != 1:
            there = f"there are {', '.join(names[:20])}" if names else "there is none yet"
            raise unprocessable("model", f"is missing: {there}. POST /train makes one")
        reference = names[0]
    return await services.catalogue.writer(reference)


async def open_text(
    services: Services, fields: SampleRequest, *, keep_state: bool = False
) -> Opened:
    """Starts a text; whoever opened it closes its reader.

    Raises:
        Problem: 409, 422 or 503, in words.
    """
    began = time.monotonic()
    named = await find_writer(services, fields.model)
    model = named.model
    saved = await _saved(services, named, fields.continue_from)
    precision = fields.precision or (saved.precision if saved else model.best_precision)
    if precision not in model.precisions:
        raise unprocessable("precision", "must be exact: this model has no fast one")
    prime, _ = known_text(model.vocabulary, "prime", fields.prime, fields.unknown)
    seed = fields.seed
    if seed is None:
        seed = saved.state.seed if saved else draw_seed()
    stream = Stream(
        model.vocabulary,
        model.vocabulary.encode(prime),
        SampleOptions(
            seed,
            fields.temperature,
            fields.length,
            fields.top_k or 0,
            fields.top_p or 0.0,
            tuple(fields.stop),
        ),
        probabilities=fields.probabilities,
        keep_state=keep_state,
        begin=saved.state if saved else None,
    )
    decoder = await run_in_threadpool(model.decoder, precision)
    try:
        reader = services.streams.open(decoder, stream)
    except ServerFull:
        raise server_full(services) from None
    return Opened(named, precision, seed, reader, prime if fields.echo else "", began)


def server_full(services: Services) -> Problem:
    return Problem(
        503,
        f"the server is writing {services.streams.limit} texts, as many as it takes: "
        "try again in a moment",
        headers={"Retry-After": RETRY_SECONDS},
    )


def known_text(vocabulary: Vocabulary, field: str, text: str, unknown: Unknown) -> tuple[str, int]:
    """A field's text as the model reads it, and how many characters were left out.

    Raises:
        Problem: 422 for unknown characters, unless they are to be skipped.
    """
    text = vocabulary.normalise(text)
    try:
        vocabulary.encode(text)
    except UnknownCharacters as error:
        if unknown == "error":
            raise unprocessable(field, f"{error}. Leave them out, or say unknown=skip") from None
        strange = set(error.characters)
        known = "".join(char for char in text if char not in strange)
        return known, len(text) - len(known)
    return text, 0


async def _saved(services: Services, named: NamedWriter, token: str | None) -> Saved | None:
    if token is None:
        return None
    try:
        if services.signer.digest(token) != named.model.digest:
            raise Problem(
                409, "continue_from is of another checkpoint: a state goes on where it came from"
            )
        return services.signer.read(token, named.model.state_shapes)
    except NotAState:
        raise unprocessable(
            "continue_from", "must be the state of an earlier answer of this server, unchanged"
        ) from None


class ClosingResponse(StreamingResponse):
    """What comes as it is made. ``close`` frees the rows however the response ends."""

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        media_type: str,
        headers: Mapping[str, str],
        close: Callable[[], None],
    ) -> None:
        self.close = close
        super().__init__(chunks, headers=headers, media_type=media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Not in the generator: one that never began to run has no finally either.
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.close()


async def _plain(opened: Opened) -> AsyncIterator[bytes]:
    if opened.echoed:
        yield opened.echoed.encode()
    async for piece in opened.reader:
        yield piece.text.encode()


async def _events(services: Services, opened: Opened) -> AsyncIterator[bytes]:
    if opened.echoed:
        yield event("text", {"text": opened.echoed})
    async for piece in opened.reader:
        yield event("text", _piece(opened, piece))
    yield event("end", await run_in_threadpool(_ending, services, opened))


def event(name: str, data: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return format_sse_event(event=name, data_str=json.dumps(data, ensure_ascii=False))


def _piece(opened: Opened, piece: Piece) -> dict[str, Any]:
    said: dict[str, Any] = {"text": piece.text}
    if opened.reader.stream.probabilities:
        said["characters"] = [_character(character) for character in piece.characters]
    return said


def _character(character: Character) -> dict[str, Any]:
    return {
        "char": character.char,
        "probability": character.probability,
        "top": character.top,
    }


def _ending(services: Services, opened: Opened) -> dict[str, Any]:
    stream, model = opened.reader.stream, opened.named.model
    state = None
    if isinstance(stream.end_state, StreamState):
        state = services.signer.write(Saved(model.digest, opened.precision, stream.end_state))
    return {
        "finish_reason": opened.reader.finish_reason,
        "characters": stream.characters,
        "seed": opened.seed,
        "digest": model.digest,
        "seconds": round(time.monotonic() - opened.began, 6),
        "state": state,
    }


async def _at_once(request: Request, services: Services, opened: Opened) -> Response:
    """The whole answer. A client that leaves meanwhile frees its row too."""
    text, characters = opened.echoed, []
    try:
        async for piece in opened.reader:
            text += piece.text
            characters += [_character(character) for character in piece.characters]
            if await request.is_disconnected():
                break
    finally:
        opened.reader.close()
    answer = {
        "text": text,
        "model": opened.named.reference,
        "precision": opened.precision,
        **await run_in_threadpool(_ending, services, opened),
    }
    if opened.reader.stream.probabilities:
        answer["probabilities"] = characters
    return JSONResponse(answer, headers=opened.headers)

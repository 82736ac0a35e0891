"""``/sample``: text from a model, streamed as it is made, as SSE with probabilities, or as JSON."""

import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response, StreamingResponse

from app.catalogue import NamedWriter
from app.http.bodies import json_body, read_json
from app.http.negotiation import EVENTS, JSON, TEXT, accepted
from app.http.problems import Problem, responses, unprocessable, validated
from app.http.queries import known_query
from app.http.streaming import ClosingResponse, event
from app.schemas.common import Unknown
from app.schemas.texts import MAX_BODY, SampleQuery, SampleRequest, SampleResult
from app.services import Services, ServicesDep
from app.states import NotAState, Saved
from app.streams import Reader, ServerFull
from models.batch import Character, Piece, Stream, StreamState
from models.decoder import Precision
from models.sampling import SampleOptions
from models.vocab import UnknownCharacters, Vocabulary

router = APIRouter(tags=["sampling"])

DRAWN_SEEDS = 2**53
"""Drawn seeds stay below this, so that every JSON parser reads them exactly."""

RETRY_SECONDS = "2"


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

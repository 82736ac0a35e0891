"""``/sample``: text from a model, as a stream of plain text or events, or as JSON.

Knows no other endpoint.
"""

import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response, StreamingResponse

from app.engine.callers import caller_of
from app.http.bodies import json_body, read_json
from app.http.negotiation import EVENTS, JSON, TEXT, accepted
from app.http.problems import responses, unprocessable
from app.http.queries import known_query
from app.http.streaming import ClosingResponse, event
from app.http.validation import validated
from app.routes.services import Services, ServicesDep
from app.routes.texts import Opened, Texts
from app.schemas.texts import (
    MAX_BODY,
    SampleQuery,
    SampleRequest,
    SampleResult,
    TextAnswer,
    TextCharacter,
    TextEnd,
    TextEvent,
)
from models.decoding.batch import Character, Piece

router = APIRouter(tags=["sampling"])


_DOCUMENTATION: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The text, in chunks as it is written; each ends on a whole character.",
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
                ("X-Model", "The model."),
                ("X-Model-Digest", "Digest of its checkpoint."),
                ("X-Seed", "The seed, drawn if none was given."),
                ("X-Precision", "exact (fp32) or fast (int8)."),
            )
        },
    },
    **responses(404, 406, 409, 422, 503),
}


@router.get(
    "/sample",
    summary="Sample text from a model",
    response_class=StreamingResponse,
    responses=_DOCUMENTATION,
    dependencies=[Depends(known_query)],
)
async def sample(
    fields: Annotated[SampleQuery, Query()], request: Request, services: ServicesDep
) -> Response:
    """`Accept` chooses plain text in chunks (default), `text/event-stream` or JSON in one piece."""
    return await _answer(request, services, fields)


@router.post(
    "/sample",
    summary="Sample text, with the fields as JSON",
    response_class=StreamingResponse,
    responses=_DOCUMENTATION,
    openapi_extra=json_body(SampleRequest),
    dependencies=[Depends(known_query)],
)
async def sample_json(request: Request, services: ServicesDep) -> Response:
    """For long primes, and to continue from the `state` of an earlier answer."""
    fields = validated(SampleRequest, await read_json(request, MAX_BODY))
    return await _answer(request, services, fields, fields.continue_from)


async def _answer(
    request: Request,
    services: Services,
    fields: SampleQuery,
    continue_from: str | None = None,
) -> Response:
    kind = accepted(request, (TEXT, EVENTS, JSON))
    if fields.probabilities and kind == TEXT:
        raise unprocessable(
            "probabilities", f"do not fit into plain text: send Accept: {EVENTS} or {JSON}"
        )
    opened = await services.texts.open(
        fields, continue_from, caller=caller_of(request.scope), keep_state=kind != TEXT
    )
    if kind == JSON:
        return await _at_once(request, services.texts, opened)
    chunks, media_type = _plain(opened), f"{TEXT}; charset=utf-8"
    if kind == EVENTS:
        chunks, media_type = _events(services.texts, opened), EVENTS
    return ClosingResponse(chunks, media_type, opened.headers, opened.reader.close)


async def _plain(opened: Opened) -> AsyncIterator[bytes]:
    if opened.echoed:
        yield opened.echoed.encode()
    async for piece in opened.reader:
        yield piece.text.encode()


async def _events(texts: Texts, opened: Opened) -> AsyncIterator[bytes]:
    if opened.echoed:
        yield event("text", {"text": opened.echoed})
    async for piece in opened.reader:
        yield event("text", _event(opened, piece))
    yield event("end", await run_in_threadpool(_ending, texts, opened))


def _event(opened: Opened, piece: Piece) -> TextEvent:
    said: TextEvent = {"text": piece.text}
    if opened.reader.stream.probabilities:
        said["characters"] = [_character(character) for character in piece.characters]
    return said


def _character(character: Character) -> TextCharacter:
    return {
        "char": character.char,
        "probability": character.probability,
        "top": character.top,
    }


def _ending(texts: Texts, opened: Opened) -> TextEnd:
    return {
        "finish_reason": opened.reader.finish_reason,
        "characters": opened.reader.stream.characters,
        "seed": opened.seed,
        "digest": opened.model.digest,
        "seconds": round(time.monotonic() - opened.began, 6),
        "state": texts.state(opened),
    }


async def _at_once(request: Request, texts: Texts, opened: Opened) -> Response:
    """The answer in one piece. The disconnect of a client frees its row too."""
    text = opened.echoed
    characters: list[TextCharacter] = []
    try:
        async for piece in opened.reader:
            text += piece.text
            characters += [_character(character) for character in piece.characters]
            if await request.is_disconnected():
                break
    finally:
        opened.reader.close()
    ending = await run_in_threadpool(_ending, texts, opened)
    answer: TextAnswer = {
        "text": text,
        "model": str(opened.reference),
        "precision": opened.precision,
        **ending,
    }
    probabilities = {"probabilities": characters} if opened.reader.stream.probabilities else {}
    return JSONResponse({**answer, **probabilities}, headers=opened.headers)

"""``/sample``: text from a model, as a stream of plain text or events, or as JSON.

Knows no other endpoint.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse

from app.http.bodies import json_body, read_json, schema_of
from app.http.bodiless import headers_only, wants_no_body
from app.http.negotiation import EVENTS, JSON, NDJSON, TEXT, accepted
from app.http.problems import responses, unprocessable
from app.http.queries import known_query
from app.http.streaming import BrokenOff, ClosingResponse, event, parts_response
from app.http.validation import validated
from app.routes import primes
from app.routes.services import Services, ServicesDep, writing_for
from app.routes.texts import MAX_LISTED, Opened, Texts, listed
from app.routes.whole import Whole, character, ending
from app.schemas.texts import (
    MAX_BODY,
    SampleQuery,
    SampleRequest,
    SampleResult,
    TextEvent,
)
from models.decoding.characters import Piece

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
            JSON: {"schema": schema_of(SampleResult)},
            NDJSON: {"schema": {"type": "string"}},
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
    """For long primes, and to continue from the `state` of an earlier answer.

    With `primes` the answer is `application/x-ndjson`: a line like the JSON answer for each of
    them, with its `index`, as the texts end.
    """
    fields = validated(SampleRequest, await read_json(request, MAX_BODY))
    if fields.primes is not None:
        return await primes.lines(request, services, fields)
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
    if kind == JSON and fields.length * (1 + fields.probabilities) > MAX_LISTED:
        most = MAX_LISTED // fields.length - 1
        raise unprocessable(
            "probabilities",
            f"must be at most {most} for a JSON answer of this length; Accept: {EVENTS} has no "
            "such limit",
        )
    media_type = f"{TEXT}; charset=utf-8" if kind == TEXT else kind
    if wants_no_body(request):
        return headers_only(await services.texts.headers(fields), media_type)
    opened = await services.texts.open(
        fields, continue_from, caller=writing_for(request, services), keep_state=kind != TEXT
    )
    if kind == JSON:
        return await _at_once(request, services.texts, opened)
    chunks = _events(services.texts, opened) if kind == EVENTS else _plain(opened)
    return ClosingResponse(chunks, media_type, opened.headers, opened.reader.close)


async def _plain(opened: Opened) -> AsyncIterator[bytes]:
    if opened.echoed:
        yield opened.echoed.encode()
    async for piece in opened.reader:
        yield piece.text.encode()
    if opened.broke_off:
        raise BrokenOff


async def _events(texts: Texts, opened: Opened) -> AsyncIterator[bytes]:
    if opened.echoed:
        yield event("text", {"text": opened.echoed})
    async for piece in opened.reader:
        for said in _said(opened, piece):
            yield event("text", said)
    yield event("end", await run_in_threadpool(ending, texts, opened))


def _said(opened: Opened, piece: Piece) -> Iterator[TextEvent]:
    if not opened.reader.stream.probabilities:
        yield {"text": piece.text}
        return
    for part in listed(piece):
        yield {"text": part.text, "characters": [character(one) for one in part.characters]}


async def _at_once(request: Request, texts: Texts, opened: Opened) -> Response:
    """The answer in one piece. The disconnect of a client frees its row too."""
    whole = Whole(texts, opened)
    try:
        async for piece in opened.reader:
            await whole.add(piece)
            if await request.is_disconnected():
                break
    finally:
        opened.reader.close()
    return parts_response(await whole.to_json(), opened.headers)

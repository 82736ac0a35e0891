"""Looks inside models: predictions and cells on a text, cells that track something, scores.

Knows no other endpoint.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from numpy.typing import NDArray

from app.engine.background import Background, OutOfTime, Result, ShouldStop
from app.engine.callers import caller_of
from app.engine.loaded import LoadedNetwork
from app.http.bodies import json_body, read_json
from app.http.problems import RETRY_SECONDS, responses, shutting_down, unprocessable
from app.http.queries import known_query
from app.http.validation import validated
from app.routes.services import ServicesDep
from app.routes.texts import known_text, mix_of
from app.schemas.common import PathModel
from app.schemas.inside import (
    CellRanking,
    Inspection,
    InspectionHead,
    InspectRequest,
    Score,
    ScoreRequest,
    Scores,
)
from models.checkpoints.reference import Reference
from models.config import NetworkConfig
from models.inside.reader import Stopped, Trace, trace
from models.inside.results import read_cells
from models.styles import Mix
from models.text.vocab import Vocabulary
from models.units import bits

MAX_BODY = 1 << 19
MAX_ACTIVATIONS = 1_000_000
"""Most characters times cells in one answer: about 10 MB."""

MAX_WORK = 10**12
"""Most characters (of a bytes model: bytes) times parameters that one request may have read: about
a minute and a half of two cores. A network of 50 million parameters reads the longest text."""

READ_SECONDS = 120.0
"""After which the reading of a request is given up, not counting the time that it waits."""

UNKNOWN_BITS = math.log2(0x110000)
"""Cost of a character that a model does not know: as if all code points were equally likely."""

_CHUNK = 250
"""Characters that are encoded at once, while no other thread runs Python."""

router = APIRouter(tags=["inside"], dependencies=[Depends(known_query)])


@router.post(
    "/models/{model}/inspect",
    summary="Inspect a text with a model",
    response_model=Inspection,
    responses=responses(404, 413, 415, 422, 503),
    openapi_extra=json_body(InspectRequest),
)
async def inspect(model: PathModel, request: Request, services: ServicesDep) -> Response:
    """The probability of each character, the guesses for the next one, and activations of cells."""
    fields = validated(InspectRequest, await read_json(request, MAX_BODY))
    reference = Reference.from_client(model)
    network = await services.loaded.network(reference)
    config = network.checkpoint.config
    _check_cells(fields, config)
    _check_work(_work(network, fields.text), fields.text)
    mix = mix_of(fields.style, network.styles)

    def work(stopped: ShouldStop) -> bytes:
        known = known_text(network.vocabulary, "text", fields.text, fields.unknown)
        if not known.text:
            raise unprocessable("text", "has no character that the model knows")
        traced = _trace(network, known.text, stopped, mix, fields.top, fields.layer, fields.cells)
        head = InspectionHead(
            model=str(reference),
            digest=network.digest,
            # A negative layer counts from the last.
            layer=fields.layer % config.num_layers,
            cells=fields.cells,
            unknown=known.left_out,
            loss=traced.loss,
            bpc=bits(traced.loss),
        )
        return b"".join(_inspection(head, traced, network.vocabulary))

    found = await _Reading(services.background, request).read(work)
    return Response(found, media_type="application/json")


@router.get(
    "/models/{model}/cells",
    summary="Find what a model's cells track",
    response_model=CellRanking,
    responses={
        202: {
            "description": "The search is running: try again.",
            "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
            "content": {
                "application/json": {
                    "schema": {"$ref": f"#/components/schemas/{CellRanking.__name__}"},
                    "example": {"hypotheses": None, "share": None},
                }
            },
        },
        **responses(404, 422, 503),
    },
)
async def cells(model: PathModel, request: Request, services: ServicesDep) -> Response:
    """Cells found on one half of the validation text, and scored on the other."""
    reference = Reference.from_client(model)
    name, digest = reference.name, await run_in_threadpool(services.models.resolve, reference)
    found = await run_in_threadpool(read_cells, services.models, name, digest)
    if found is None:
        with _problems():
            # None too if it was deleted meanwhile: the next request is told.
            found = services.background.search(caller_of(request.scope).name, name, digest)
    if found is None:
        nothing = {"hypotheses": None, "share": None}
        return JSONResponse(nothing, 202, headers={"Retry-After": RETRY_SECONDS})
    return JSONResponse(found)


@router.post(
    "/score",
    summary="Compare models on a text",
    response_model=Scores,
    responses=responses(404, 413, 415, 422, 503),
    openapi_extra=json_body(ScoreRequest),
)
async def score(request: Request, services: ServicesDep) -> Scores:
    """The bits per character of a text under each model: the best one may have written it."""
    fields = validated(ScoreRequest, await read_json(request, MAX_BODY))
    references = [Reference.from_client(model) for model in fields.models]
    networks = (await services.loaded.network(reference) for reference in references)
    _check_work(sum([_work(network, fields.text) async for network in networks]), fields.text)
    scores: list[Score] = []
    costs: list[float] = []
    reading = _Reading(services.background, request)
    for reference in references:
        # Loaded again if memory is short: the models need not fit into it together.
        network = await services.loaded.network(reference)
        one, total = await reading.read(partial(_score, reference, network, fields))
        scores.append(one)
        costs.append(total)
    known = [index for index, one in enumerate(scores) if one.loss is not None]
    if not known:
        return Scores(scores=scores, best=None)
    best = min(known, key=costs.__getitem__)
    return Scores(scores=scores, best=scores[best].model)


def _score(
    reference: Reference, network: LoadedNetwork, fields: ScoreRequest, stopped: ShouldStop
) -> tuple[Score, float]:
    """A model's score, and its bits for the whole text."""
    known = known_text(network.vocabulary, "text", fields.text, fields.unknown)
    score = Score(model=str(reference), loss=None, bpc=None, unknown=known.left_out)
    cost = known.left_out * UNKNOWN_BITS
    if known.text:
        mix = mix_of(fields.style, network.styles)
        score.loss = _trace(network, known.text, stopped, mix).loss
        score.bpc = bits(score.loss)
        cost += score.bpc * len(known.text)
    return score, cost


def _check_cells(fields: InspectRequest, config: NetworkConfig) -> None:
    layers, hidden = config.num_layers, config.hidden_size
    if not -layers <= fields.layer < layers:
        raise unprocessable("layer", f"must be a whole number from {-layers} to {layers - 1}")
    if any(not 0 <= cell < hidden for cell in fields.cells):
        raise unprocessable("cells", f"must be whole numbers from 0 to {hidden - 1}")
    if len(fields.cells) * len(fields.text) > MAX_ACTIVATIONS:
        most = MAX_ACTIVATIONS // len(fields.text)
        raise unprocessable("cells", f"must be at most {most} for a text of this length")


def _work(network: LoadedNetwork, text: str) -> int:
    """The characters times parameters of a reading; in a bytes model the bytes."""
    is_bytes = network.vocabulary.tokens == "bytes"
    steps = len(text.encode()) if is_bytes else len(text)
    return steps * network.checkpoint.config.parameters()


def _check_work(work: int, text: str) -> None:
    if work > MAX_WORK:
        most = len(text) * MAX_WORK // work
        raise unprocessable(
            "text", f"must have at most {most:,} characters for networks this large"
        )


class _Reading:
    """What one request has read in the background, for so many seconds in all."""

    def __init__(self, background: Background, request: Request) -> None:
        self._background = background
        self._request = request
        self._left = READ_SECONDS

    async def read(self, work: Callable[[ShouldStop], Result]) -> Result:
        """What the work returns.

        Raises:
            Problem: 503 for stopped work, 422 for an overflow.
            OutOfTime: it took too long.
        """
        with _problems():
            return await self._background.read(self._request, partial(self._in_time, work))

    def _in_time(self, work: Callable[[ShouldStop], Result], stopped: ShouldStop) -> Result:
        begin = time.monotonic()
        end = begin + self._left
        try:
            return work(lambda: stopped() or time.monotonic() > end)
        except Stopped:
            if stopped():
                raise
            raise OutOfTime(READ_SECONDS) from None
        finally:
            self._left -= time.monotonic() - begin


@contextmanager
def _problems() -> Iterator[None]:
    """Raises Problem: 503 for stopped work, 422 for an overflow."""
    try:
        yield
    except Stopped:
        raise shutting_down() from None
    except FloatingPointError:
        raise unprocessable(
            "model", "overflows: its numbers are not finite", "not_finite"
        ) from None


def _trace(
    network: LoadedNetwork,
    text: str,
    stopped: ShouldStop,
    mix: Mix | None,
    top: int = 0,
    layer: int = -1,
    cells: Sequence[int] = (),
) -> Trace:
    return trace(
        network.checkpoint,
        text,
        top=top,
        layer=layer,
        cells=cells,
        threads=os.cpu_count() or 1,
        mix=mix,
        stopped=stopped,
    )


def _inspection(head: InspectionHead, traced: Trace, vocabulary: Vocabulary) -> Iterator[bytes]:
    """Yields the answer as JSON, in pieces."""
    yield head.model_dump_json()[:-1].encode() + b', "characters": ['
    names = {id_: vocabulary.name(id_) for id_ in np.unique(traced.top_ids).tolist()}
    probabilities = np.exp(-traced.losses.astype(np.float64))
    for begin in range(0, len(traced.text), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        rows = zip(
            traced.text[part],
            _rounded(probabilities[part]),
            _rounded(traced.losses[part]),
            traced.top_ids[part].tolist(),
            _rounded(traced.top[part]),
            _rounded(traced.activations[part]),
            strict=True,
        )
        characters = [
            {
                "char": char,
                "probability": probability,
                "loss": loss,
                "top": [(names[id_], p) for id_, p in zip(ids, top, strict=True)],
                "activations": activations,
            }
            for char, probability, loss, ids, top, activations in rows
        ]
        text = json.dumps(characters, ensure_ascii=False, allow_nan=False)
        yield (", " if begin else "").encode() + text[1:-1].encode()
    yield b"]}"


def _rounded(values: NDArray[Any]) -> list[Any]:
    """Rounds to six significant digits, about the precision of fp32, in half the JSON."""
    exact = values.astype(np.float64)
    size = np.floor(np.log10(np.maximum(np.abs(exact), 1e-300)))
    scale = 10.0 ** np.clip(5 - size, -300, 300)
    rounded: list[Any] = (np.round(exact * scale) / scale).tolist()
    return rounded

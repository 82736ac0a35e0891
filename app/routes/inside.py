"""Looks inside models: predictions and cells on a text, cells that track something, scores.

Knows no other endpoint.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
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
from app.routes.texts import draw_seed, known_text, mix_of
from app.schemas.common import PathCell, PathLayer, PathModel
from app.schemas.inside import (
    AblatedText,
    AblateRequest,
    CellPortrait,
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
from models.decoding.sampling import SampleOptions
from models.inside.ablation import ablate
from models.inside.cells import Findings
from models.inside.hypotheses import HYPOTHESES, Hypothesis
from models.inside.portrait import portrait
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
    """The probability of each character, the guesses for the next one, and activations of cells.

    With ``seams``, parts of the text are read on their own, from the zero state.
    """
    fields = validated(InspectRequest, await read_json(request, MAX_BODY))
    reference = Reference.from_client(model)
    network = await services.loaded.network(reference)
    config = network.checkpoint.config
    _check_cells(fields.layer, fields.cells, config)
    _check_activations(fields)
    _check_work(_work(network, fields.text), fields.text)
    mix = mix_of(fields.style, network.styles)
    hypothesis = _hypothesis(fields.hypothesis)
    parts = _parts(fields.text, fields.seams)

    def work(stopped: ShouldStop) -> bytes:
        read = [known_text(network.vocabulary, "text", part, fields.unknown) for part in parts]
        texts = [known.text for known in read if known.text]
        if not texts:
            raise unprocessable("text", "has no character that the model knows")
        traced = _trace(network, texts, stopped, mix, fields.top, fields.layer, fields.cells)
        truth = _truth(hypothesis, texts)
        head = InspectionHead(
            model=str(reference),
            digest=network.digest,
            # A negative layer counts from the last.
            layer=fields.layer % config.num_layers,
            cells=fields.cells,
            unknown=sum(known.left_out for known in read),
            seams=list(traced.seams),
            loss=traced.loss,
            bpc=bits(traced.loss),
        )
        return b"".join(_inspection(head, traced, truth, network.vocabulary, fields.digits))

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
                    "example": {"hypotheses": None, "share": None, "passages": None},
                }
            },
        },
        **responses(404, 422, 503),
    },
)
async def cells(model: PathModel, request: Request, services: ServicesDep) -> Response:
    """Cells found on one half of the validation text, and scored on the other."""
    reference = Reference.from_client(model)
    digest = await run_in_threadpool(services.models.resolve, reference)
    found = await _findings(reference.name, digest, request, services)
    if found is None:
        return _later({"hypotheses": None, "share": None, "passages": None})
    return JSONResponse(found)


async def _findings(
    name: str, digest: str, request: Request, services: ServicesDep
) -> Findings | None:
    """What is known of a model's cells; None while they are being searched, which this begins."""
    found = await run_in_threadpool(read_cells, services.models, name, digest)
    if found is None:
        with _problems():
            # None too if it was deleted meanwhile: the next request is told.
            found = services.background.search(caller_of(request.scope).name, name, digest)
    return found


def _later(nothing: Mapping[str, object]) -> Response:
    return JSONResponse(nothing, 202, headers={"Retry-After": RETRY_SECONDS})


@router.get(
    "/models/{model}/cells/{layer}/{cell}",
    summary="Show a cell of a model",
    response_model=CellPortrait,
    responses={
        202: {
            "description": "The cells are being searched: try again.",
            "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/CellPortrait"}}
            },
        },
        **responses(404, 422, 503),
    },
)
async def cell_portrait(
    model: PathModel, layer: PathLayer, cell: PathCell, request: Request, services: ServicesDep
) -> Response:
    """What a cell tracks, a histogram of its activations, and where they are extreme."""
    reference = Reference.from_client(model)
    network = await services.loaded.network(reference)
    config, digest = network.checkpoint.config, network.digest
    _check_cell(layer, cell, config)
    about = {"model": str(reference), "digest": digest, "layer": layer, "cell": cell}
    findings = await _findings(reference.name, digest, request, services)
    if findings is None:
        nothing = dict.fromkeys(("tracks", "counts", "excited", "quiet"))
        return _later(about | nothing)

    def work(stopped: ShouldStop) -> bytes:
        found = about | portrait(network.checkpoint, findings, layer, cell, stopped)
        return json.dumps(found, ensure_ascii=False, allow_nan=False).encode()

    found = await _Reading(services.background, request).read(work)
    return Response(found, media_type="application/json")


@router.post(
    "/models/{model}/ablate",
    summary="Generate a text without some cells",
    response_model=AblatedText,
    responses=responses(404, 413, 415, 422, 503),
    openapi_extra=json_body(AblateRequest),
)
async def ablated(model: PathModel, request: Request, services: ServicesDep) -> AblatedText:
    """The same text twice: by the whole network, and with cells switched off."""
    fields = validated(AblateRequest, await read_json(request, MAX_BODY))
    reference = Reference.from_client(model)
    network = await services.loaded.network(reference)
    config = network.checkpoint.config
    _check_cells(fields.layer, fields.cells, config)
    prime = known_text(network.vocabulary, "prime", fields.prime, fields.unknown)
    work = 2 * (len(prime.ids) + fields.length) * config.parameters()
    if work > MAX_WORK:
        most = MAX_WORK // (2 * config.parameters())
        raise unprocessable(
            "length", f"must be at most {most:,} with the prime for networks this large"
        )
    seed = draw_seed() if fields.seed is None else fields.seed
    style = mix_of(fields.style, network.styles) or ()
    options = SampleOptions(seed, tuple(fields.temperature), fields.length, style=style)
    layer = fields.layer % config.num_layers
    written = await _Reading(services.background, request).read(
        partial(ablate, network.checkpoint, layer, fields.cells, prime.ids, options)
    )
    return AblatedText(
        model=str(reference),
        digest=network.digest,
        layer=layer,
        cells=fields.cells,
        seed=seed,
        unknown=prime.left_out,
        whole=written.whole,
        ablated=written.ablated,
    )


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


def _check_cells(layer: int, cells: Sequence[int], config: NetworkConfig) -> None:
    layers, hidden = config.num_layers, config.hidden_size
    if not -layers <= layer < layers:
        raise unprocessable("layer", f"must be a whole number from {-layers} to {layers - 1}")
    if any(not 0 <= cell < hidden for cell in cells):
        raise unprocessable("cells", f"must be whole numbers from 0 to {hidden - 1}")


def _check_cell(layer: int, cell: int, config: NetworkConfig) -> None:
    for name, number, count in (
        ("layer", layer, config.num_layers),
        ("cell", cell, config.hidden_size),
    ):
        if not 0 <= number < count:
            raise unprocessable(name, f"must be a whole number from 0 to {count - 1}")


def _check_activations(fields: InspectRequest) -> None:
    if len(fields.cells) * len(fields.text) > MAX_ACTIVATIONS:
        most = MAX_ACTIVATIONS // len(fields.text)
        raise unprocessable("cells", f"must be at most {most} for a text of this length")


def _parts(text: str, seams: Sequence[int]) -> list[str]:
    """The parts of a text between its seams."""
    bounds = [0, *seams, len(text)]
    if any(begin >= end for begin, end in pairwise(bounds)) and seams:
        raise unprocessable("seams", "must be characters within the text, in increasing order")
    return [text[begin:end] for begin, end in pairwise(bounds)]


def _hypothesis(name: str | None) -> Hypothesis | None:
    if name is None:
        return None
    found = next((one for one in HYPOTHESES if one.name == name), None)
    if found is None:
        known = ", ".join(one.name for one in HYPOTHESES)
        raise unprocessable("hypothesis", f"must be one of {known}")
    return found


def _truth(hypothesis: Hypothesis | None, texts: Sequence[str]) -> list[float | None] | None:
    """What a hypothesis says of each character of texts, each by itself."""
    if hypothesis is None:
        return None
    values = np.concatenate([hypothesis.find(text) for text in texts]).tolist()
    return [None if math.isnan(value) else value for value in values]


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
    text: str | Sequence[str],
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


def _inspection(
    head: InspectionHead,
    traced: Trace,
    truth: Sequence[float | None] | None,
    vocabulary: Vocabulary,
    digits: int,
) -> Iterator[bytes]:
    """Yields the answer as JSON, in pieces."""
    yield head.model_dump_json()[:-1].encode() + b', "characters": ['
    names = {id_: vocabulary.name(id_) for id_ in np.unique(traced.top_ids).tolist()}
    probabilities = np.exp(-traced.losses.astype(np.float64))
    for begin in range(0, len(traced.text), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        rows = zip(
            traced.text[part],
            _rounded(probabilities[part], digits),
            _rounded(traced.losses[part], digits),
            traced.top_ids[part].tolist(),
            _rounded(traced.top[part], digits),
            _rounded(traced.activations[part], digits),
            strict=True,
        )
        characters: list[dict[str, Any]] = [
            {
                "char": char,
                "probability": probability,
                "loss": loss,
                "top": [(names[id_], p) for id_, p in zip(ids, top, strict=True)],
                "activations": activations,
            }
            for char, probability, loss, ids, top, activations in rows
        ]
        for character, value in zip(characters, truth[part] if truth else (), strict=False):
            character["truth"] = value
        text = json.dumps(characters, ensure_ascii=False, allow_nan=False)
        yield (", " if begin else "").encode() + text[1:-1].encode()
    yield b"]}"


def _rounded(values: NDArray[Any], digits: int) -> list[Any]:
    """Rounds to significant digits; six are about the precision of fp32, in half the JSON."""
    exact = values.astype(np.float64)
    size = np.floor(np.log10(np.maximum(np.abs(exact), 1e-300)))
    scale = 10.0 ** np.clip(digits - 1 - size, -300, 300)
    rounded: list[Any] = (np.round(exact * scale) / scale).tolist()
    return rounded

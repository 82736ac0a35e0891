"""Published models: listed, shown, imported and deleted.

Weights are read only for an import. Knows no training and no sampling.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import IO, Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from app.engine.callers import Caller, caller_of
from app.http.allowances import tell
from app.http.bodies import json_body, read_json, receive_file
from app.http.problems import responses, unprocessable
from app.http.queries import known_query
from app.http.validation import validated
from app.routes.services import Services, ServicesDep
from app.schemas.common import BaselineView, PathModel, page
from app.schemas.models import (
    DamagedModel,
    HistoryQuery,
    LossPoint,
    ModelChange,
    ModelHistory,
    ModelList,
    ModelQuery,
    ModelView,
    PrecisionView,
    SamplePoint,
)
from models.checkpoints.archive import unzipped
from models.checkpoints.card import CorpusFacts
from models.checkpoints.current import read_current
from models.checkpoints.history import HistoryPoint, thinned
from models.checkpoints.reference import Reference, UnknownModel
from models.checkpoints.registry import Entry, check_publishable
from models.files import CheckpointError, unnamed_file
from models.units import bits

_FACTS = CorpusFacts.__annotations__

router = APIRouter(tags=["models"], dependencies=[Depends(known_query)])


@router.get("/models", summary="List models")
def list_models(query: Annotated[ModelQuery, Query()], services: ServicesDep) -> ModelList:
    """Lists every model under each of its tags, by name, `latest` first.

    Those that cannot be read are in `damaged`: delete them.
    """
    start = Reference.parse(query.cursor).place if query.cursor else None
    found: list[ModelView] = []
    damaged: list[DamagedModel] = []
    for reference in services.models.references():
        if start and reference.place <= start:
            continue
        try:
            found.append(view(services.models.entry(reference)))
        except UnknownModel:
            continue
        except CheckpointError as error:
            damaged.append(_damaged(reference, error))
        if len(found) > query.limit:
            # Those in front of the next page's first model are that page's.
            damaged = [one for one in damaged if _place(one) < _place(found[-2])]
            break
    models, cursor = page(found, query.limit, lambda view: view.model)
    return ModelList(models=models, damaged=damaged, next=cursor)


def _damaged(reference: Reference, error: CheckpointError) -> DamagedModel:
    name, tag = reference.name, reference.tag
    return DamagedModel(model=str(reference), name=name, tag=tag, detail=str(error))


def _place(model: ModelView | DamagedModel) -> tuple[str, bool, str]:
    return Reference(model.name, model.tag).place


@router.get("/models/{model}", summary="Get a model", responses=responses(404))
def show_model(model: PathModel, services: ServicesDep) -> ModelView:
    """Its sizes, losses and origin. A name stands for its tag `latest`."""
    reference, models = Reference.from_client(model), services.models
    return view(read_current(models, reference, lambda _: models.entry(reference)))


@router.get(
    "/models/{model}/history",
    summary="Get a model's training history",
    response_model=ModelHistory,
    responses=responses(404),
)
def show_history(
    model: PathModel, query: Annotated[HistoryQuery, Query()], services: ServicesDep
) -> Response:
    """Losses and samples over the steps of training, oldest first: up to 10,000 and 1,000, evenly
    spread where there were more."""
    reference, models = Reference.from_client(model), services.models
    points = read_current(models, reference, lambda _: models.history(reference))
    points = thinned(points, query.points)
    return Response(b"".join(_history(points)), media_type="application/json")


def _history(points: list[HistoryPoint]) -> Iterator[bytes]:
    """Yields the answer as JSON, in pieces: while one is made, no other thread runs Python."""
    losses = (LossPoint.model_validate(point) for point in points if "text" not in point)
    samples = (SamplePoint.model_validate(point) for point in points if "text" in point)
    yield b'{"points":['
    yield from _separated(point.model_dump_json().encode() for point in losses)
    yield b'],"samples":['
    yield from _separated(map(_sample, samples))
    yield b"]}"


def _sample(point: SamplePoint) -> bytes:
    # Of a model of one text no sample has a style.
    return point.model_dump_json(exclude=None if point.style else {"style"}).encode()


def _separated(items: Iterable[bytes]) -> Iterator[bytes]:
    for index, item in enumerate(items):
        yield b"," + item if index else item


@router.post(
    "/models/{model}",
    status_code=201,
    summary="Import a model",
    responses=responses(409, 413, 415, 422, 507),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def import_model(
    model: PathModel, request: Request, response: Response, services: ServicesDep
) -> ModelView:
    """The body is the zip of a checkpoint. The one that `latest` named before keeps the id of its
    job as a tag."""
    try:
        reference = Reference.parse(model)
        check_publishable(reference)
    except ValueError as error:
        raise unprocessable("model", f"is not a valid target name: {error}") from None
    caller = caller_of(request.scope)
    # A job that publishes under the name would take the tag back.
    await run_in_threadpool(services.jobs.check_name, reference.name)
    with await run_in_threadpool(unnamed_file, services.models.root) as file:
        await receive_file(request, file, services.settings.max_upload_bytes)
        entry = await run_sync(
            _publish, services, caller, reference, file, limiter=services.bundles
        )
    if caller.shares:
        left = await run_in_threadpool(services.quotas.models, caller)
        tell(request.scope, lambda: left)
    response.headers["Location"] = f"/models/{model}"
    return view(entry)


def _publish(services: Services, caller: Caller, reference: Reference, file: IO[bytes]) -> Entry:
    models = services.models
    try:
        checkpoint = unzipped(file, services.settings.max_upload_bytes)
        # A client does not decide which models this server ships, and the zip has no n-gram model.
        card = checkpoint.card.copy()
        card.pop("pretrained", None)
        card.pop("ngram", None)
        with services.quotas.model(caller, reference):
            models.publish(reference, replace(checkpoint, card=card), keep_before=True)
    except CheckpointError as error:
        raise unprocessable("body", f"is not a checkpoint: {error}") from None
    return models.entry(reference)


@router.patch(
    "/models/{model}",
    summary="Rename a model, set its notes, or pin it",
    responses=responses(404, 409, 415, 422, 507),
    openapi_extra=json_body(ModelChange),
)
async def describe_model(model: PathModel, request: Request, services: ServicesDep) -> ModelView:
    """Changes the name, the notes or the pin of a model, for all of its tags and for everybody.

    Notes and pin stay while the model has a tag. Ended jobs follow a model to its new name; the
    former one is free from then on.
    """
    if ":" in model:
        raise unprocessable("model", "must be a name: all tags of a model change")
    reference = Reference.from_client(model)
    change = validated(ModelChange, await read_json(request))
    return await run_in_threadpool(_change, services, reference.name, change)


def _change(services: Services, name: str, change: ModelChange) -> ModelView:
    if change.name not in (None, name):
        name = _rename(services, name, str(change.name))
    said = {"notes": change.notes, "is_pinned": change.pinned}
    services.models.describe(name, **{k: v for k, v in said.items() if v is not None})
    return _any_of(services, Reference(name))


def _rename(services: Services, name: str, new: str) -> str:
    for one in (name, new):
        # A job would publish under it again.
        services.jobs.check_name(one)
    services.models.rename(name, new)
    services.quotas.model_is_renamed(name, new)
    services.jobs.rename_model(name, new)
    return new


def _any_of(services: Services, reference: Reference) -> ModelView:
    """The model under ``latest``, or under another tag where it has no such one."""
    tags = (Reference(reference.name, tag) for tag in services.models.naming(reference.name))
    first = min(tags, key=lambda tag: tag.place, default=reference)
    return show_model(str(first), services)


@router.delete(
    "/models/{model}", status_code=204, summary="Delete a model", responses=responses(404)
)
def delete_model(model: PathModel, services: ServicesDep) -> None:
    """Deletes a tag, or with a name only, all tags of the name."""
    reference = Reference.from_client(model)
    if ":" in model:
        services.models.delete(reference)
    else:
        services.models.delete_name(reference.name)
    services.quotas.models_are_gone(reference.name)


def view(entry: Entry) -> ModelView:
    """A model as clients see it (docs/http-api.md)."""
    card, loss = entry.card, entry.card.get("val_loss")
    baseline, corpus = card.get("baseline"), card.get("corpus")
    precision = card.get("precision") or {"exact": loss, "fast": None}
    return ModelView(
        model=str(entry.reference),
        name=entry.reference.name,
        tag=entry.reference.tag,
        digest=entry.digest,
        tags=entry.tags,
        network=entry.config.kind,
        config=entry.config.to_json(),
        vocabulary_size=entry.config.vocabulary_size,
        styles=list(entry.config.styles),
        parameters=entry.config.parameters(),
        ngram_orders=entry.config.ngram_orders,
        table_bytes=entry.config.table_bytes(),
        val_loss=loss,
        bpc=None if loss is None else bits(loss),
        baseline=None if baseline is None else BaselineView.model_validate(baseline),
        precision=PrecisionView.model_validate(precision),
        # A card may hold more, of any size.
        corpus=None if corpus is None else {k: v for k, v in corpus.items() if k in _FACTS},
        created_at=card.get("created_at"),
        job_id=card.get("job_id"),
        pretrained=bool(card.get("pretrained")),
        names=entry.is_list,
        notes=entry.about.notes,
        pinned=entry.about.is_pinned,
        damaged=entry.damaged,
    )

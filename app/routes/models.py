"""Published models: listed, shown, downloaded, imported and deleted.

Weights are read only for a download or an import. Knows no training and no sampling.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import IO, Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from app.http.bodies import receive_file
from app.http.problems import responses, unprocessable
from app.http.queries import known_query
from app.http.streaming import ClosingResponse
from app.routes.services import Services, ServicesDep
from app.schemas.common import BaselineView, PathModel, page
from app.schemas.models import (
    DownloadQuery,
    LossPoint,
    ModelHistory,
    ModelList,
    ModelQuery,
    ModelView,
    PrecisionView,
    SamplePoint,
)
from models.checkpoints.archive import unzipped, zipped
from models.checkpoints.reference import Reference, UnknownModel
from models.checkpoints.registry import Entry, Registry, check_publishable
from models.decoding.export import onnx_file
from models.files import CheckpointError
from models.units import bits

_BLOCK = 1 << 18

router = APIRouter(tags=["models"], dependencies=[Depends(known_query)])


@router.get("/models", summary="List models")
def list_models(query: Annotated[ModelQuery, Query()], services: ServicesDep) -> ModelList:
    """Lists every model under each of its tags, by name, `latest` first."""
    start = Reference.parse(query.cursor).place if query.cursor else None
    found: list[ModelView] = []
    for reference in services.models.references():
        if start and reference.place <= start:
            continue
        try:
            found.append(view(services.models.entry(reference)))
        except (UnknownModel, CheckpointError):
            continue
        if len(found) > query.limit:
            break
    models, cursor = page(found, query.limit, lambda view: view.model)
    return ModelList(models=models, next=cursor)


@router.get("/models/{model}", summary="Get a model", responses=responses(404))
def show_model(model: PathModel, services: ServicesDep) -> ModelView:
    return view(services.models.entry(Reference.from_client(model)))


@router.get(
    "/models/{model}/history",
    summary="Get a model's training history",
    responses=responses(404),
)
def show_history(model: PathModel, services: ServicesDep) -> ModelHistory:
    """Losses and samples over the steps of training, oldest first."""
    lines = services.models.history(Reference.from_client(model))
    return ModelHistory(
        points=[LossPoint.model_validate(line) for line in lines if "text" not in line],
        samples=[SamplePoint.model_validate(line) for line in lines if "text" in line],
    )


@router.get(
    "/models/{model}/download",
    summary="Download a model",
    response_class=Response,
    responses={
        200: {
            "description": "The checkpoint, or its network.",
            "content": {
                kind: {"schema": {"type": "string", "format": "binary"}}
                for kind in ("application/zip", "application/onnx")
            },
        },
        **responses(404, 422, 507),
    },
)
async def download_model(
    model: PathModel, query: Annotated[DownloadQuery, Query()], services: ServicesDep
) -> Response:
    """A zip of the checkpoint, which `POST /models/{model}` accepts on any server; or the network
    as an ONNX graph, which documents its inputs and outputs."""
    reference = Reference.from_client(model)
    if query.format == "onnx":
        return await _onnx(reference, services)
    digest = await run_in_threadpool(services.models.resolve, reference)
    with ExitStack() as held:
        opened = services.models.opened(reference.name, digest)
        files = await run_in_threadpool(held.enter_context, opened)
        headers = _download_headers(reference, digest, "zip")
        return ClosingResponse(zipped(files), "application/zip", headers, held.pop_all().close)


async def _onnx(reference: Reference, services: Services) -> Response:
    network = await services.loaded.network(reference)
    checkpoint, digest = network.checkpoint, network.digest

    def make() -> tuple[IO[bytes], int]:
        # In a file: a slow reader must not hold it in memory.
        try:
            data = onnx_file(
                checkpoint.config,
                checkpoint.weights,
                checkpoint.vocabulary,
                str(reference),
                digest,
            )
        except ValueError as error:
            raise unprocessable("format", str(error)) from None
        file = held.enter_context(_unnamed_file(services.models))
        file.write(data)
        file.seek(0)
        return file, len(data)

    with ExitStack() as held:
        file, size = await run_sync(make, limiter=services.bundles)
        headers = _download_headers(reference, digest, "onnx")
        headers["Content-Length"] = str(size)
        return ClosingResponse(_blocks(file), "application/onnx", headers, held.pop_all().close)


def _unnamed_file(models: Registry) -> IO[bytes]:
    """A file on the models' disk that is gone once closed, however the server ends."""
    models.root.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=models.root)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block


def _download_headers(reference: Reference, digest: str, kind: str) -> dict[str, str]:
    # Some systems allow no colon in a file's name.
    shown = str(reference).replace(":", "-")
    return {
        "Content-Disposition": f'attachment; filename="{shown}-{digest[:12]}.{kind}"',
        "X-Model-Digest": digest,
    }


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
    # A job that publishes under the name would take the tag back.
    await run_in_threadpool(services.jobs.check_name, reference.name)
    with await run_in_threadpool(_unnamed_file, services.models) as file:
        limit = services.settings.max_upload_bytes
        await receive_file(request, file, limit)
        entry = await run_sync(
            _publish, services.models, reference, file, limit, limiter=services.bundles
        )
    response.headers["Location"] = f"/models/{model}"
    return view(entry)


def _publish(models: Registry, reference: Reference, file: IO[bytes], limit: int) -> Entry:
    try:
        checkpoint = unzipped(file, limit)
    except CheckpointError as error:
        raise unprocessable("body", f"is not a checkpoint: {error}") from None
    # A client does not decide which models this server ships, and the zip has no n-gram model.
    card = checkpoint.card.copy()
    card.pop("pretrained", None)
    card.pop("ngram", None)
    models.publish(reference, replace(checkpoint, card=card), keep_before=True)
    return models.entry(reference)


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
        config=asdict(entry.config),
        vocabulary_size=entry.config.vocabulary_size,
        parameters=entry.config.parameters(),
        val_loss=loss,
        bpc=None if loss is None else bits(loss),
        baseline=None if baseline is None else BaselineView.model_validate(baseline),
        precision=PrecisionView.model_validate(precision),
        corpus=None if corpus is None else {**corpus},
        created_at=card.get("created_at"),
        job_id=card.get("job_id"),
        pretrained=bool(card.get("pretrained")),
    )

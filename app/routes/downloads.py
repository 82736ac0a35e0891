"""Published models as files: a checkpoint as a zip, its network for ONNX Runtime, or a page.

Knows no other endpoint.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import IO, Annotated

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from app import __version__
from app.engine.loaded import LoadedNetwork
from app.engine.portable import PageFacts, portable_page
from app.http.language import in_language
from app.http.problems import RETRY_SECONDS, Problem, responses, unprocessable
from app.http.queries import known_query
from app.http.ranges import MadeFile, ResumableResponse, asked_part, is_known, not_modified
from app.routes.services import DOWNLOADS, Services, ServicesDep
from app.schemas.common import PathModel
from app.schemas.models import DownloadQuery
from models.checkpoints.archive import zipped, zipped_size
from models.checkpoints.current import read_current
from models.checkpoints.front_matter import with_metadata
from models.checkpoints.reference import Reference
from models.decoding.export import onnx_file
from models.files import unnamed_file
from models.inside.results import read_cells

_BLOCK = 1 << 18
_MEDIA_TYPES = {"onnx": "application/onnx", "html": "text/html; charset=utf-8"}

router = APIRouter(tags=["models"], dependencies=[Depends(known_query)])


@router.get(
    "/models/{model}/download",
    summary="Download a model",
    response_class=Response,
    responses={
        200: {
            "description": "The checkpoint, its network, or a page with it.",
            "content": {
                kind: {"schema": {"type": "string", "format": "binary"}}
                for kind in ("application/zip", "application/onnx", "text/html")
            },
        },
        206: {"description": "The part that the Range header asks for."},
        304: {"description": "The client has it already, as its If-None-Match header says."},
        **responses(404, 416, 422, 503, 507),
    },
)
async def download_model(
    model: PathModel,
    query: Annotated[DownloadQuery, Query()],
    request: Request,
    services: ServicesDep,
) -> Response:
    """A zip of the checkpoint, which `POST /models/{model}` accepts on any server, with the files
    that the Hugging Face Hub expects; the network as an ONNX graph, which documents its inputs and
    outputs; or a page that opens from a disk and writes in any browser, without a network. Each can
    be resumed: its bytes are the same each time.
    """
    reference = Reference.from_client(model)
    if query.precision and query.format != "html":
        raise unprocessable(
            "precision", "is for format=html: a zip and ONNX have all of each weight"
        )
    with ExitStack() as held:
        held.callback(_take_place(services.downloads))
        if query.format == "zip":
            return await _zip(reference, request, services, held)
        return await _export(query, reference, request, services, held)


def _take_place(downloads: anyio.CapacityLimiter) -> Callable[[], None]:
    """Takes one of the places for downloads and returns what frees it. Raises 503."""
    place = object()
    try:
        downloads.acquire_on_behalf_of_nowait(place)
    except anyio.WouldBlock:
        raise Problem(
            503,
            "server_busy",
            f"{DOWNLOADS} models are being downloaded already: try again in a moment",
            headers={"Retry-After": RETRY_SECONDS},
        ) from None
    return lambda: downloads.release_on_behalf_of(place)


async def _zip(
    reference: Reference, request: Request, services: Services, held: ExitStack
) -> Response:
    models = services.models

    def opened(digest: str) -> tuple[str, dict[str, IO[bytes]]]:
        return digest, with_metadata(held.enter_context(models.opened(reference.name, digest)))

    digest, files = await run_in_threadpool(read_current, models, reference, opened)
    # Not ``zip``: under that tag this release's zips had a README without metadata.
    tag = _tag(digest, "hub.zip")
    if is_known(request, tag):
        return not_modified(tag)
    file = MadeFile(zipped(files), zipped_size(files), tag, "application/zip")
    return _answer(request, file, _headers(reference, digest, "zip"), held)


async def _export(
    query: DownloadQuery,
    reference: Reference,
    request: Request,
    services: Services,
    held: ExitStack,
) -> Response:
    network = await services.loaded.network(reference)
    name, digest, kind, precision = reference.name, network.digest, query.format, query.precision
    findings = None
    if kind == "html":
        findings = await run_in_threadpool(read_cells, services.models, name, digest)
    facts = PageFacts(str(reference), digest, __version__, findings, partial(in_language, "ja"))
    known = "" if findings is None else ".cells"
    tag = _tag(digest, kind if kind == "onnx" else f"{precision}{known}.{kind}")
    if is_known(request, tag):
        return not_modified(tag)

    def make() -> tuple[IO[bytes], int]:
        try:
            if kind == "html":
                data = portable_page(network.checkpoint, facts, precision or "fast")
            else:
                data = _onnx(network, reference)
        except ValueError as error:
            raise unprocessable("format", str(error)) from None
        # In a file: a slow reader must not hold it in memory.
        file = held.enter_context(unnamed_file(services.models.root))
        file.write(data)
        file.seek(0)
        return file, len(data)

    file, size = await run_sync(make, limiter=services.bundles)
    made = MadeFile(_blocks(file), size, tag, _MEDIA_TYPES[kind])
    return _answer(request, made, _headers(reference, digest, kind), held)


def _onnx(network: LoadedNetwork, reference: Reference) -> bytes:
    checkpoint = network.checkpoint
    return onnx_file(
        checkpoint.config,
        checkpoint.weights,
        checkpoint.vocabulary,
        str(reference),
        network.digest,
    )


def _answer(request: Request, file: MadeFile, headers: dict[str, str], held: ExitStack) -> Response:
    part = asked_part(request, file.tag, file.size)
    return ResumableResponse(request, file, part, headers, held.pop_all().close)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block


def _tag(digest: str, kind: str) -> str:
    """The entity tag of a file that this release makes of a checkpoint."""
    return f'"{digest}.{__version__}.{kind}"'


def _headers(reference: Reference, digest: str, kind: str) -> dict[str, str]:
    # Some systems allow no colon in a file's name.
    shown = str(reference).replace(":", "-")
    return {
        # Saved, never shown: a page is of its model's author, and must not act as one of ours.
        "Content-Disposition": f'attachment; filename="{shown}-{digest[:12]}.{kind}"',
        "X-Model-Digest": digest,
    }

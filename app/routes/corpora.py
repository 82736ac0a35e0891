"""Corpora: uploaded, listed and deleted. Knows no training."""

from contextlib import suppress
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from app.engine.callers import caller_of
from app.http.allowances import tell
from app.http.bodies import CORPUS, FILES, receive_text
from app.http.intake import one_text
from app.http.problems import responses
from app.http.queries import known_query
from app.routes import feasibility
from app.routes.services import ServicesDep
from app.schemas.common import PathCorpus, page
from app.schemas.training import (
    CorpusList,
    CorpusQuery,
    CorpusReport,
    CorpusSources,
    OutlookList,
    OutlookQuery,
)
from worker.corpora import CorpusStore, UnknownCorpus
from worker.devices import DeviceStore

router = APIRouter(tags=["training"])
_QUERY = [Depends(known_query)]
"""For all routes but the upload, which reads its query itself."""


@router.post(
    "/corpora",
    status_code=201,
    tags=["corpora"],
    summary="Upload a corpus",
    responses=responses(400, 413, 415, 422, 507),
    openapi_extra={
        "requestBody": {
            # An empty text is a corpus too; its report says so.
            "required": False,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {CORPUS: FILES},
                        "required": [CORPUS],
                    }
                },
                "text/plain": {"schema": {"type": "string"}},
            },
        }
    },
)
async def add_corpus(request: Request, response: Response, services: ServicesDep) -> CorpusReport:
    """Keeps a text without training on it. Problems with the text are warnings in the report.

    Several parts `corpus` become one text, and so do the files in an archive; `sources` tells which
    were taken.
    """
    caller = caller_of(request.scope)
    corpora, limit = services.corpora, services.settings.max_upload_bytes
    async with (
        receive_text(request, corpora, limit, (), lambda _fields: None, services.forms) as received,
        one_text(received, corpora, services.scans, limit) as text,
    ):
        with services.quotas.corpus(caller) as admit:
            corpus_id = await run_in_threadpool(corpora.add_any, text.upload, admit)
    if caller.shares:
        left = await run_in_threadpool(services.quotas.corpus_bytes, caller)
        tell(request.scope, lambda: left)
    report = await run_sync(
        _report, services.corpora, services.devices, corpus_id, limiter=services.scans
    )
    response.headers["Location"] = f"/corpora/{corpus_id}"
    report.warnings[:0] = received.warnings
    report.sources = CorpusSources.of(text.made_of)
    return report


def _report(corpora: CorpusStore, devices: DeviceStore, corpus_id: str) -> CorpusReport:
    report = corpora.report(corpus_id)
    seconds = None
    if report.get("distinct"):
        seconds = feasibility.estimated_seconds(devices, report["distinct"], report["characters"])
    return CorpusReport.model_validate({"id": corpus_id, "estimated_seconds": seconds, **report})


@router.get(
    "/corpora",
    tags=["corpora"],
    summary="List corpora",
    dependencies=_QUERY,
)
def list_corpora(query: Annotated[CorpusQuery, Query()], services: ServicesDep) -> CorpusList:
    """Lists the reports of all corpora, by id."""
    found: list[CorpusReport] = []
    for corpus_id in services.corpora.ids():
        if query.cursor and corpus_id <= query.cursor:
            continue
        with suppress(UnknownCorpus):
            found.append(_report(services.corpora, services.devices, corpus_id))
        if len(found) > query.limit:
            break
    corpora, cursor = page(found, query.limit, lambda report: report.id)
    return CorpusList(corpora=corpora, next=cursor)


@router.get(
    "/corpora/{corpus_id}",
    tags=["corpora"],
    summary="Get a corpus report",
    responses=responses(404),
    dependencies=_QUERY,
)
def show_corpus(corpus_id: PathCorpus, services: ServicesDep) -> CorpusReport:
    """What the corpus doctor found: characters, lines, encoding and warnings."""
    return _report(services.corpora, services.devices, corpus_id)


@router.get(
    "/corpora/{corpus_id}/outlook",
    tags=["corpora"],
    summary="Show what training on a corpus does in some time",
    responses=responses(404, 422),
    dependencies=_QUERY,
)
def look_ahead(
    corpus_id: PathCorpus, query: Annotated[OutlookQuery, Query()], services: ServicesDep
) -> OutlookList:
    """Tells which network is trained by default, and how often it reads the text."""
    report = services.corpora.report(corpus_id)
    if not report.get("distinct"):
        return OutlookList(outlooks=[])
    return OutlookList(
        outlooks=feasibility.outlooks(
            services.devices, report["distinct"], report["characters"], query.max_seconds
        )
    )


@router.delete(
    "/corpora/{corpus_id}",
    status_code=204,
    tags=["corpora"],
    summary="Delete a corpus",
    responses=responses(404, 409),
    dependencies=_QUERY,
)
def delete_corpus(corpus_id: PathCorpus, services: ServicesDep) -> None:
    """Deletes a corpus that no unfinished job needs."""
    services.corpora.delete(corpus_id, services.jobs.needing)
    services.quotas.corpus_is_gone(corpus_id)

"""Corpora and jobs over HTTP: what is sent, what became of it, and what happens meanwhile.

Knows disk and queue through ``worker.corpora``, ``worker.jobs`` and ``worker.queue``; nothing of
how a network is trained.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Annotated, Any

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, BackgroundTasks, Depends, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent
from redis import RedisError

from app import feasible
from app.http.bodies import CORPUS, is_json, json_body, read_json, receive_text
from app.http.problems import Problem, repeated_fields, responses, unprocessable, validated
from app.http.queries import known_query, query_fields
from app.schemas.common import page
from app.schemas.training import (
    CorpusList,
    CorpusQuery,
    CorpusReport,
    JobList,
    JobQuery,
    JobView,
    ResumeRequest,
    StartedJob,
    TrainingOptions,
    TrainingRequest,
)
from app.services import JobDep, Services, ServicesDep
from worker import logs
from worker.corpora import UnknownCorpus
from worker.events import Event
from worker.jobs import Job, UnknownJob

_log = logging.getLogger(__name__)

uploads = APIRouter(tags=["training"])
"""Routes whose bodies are texts; they read their query themselves."""

router = APIRouter(tags=["training"], dependencies=[Depends(known_query)])

IdempotencyKey = Annotated[
    str | None,
    Header(max_length=255, description="the same key gives the first job again"),
]


def _train_documentation() -> dict[str, Any]:
    """The three ways into ``POST /train``, which FastAPI can't see."""
    options = TrainingOptions.model_json_schema()["properties"]
    form = {CORPUS: {"type": "string", "format": "binary", "description": "the text"}} | options
    return {
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": False,
                "schema": {k: v for k, v in schema.items() if k not in ("description", "title")},
                "description": schema.get("description", ""),
            }
            for name, schema in options.items()
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": form,
                        "required": [CORPUS, "model"],
                    }
                },
                "application/json": {"schema": TrainingRequest.model_json_schema()},
                "text/plain": {"schema": {"type": "string"}},
            },
        },
    }


@uploads.post(
    "/train",
    status_code=202,
    summary="Train a model on a text",
    response_model=StartedJob,
    responses=responses(400, 409, 413, 415, 422, 507),
    openapi_extra=_train_documentation(),
)
async def train(
    request: Request,
    response: Response,
    background: BackgroundTasks,
    services: ServicesDep,
    idempotency_key: IdempotencyKey = None,
) -> dict[str, Any]:
    """Takes a text and answers with the job that will train on it, once both are safe on disk.

    The text is the file part `corpus` of a form, with the options as fields; or the raw body,
    whatever content type is on it, with the options in the query; or JSON with the `corpus_id`
    of a corpus that is here already.
    """
    if is_json(request):
        options, corpus_id = await _take_request(request, services)
    else:
        options, corpus_id = await _take_text(request, services)
    job, is_new = await run_in_threadpool(
        _create_job, services, options, corpus_id, idempotency_key or None
    )
    if is_new:
        with logs.about(job_id=job.id):
            _log.info("job %s: accepted", job.id)
        # After the answer: a job on disk is safe, and Redis may take its time.
        background.add_task(services.queue.enqueue, job.id)
    response.headers["Location"] = f"/jobs/{job.id}"
    return await run_in_threadpool(_started, services, job)


async def _take_text(request: Request, services: Services) -> tuple[TrainingOptions, str]:
    async with receive_text(
        request,
        services.corpora,
        services.settings.max_upload_bytes,
        TrainingOptions.model_fields,
        lambda fields: validated(TrainingOptions, fields),
    ) as received:
        options = received.options
        corpus_id, _report = await run_sync(
            services.corpora.add,
            received.upload,
            options.symbols,
            lambda scan: feasible.check(services, options, scan),
            limiter=services.scans,
        )
    return options, corpus_id


async def _take_request(request: Request, services: Services) -> tuple[TrainingOptions, str]:
    fields = query_fields(request, TrainingRequest.model_fields)
    values = await read_json(request)
    if twice := fields.keys() & values.keys():
        raise repeated_fields(twice)
    asked = validated(TrainingRequest, fields | values)
    try:
        scan = await run_sync(
            services.corpora.scan, asked.corpus_id, asked.symbols, limiter=services.scans
        )
    except UnknownCorpus:
        raise unprocessable("corpus_id", "is of no corpus here: GET /corpora lists them") from None
    await run_in_threadpool(feasible.check, services, asked, scan)
    return asked, asked.corpus_id


def _create_job(
    services: Services, options: TrainingOptions, corpus_id: str, key: str | None
) -> tuple[Job, bool]:
    try:
        with services.corpora.kept(corpus_id):
            return services.jobs.create(options.model, corpus_id, options.spec(), key)
    except UnknownCorpus:
        raise Problem(409, "the corpus was deleted while the job was made: send it again") from None


def _started(services: Services, job: Job) -> dict[str, Any]:
    corpus_id, options = job.spec["corpus_id"], job.spec["options"]
    corpus = None
    with suppress(UnknownCorpus):
        report = services.corpora.scan(corpus_id, options["tokens"]).report
        seconds = feasible.estimated_seconds(services, report.distinct, report.characters, options)
        corpus = {"id": corpus_id, "estimated_seconds": seconds} | report.to_json()
    return job.view() | {"corpus": corpus}


@router.get("/jobs", summary="List jobs, newest first", response_model=JobList)
def list_jobs(query: Annotated[JobQuery, Query()], services: ServicesDep) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    for job_id in services.jobs.ids():
        if query.cursor and job_id >= query.cursor:
            continue
        try:
            view = services.jobs.get(job_id).view()
        except UnknownJob:
            continue
        if query.status in (None, view["status"]) and query.model in (None, view["model"]):
            found.append(view)
        if len(found) > query.limit:
            break
    return page("jobs", found, query.limit, "id")


@router.get("/jobs/{job_id}", summary="A job", response_model=JobView, responses=responses(404))
def show_job(job: JobDep) -> dict[str, Any]:
    return job.view()


@router.delete(
    "/jobs/{job_id}",
    status_code=204,
    summary="Remove an ended job",
    responses=responses(404, 409),
)
def delete_job(job_id: str, services: ServicesDep) -> None:
    """Removes an ended job's record and resume state; the models that it published stay."""
    services.jobs.delete(job_id)
    with suppress(RedisError):
        services.queue.forget(job_id)


@router.post(
    "/jobs/{job_id}/cancel",
    status_code=202,
    summary="Cancel a job",
    response_model=JobView,
    responses=responses(404, 409),
)
def cancel_job(job: JobDep, services: ServicesDep) -> dict[str, Any]:
    """Ends a job within two seconds; what it published stays."""
    event = job.request_cancel()
    if event is not None:
        services.queue.events.publish(job.id, event)
        with suppress(RedisError):
            services.queue.forget(job.id)
    return job.view()


@uploads.post(
    "/jobs/{job_id}/resume",
    status_code=202,
    summary="Go on with an ended job",
    response_model=JobView,
    responses=responses(404, 409, 415, 422),
    dependencies=[Depends(known_query)],
    openapi_extra=json_body(ResumeRequest, required=False),
)
async def resume_job(
    job_id: str, request: Request, background: BackgroundTasks, services: ServicesDep
) -> dict[str, Any]:
    """A cancelled, failed or finished job goes on from its last state.

    The limits may be raised in the body, as JSON; they count from the job's beginning. Without
    one that is raised, a job that has reached them ends again at once.
    """
    values = await read_json(request, optional=True)
    raised = validated(ResumeRequest, values).model_dump(exclude_none=True)
    job = await run_in_threadpool(_resume, services, job_id, raised)
    background.add_task(services.queue.enqueue, job.id)
    return await run_in_threadpool(job.view)


def _resume(services: Services, job_id: str, raised: dict[str, Any]) -> Job:
    job = services.jobs.get(job_id)
    view = job.view()
    reached = _limits_reached(view["progress"] or {}, job.spec["options"])
    for name, value in raised.items():
        if (before := view["options"].get(name)) is not None and value < before:
            raise unprocessable(name, f"may be raised alone: it is {before:g} already")
    if raised and (left := reached - raised.keys()):
        raise unprocessable(min(left), "has been reached as well: raise it too")
    if not services.corpora.has(job.spec["corpus_id"]):
        raise Problem(409, "the job's corpus was deleted: it can't go on without")
    return services.jobs.resume(job_id, raised)


def _limits_reached(progress: dict[str, Any], options: dict[str, Any]) -> set[str]:
    """Those of the limits asked for that have ended the job."""
    measures = {"max_epochs": "epoch", "max_steps": "step", "max_seconds": "elapsed_seconds"}
    return {
        limit
        for limit, measure in measures.items()
        if options.get(limit) is not None and (progress.get(measure) or 0) >= options[limit]
    }


@router.get(
    "/jobs/{job_id}/events",
    summary="Follow a job",
    response_class=EventSourceResponse,
    responses=responses(404),
)
async def follow_job(
    job: JobDep,
    services: ServicesDep,
    last_event_id: Annotated[
        str | None, Header(description="go on after this event; an unknown one starts over")
    ] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Every event of a job from its start, then live, until it has ended.

    Events are `progress`, `evaluation`, `sample`, `checkpoint`, `notice` and, last, `end`.
    """
    events = services.queue.events.follow(job, _event_id(last_event_id))
    async for event in _until(services.stopping, events):
        yield ServerSentEvent(raw_data=json.dumps(event.data), event=event.event, id=str(event.id))


def _event_id(header: str | None) -> int:
    try:
        return max(0, int(header or 0))
    except ValueError:
        return 0


async def _until(
    stopping: asyncio.Event, events: AsyncGenerator[Event, None]
) -> AsyncIterator[Event]:
    """The events until their end or until the server stops; the client comes back for the rest."""
    stopped = asyncio.ensure_future(stopping.wait())
    coming: asyncio.Future[Event] = asyncio.ensure_future(anext(events))
    try:
        while True:
            await asyncio.wait((coming, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                return
            try:
                yield coming.result()
            except StopAsyncIteration:
                return
            coming = asyncio.ensure_future(anext(events))
    finally:
        # Shielded: a client that leaves cancels this, and the generator must be closed all the
        # same, after whatever runs in it.
        with anyio.CancelScope(shield=True):
            stopped.cancel()
            while not coming.done():
                # More than once: redis-py swallows a cancellation while it connects.
                coming.cancel()
                await asyncio.wait((coming,), timeout=0.05)
            await events.aclose()


@uploads.post(
    "/corpora",
    status_code=201,
    tags=["corpora"],
    summary="Keep a text and say what it is",
    response_model=CorpusReport,
    responses=responses(400, 413, 415, 422, 507),
    openapi_extra={
        "requestBody": {
            # Nothing is a text too, which its report says.
            "required": False,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {CORPUS: {"type": "string", "format": "binary"}},
                        "required": [CORPUS],
                    }
                },
                "text/plain": {"schema": {"type": "string"}},
            },
        }
    },
)
async def add_corpus(request: Request, response: Response, services: ServicesDep) -> dict[str, Any]:
    """Keeps a text without training on it. What is wrong with it is a warning in the report."""
    async with receive_text(
        request, services.corpora, services.settings.max_upload_bytes, (), lambda _fields: None
    ) as received:
        corpus_id = await run_in_threadpool(services.corpora.add_any, received.upload)
    report = await run_sync(_report, services, corpus_id, limiter=services.scans)
    response.headers["Location"] = f"/corpora/{corpus_id}"
    return report


def _report(services: Services, corpus_id: str) -> dict[str, Any]:
    report = services.corpora.report(corpus_id)
    seconds = None
    if report.get("distinct"):
        seconds = feasible.estimated_seconds(services, report["distinct"], report["characters"])
    return {"id": corpus_id, "estimated_seconds": seconds} | report


@router.get("/corpora", tags=["corpora"], summary="List corpora", response_model=CorpusList)
def list_corpora(query: Annotated[CorpusQuery, Query()], services: ServicesDep) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    for corpus_id in services.corpora.ids():
        if query.cursor and corpus_id <= query.cursor:
            continue
        with suppress(UnknownCorpus):
            found.append(_report(services, corpus_id))
        if len(found) > query.limit:
            break
    return page("corpora", found, query.limit, "id")


@router.get(
    "/corpora/{corpus_id}",
    tags=["corpora"],
    summary="What a corpus is",
    response_model=CorpusReport,
    responses=responses(404),
)
def show_corpus(corpus_id: str, services: ServicesDep) -> dict[str, Any]:
    return _report(services, corpus_id)


@router.delete(
    "/corpora/{corpus_id}",
    status_code=204,
    tags=["corpora"],
    summary="Remove a corpus",
    responses=responses(404, 409),
)
def delete_corpus(corpus_id: str, services: ServicesDep) -> None:
    """Removes a corpus that no unfinished job needs."""

    def needed_by(corpus_id: str) -> str | None:
        jobs = services.jobs.unended()
        return next((job.id for job in jobs if job.spec["corpus_id"] == corpus_id), None)

    services.corpora.delete(corpus_id, needed_by)

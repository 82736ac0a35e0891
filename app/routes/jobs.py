"""Jobs: listed, followed, cancelled, resumed and deleted. Knows no training."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, BackgroundTasks, Depends, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.exceptions import HTTPException

from app.engine.callers import Caller, caller_of
from app.http.bodies import json_body, read_json
from app.http.problems import Problem, responses, unprocessable
from app.http.queries import known_query
from app.http.validation import validated
from app.routes.services import JobDep, Services, ServicesDep, a_moment, enqueue, in_redis
from app.schemas.common import PathJob, page
from app.schemas.training import JobList, JobQuery, JobView, ResumeRequest
from models.json_lines import one_line
from models.options import TrainingOptions
from worker.events import JobEvent, ProgressData
from worker.job_errors import JobDamaged, UnknownJob
from worker.jobs import Job
from worker.live import is_all

router = APIRouter(tags=["training"], dependencies=[Depends(known_query)])


@router.get("/jobs", summary="List jobs")
def list_jobs(query: Annotated[JobQuery, Query()], services: ServicesDep) -> JobList:
    """The newest job comes first."""
    found: list[JobView] = []
    for job_id in services.jobs.ids():
        if query.cursor and job_id >= query.cursor:
            continue
        try:
            view = _view(services.jobs.get(job_id))
        except UnknownJob:
            continue
        if query.status in (None, view.status) and query.model in (None, view.model):
            found.append(view)
        if len(found) > query.limit:
            break
    jobs, cursor = page(found, query.limit, lambda view: view.id)
    return JobList(jobs=jobs, next=cursor)


def _view(job: Job) -> JobView:
    return JobView.model_validate(job.view())


@router.get("/jobs/{job_id}", summary="Get a job", responses=responses(404))
def show_job(job: JobDep) -> JobView:
    """Its status, latest figures and error; its events have all of them."""
    return _view(job)


@router.delete(
    "/jobs/{job_id}",
    status_code=204,
    summary="Delete an ended job",
    responses=responses(404, 409),
)
async def delete_job(job_id: PathJob, services: ServicesDep) -> None:
    """Deletes a job's record and the state to resume it from. The models that it published stay."""
    await run_in_threadpool(services.jobs.delete, job_id)
    with a_moment():
        await in_redis(services, services.queue.forget, job_id)


@router.post(
    "/jobs/{job_id}/cancel",
    status_code=202,
    summary="Cancel a job",
    responses=responses(404, 409),
)
async def cancel_job(job: JobDep, services: ServicesDep) -> JobView:
    """Ends a job within two seconds. The models that it published stay."""
    event = await run_in_threadpool(job.request_cancel)
    if event is not None:
        with a_moment():
            await in_redis(services, services.queue.events.publish, job.id, event)
            await in_redis(services, services.queue.forget, job.id)
    return await run_in_threadpool(_view, job)


@router.post(
    "/jobs/{job_id}/resume",
    status_code=202,
    summary="Resume a job",
    responses=responses(404, 409, 415, 422),
    openapi_extra=json_body(ResumeRequest, required=False),
)
async def resume_job(
    job_id: PathJob, request: Request, background: BackgroundTasks, services: ServicesDep
) -> JobView:
    """A cancelled, failed or finished job continues from its last state.

    The body may raise the job's limits, which count from the start of the job, and name other
    `devices`. A job that has reached a limit ends again at once unless the limit is raised.
    """
    values = await read_json(request, optional=True)
    raised = validated(ResumeRequest, values).model_dump(exclude_none=True)
    caller = caller_of(request.scope)
    job = await run_in_threadpool(_resume, services, caller, job_id, raised)
    background.add_task(in_redis, services, enqueue, services, job.id)
    return await run_in_threadpool(_view, job)


def _resume(services: Services, caller: Caller, job_id: str, raised: dict[str, Any]) -> Job:
    job = services.jobs.get(job_id)
    view = job.view()
    try:
        options = TrainingOptions.from_json(job.spec["options"])
    except ValueError as error:
        raise JobDamaged(f"spec.json: {error}") from None
    reached = _limits_reached(view["progress"], options)
    limits = {name: value for name, value in raised.items() if name != "devices"}
    for name, value in limits.items():
        before = view["options"].get(name)
        if isinstance(before, int | float) and value < before:
            raise unprocessable(name, f"can only be raised: it is {before:g} already")
    if limits and (left := reached - limits.keys()):
        raise unprocessable(min(left), "has been reached too: raise it as well")
    if not job.spec_damage and not services.corpora.has(job.spec["corpus_id"]):
        raise Problem(
            409, "corpus_deleted", "the job's corpus was deleted, so it cannot be resumed"
        )
    return services.jobs.resume(job_id, raised, services.quotas.admit_job(caller, job.model))


def _limits_reached(progress: ProgressData | None, options: TrainingOptions) -> set[str]:
    """The limits that the job has reached, of those that were set."""
    if progress is None:
        return set()
    measures = {
        "max_epochs": (progress.get("epoch", 0.0), options.max_epochs),
        "max_steps": (progress.get("step", 0), options.max_steps),
        "max_seconds": (progress.get("elapsed_seconds", 0.0), options.max_seconds),
    }
    return {limit for limit, (now, most) in measures.items() if most is not None and now >= most}


def _after(
    job: JobDep,
    last_event_id: Annotated[
        str | None, Header(description="Continue after this event; an unknown id starts over.")
    ] = None,
) -> int:
    """The id of the last event that a client has; if there will be no more, it is told so."""
    try:
        after = max(0, int(last_event_id or 0))
    except ValueError:
        return 0
    if after and is_all(job, after):
        # A browser's EventSource would come back for ever after any other answer.
        raise HTTPException(204)
    return after


@router.get(
    "/jobs/{job_id}/events",
    summary="Follow a job",
    response_class=EventSourceResponse,
    responses={
        204: {"description": "The job has ended, and its last event is the one given."},
        **responses(404),
    },
)
async def follow_job(
    job: JobDep, services: ServicesDep, after: Annotated[int, Depends(_after)]
) -> AsyncIterator[ServerSentEvent]:
    """Streams every event of a job from its start, then live until the job ends.

    Events are `progress`, `evaluation`, `sample`, `checkpoint`, `notice` and, last, `end`.
    """
    events = services.queue.events.follow(job, after)
    async for event in _until(services.stopping, events):
        yield ServerSentEvent(raw_data=one_line(event.data), event=event.event, id=str(event.id))


async def _until(
    stopping: asyncio.Event, events: AsyncGenerator[JobEvent, None]
) -> AsyncIterator[JobEvent]:
    """Yields events until they end or the server stops; clients reconnect for the rest."""
    stopped = asyncio.ensure_future(stopping.wait())
    coming: asyncio.Future[JobEvent] = asyncio.ensure_future(anext(events))
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
        # Shielded: the disconnect of a client cancels this, but the generator must be closed, and
        # only after the step that runs in it.
        with anyio.CancelScope(shield=True):
            stopped.cancel()
            while not coming.done():
                # More than once: redis-py swallows a cancellation while it connects.
                coming.cancel()
                await asyncio.wait((coming,), timeout=0.05)
            await events.aclose()

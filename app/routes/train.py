"""``POST /train``: a text and options become a job. Knows nothing of how a network is trained."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from typing import Annotated, Any, NamedTuple

from anyio.to_thread import run_sync
from fastapi import APIRouter, BackgroundTasks, Header, Request, Response
from fastapi.concurrency import run_in_threadpool

from app.engine.callers import caller_of
from app.http.allowances import tell
from app.http.bodies import CORPUS, FILES, is_json, read_json, receive_text, schema_of
from app.http.intake import OneText, one_text
from app.http.problems import Problem, responses, unprocessable
from app.http.queries import query_fields
from app.http.validation import repeated_fields, validated
from app.routes import feasibility
from app.routes.services import Services, ServicesDep, enqueue, in_redis
from app.schemas.training import CorpusSources, StartedJob, TrainForm, TrainRequest
from models.options import EACH_FILE, TrainingOptions
from models.styles import parts_of_files, written_parts
from models.text.cleaning import CorpusError
from models.text.corpus import WrongParts, spans_of
from worker import logs
from worker.corpora import CorpusDamaged, CorpusStore, UnknownCorpus
from worker.devices import DeviceStore
from worker.jobs import Admit, Job, JobStore

log = logs.logger(__name__)

router = APIRouter(tags=["training"])
"""Without ``known_query``: its one route reads its query itself."""

Asked = tuple[str, TrainingOptions, str]
"""The model's name, its options, and the id of the corpus."""


class _Way(NamedTuple):
    """What happened to a text on its way; ``sources`` is None if it is as it was sent."""

    warnings: Sequence[str] = ()
    sources: CorpusSources | None = None


IdempotencyKey = Annotated[
    str | None,
    Header(max_length=255, description="The same key and request return the first job again."),
]


def _train_documentation() -> dict[str, Any]:
    """Documents the three ways into ``POST /train``, which FastAPI cannot see."""
    options = schema_of(TrainForm)["properties"]
    form = {CORPUS: FILES} | options
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
                "application/json": {"schema": schema_of(TrainRequest)},
                "text/plain": {"schema": {"type": "string"}},
            },
        },
    }


@router.post(
    "/train",
    status_code=202,
    summary="Train a model on a text",
    responses=responses(400, 409, 413, 415, 422, 507),
    openapi_extra=_train_documentation(),
)
async def train(
    request: Request,
    response: Response,
    background: BackgroundTasks,
    services: ServicesDep,
    idempotency_key: IdempotencyKey = None,
) -> StartedJob:
    """Creates a job that trains on a text. Once answered, both are safe on disk.

    Send the text as the file part `corpus` of a form, with the options as fields; or as the raw
    body, whatever its content type, with the options in the query; or send JSON with the
    `corpus_id` of a corpus that was uploaded before. Several parts `corpus` become one text, and
    so do the files in an archive.
    """
    if is_json(request):
        asked, way = await _take_request(request, services), _Way()
    else:
        asked, way = await _take_text(request, services)
    model, options, corpus_id = asked
    caller = caller_of(request.scope)
    job, is_new = await run_in_threadpool(
        _create_job,
        services.jobs,
        services.corpora,
        model,
        options,
        corpus_id,
        idempotency_key or None,
        services.quotas.admit_job(caller, model),
    )
    if caller.shares:
        left = await run_in_threadpool(services.quotas.queued, caller)
        tell(request.scope, lambda: left)
    if is_new:
        with logs.about(job_id=job.id):
            log.info("job %s: accepted", job.id)
        # After the answer: a job on disk is safe, and Redis may take its time.
        background.add_task(in_redis, services, enqueue, services, job.id)
    response.headers["Location"] = f"/jobs/{job.id}"
    started = await run_in_threadpool(_started, services.corpora, services.devices, job)
    if started.corpus is not None:
        started.corpus.warnings[:0] = way.warnings
        started.corpus.sources = way.sources
    return started


async def _take_text(request: Request, services: Services) -> tuple[Asked, _Way]:
    limit = services.settings.max_upload_bytes
    async with receive_text(
        request,
        services.corpora,
        limit,
        TrainForm.model_fields,
        lambda fields: validated(TrainForm, fields),
        services.forms,
    ) as received:
        asked = received.options
        options = asked.options()
        # Bytes are trained on as they were sent.
        as_sent = options.symbols == "bytes"
        corpora, scans = services.corpora, services.scans
        async with one_text(received, corpora, scans, limit, as_sent=as_sent) as text:
            options = await run_sync(_with_parts, options, text, limiter=scans)
            with services.quotas.corpus(caller_of(request.scope)) as admit:
                corpus_id, _report = await run_sync(
                    corpora.add,
                    text.upload,
                    options.symbols,
                    lambda scan: feasibility.check(
                        services.models, services.devices, options, scan
                    ),
                    admit,
                    limiter=scans,
                )
    return (asked.model, options, corpus_id), _Way(
        received.warnings, CorpusSources.of(text.made_of)
    )


def _with_parts(options: TrainingOptions, text: OneText) -> TrainingOptions:
    """The options with the parts of the text, if it is of several styles. Raises Problem, 422."""
    if options.styles is None:
        return options
    with _told_of_parts():
        if options.styles == EACH_FILE:
            parts = parts_of_files(text.made_of.parts if text.made_of else [])
        else:
            parts = options.parts
        # All that was written of it is on the disk then.
        text.upload.read().close()
        spans_of(text.upload.path, options.symbols, parts)
    return replace(options, styles=written_parts(parts))


@contextmanager
def _told_of_parts() -> Iterator[None]:
    """Raises Problem, 422, for parts that a text does not have."""
    try:
        yield
    except WrongParts as error:
        raise unprocessable("styles", str(error), error.code) from None
    except CorpusError:
        raise
    except ValueError as error:
        raise unprocessable("styles", str(error)) from None


async def _take_request(request: Request, services: Services) -> Asked:
    fields = query_fields(request, TrainRequest.model_fields)
    values = await read_json(request)
    if twice := fields.keys() & values.keys():
        raise repeated_fields(twice)
    asked = validated(TrainRequest, fields | values)
    options = asked.options()
    try:
        scan = await run_sync(
            services.corpora.scan, asked.corpus_id, options.symbols, limiter=services.scans
        )
        if options.styles == EACH_FILE:
            raise unprocessable(
                "styles",
                "must name the parts of a corpus, as in austen:717584,lovecraft:448612 (bytes)",
            )
        if options.styles:
            with _told_of_parts():
                await run_sync(
                    services.corpora.spans,
                    asked.corpus_id,
                    options.symbols,
                    options.parts,
                    limiter=services.scans,
                )
    except UnknownCorpus:
        raise unprocessable(
            "corpus_id", "is unknown; GET /corpora lists all corpora", "unknown_corpus"
        ) from None
    except CorpusDamaged as error:
        raise unprocessable(
            "corpus_id", "names a damaged text: upload it again", error.code
        ) from None
    await run_in_threadpool(feasibility.check, services.models, services.devices, options, scan)
    return asked.model, options, asked.corpus_id


def _create_job(
    jobs: JobStore,
    corpora: CorpusStore,
    model: str,
    options: TrainingOptions,
    corpus_id: str,
    key: str | None,
    admit: Admit,
) -> tuple[Job, bool]:
    made: Job | None = None
    try:
        with corpora.kept(corpus_id):
            job, is_new = jobs.create(model, corpus_id, options.to_json(), key, admit)
            if is_new:
                made = job
            elif job.spec_damage is None:
                _check_same(job, (model, options, corpus_id))
        return job, is_new
    except UnknownCorpus:
        if made:
            # Another host deleted the corpus in the same moment.
            made.request_cancel()
        raise Problem(
            409, "corpus_deleted", "the corpus has just been deleted: upload it again"
        ) from None


def _check_same(job: Job, asked: Asked) -> None:
    """Raises Problem, 422: a key names a job that was asked for in another way."""
    first = TrainingOptions.from_json(job.spec.get("asked", job.spec["options"]))
    if (job.model, first, job.spec["corpus_id"]) != asked:
        raise unprocessable(
            "idempotency-key",
            f"was sent before with another request, which is job {job.id}: send a new key, or the "
            "same model, options and text",
            "idempotency_key_reused",
        )


def _started(corpora: CorpusStore, devices: DeviceStore, job: Job) -> StartedJob:
    corpus_id = job.spec["corpus_id"]
    corpus = None
    # Damaged ones are reported where they are needed.
    with suppress(UnknownCorpus, ValueError):
        options = TrainingOptions.from_json(job.spec["options"])
        report = corpora.scan(corpus_id, options.symbols).report
        seconds = feasibility.estimated_seconds(
            devices, report.distinct, report.characters, options
        )
        corpus = {"id": corpus_id, "estimated_seconds": seconds, **asdict(report)}
    return StartedJob.model_validate({**job.view(), "corpus": corpus})

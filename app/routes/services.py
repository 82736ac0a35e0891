"""The services that routes work with, as dependencies: stores, registry, queue, settings.

Made when the server starts and kept in ``app.state.services``. Only routes see all of them; the
functions that they call get what they need. Knows no route.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import anyio
from anyio.to_thread import run_sync
from fastapi import Depends, Request
from redis import RedisError

from app.engine.background import Background
from app.engine.callers import Caller, caller_of
from app.engine.corpus_runs import CorpusRuns
from app.engine.loaded import LoadedModels
from app.engine.native_step import NativeStep, cache_folder
from app.engine.states import StateSigner
from app.engine.streams import Streams
from app.http.allowances import tell
from app.http.problems import shutting_down
from app.routes.probes import Probe
from app.routes.quotas import Quotas
from app.routes.texts import Texts
from app.schemas.common import PathJob
from app.settings import ServerSettings
from models.checkpoints.registry import Registry
from models.storage import StorageAway
from worker import logs, turns
from worker.corpora import CorpusStore
from worker.devices import DeviceStore
from worker.jobs import Job, JobStore
from worker.queue import Queue
from worker.statuses import Statuses
from worker.vitals import Vitals

SCANS = 2
"""Texts that are scanned at once: each occupies a core."""

BUNDLES = 1
"""Models that are imported or exported at once: each takes about three times its size in memory."""

DOWNLOADS = 32
"""Models that are downloaded at once: each holds open the nine files of a checkpoint."""


REDIS_CALLS = 4
"""Requests that wait for Redis in a thread at once. It may hang, and other work needs threads."""

REDIS_SECONDS = 1.0
"""For which an answer waits for Redis."""

log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """``stopping`` is set when the server drains: endless answers end, and no text begins.

    ``forms`` is held by the request whose form is being parsed.
    """

    settings: ServerSettings
    queue: Queue
    jobs: JobStore
    statuses: Statuses
    corpora: CorpusStore
    devices: DeviceStore
    models: Registry
    loaded: LoadedModels
    streams: Streams
    background: Background
    texts: Texts
    quotas: Quotas
    forms: anyio.Lock
    scans: anyio.CapacityLimiter
    bundles: anyio.CapacityLimiter
    downloads: anyio.CapacityLimiter
    redis_calls: anyio.CapacityLimiter
    redis_probe: Probe[int | None]
    storage_probe: Probe[int | None]
    vitals_probe: Probe[list[Vitals] | None]
    stopping: asyncio.Event


def open_services(settings: ServerSettings) -> Services:
    """Opens the data directory, on the event loop that will serve. Needs no Redis."""
    data = settings.data
    storage = data.storage
    models = Registry(data.models, storage)
    loaded = LoadedModels(
        models,
        settings.model_memory_bytes,
        settings.prime_memory_bytes,
        NativeStep(settings.native, cache_folder()),
    )
    streams = Streams(settings.max_streams)
    queue = Queue(settings.redis_url, data.store_id(), settings.lease_seconds)
    jobs, corpora = JobStore(data.jobs, storage), CorpusStore(data.corpora, storage)
    texts = Texts(loaded, streams, StateSigner(data.secret), CorpusRuns(corpora))
    return Services(
        settings=settings,
        queue=queue,
        jobs=jobs,
        statuses=Statuses(jobs),
        corpora=corpora,
        devices=DeviceStore(data.devices, storage),
        models=models,
        loaded=loaded,
        streams=streams,
        background=Background(models),
        texts=texts,
        quotas=Quotas(settings, jobs, corpora, models, streams),
        forms=anyio.Lock(),
        scans=anyio.CapacityLimiter(SCANS),
        bundles=anyio.CapacityLimiter(BUNDLES),
        downloads=anyio.CapacityLimiter(DOWNLOADS),
        redis_calls=anyio.CapacityLimiter(REDIS_CALLS),
        redis_probe=Probe(partial(_workers, queue)),
        storage_probe=Probe(partial(_models, jobs, corpora, models)),
        vitals_probe=Probe(partial(_vitals, queue)),
        stopping=asyncio.Event(),
    )


def _workers(queue: Queue) -> int | None:
    """The number of workers; None if Redis does not answer."""
    try:
        return queue.workers()
    except RedisError:
        return None


def _vitals(queue: Queue) -> list[Vitals] | None:
    """How the workers are; None if Redis does not answer."""
    try:
        return queue.vitals.all()
    except RedisError:
        return None


def _models(jobs: JobStore, corpora: CorpusStore, models: Registry) -> int | None:
    """The number of models; None if a store does not answer."""
    try:
        jobs.ids()
        corpora.ids()
        models.storage.refresh(models.root, is_needed=True)
        return sum(1 for _ in models.references())
    except (OSError, StorageAway) as error:
        log.error("the storage does not answer: %s", error)
        return None


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]


def _job(job_id: PathJob, services: ServicesDep) -> Job:
    return services.jobs.get(job_id)


JobDep = Annotated[Job, Depends(_job)]
"""The job that the path names; 404 without one."""


def writing_for(request: Request, services: Services) -> Caller:
    """Who asks for texts; the answer tells how many more there may be.

    Raises:
        Problem: 503, the server is stopping.
    """
    if services.stopping.is_set():
        raise shutting_down()
    caller = caller_of(request.scope)
    if caller.shares:
        tell(request.scope, lambda: services.quotas.streams(caller))
    return caller


def enqueue(services: Services, job_id: str) -> None:
    """Puts a job in the queue where its turn is. Raises redis.RedisError."""
    if services.queue.enqueue(job_id):
        turns.take(services.queue, services.jobs)


async def in_redis(services: Services, call: Callable[..., object], *args: object) -> None:
    """Makes a call to Redis in one of few threads; its failure is nobody's, since the disk has all.

    As a background task of an answer, or waited for, for no longer than ``a_moment``.
    """
    with suppress(RedisError):
        await run_sync(partial(call, *args), abandon_on_cancel=True, limiter=services.redis_calls)


def a_moment() -> anyio.CancelScope:
    """For what Redis should know before an answer, if it answers."""
    return anyio.move_on_after(REDIS_SECONDS)

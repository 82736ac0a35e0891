"""The services that routes work with, as dependencies: stores, registry, queue, settings.

Made when the server starts and kept in ``app.state.services``. Only routes see all of them; the
functions that they call get what they need. Knows no route.
"""

import asyncio
from dataclasses import dataclass
from typing import Annotated

import anyio
from fastapi import Depends, Request

from app.engine.background import Background
from app.engine.loaded import LoadedModels
from app.engine.states import StateSigner
from app.engine.streams import Streams
from app.routes.texts import Texts
from app.schemas.common import PathJob
from app.settings import ServerSettings
from models.checkpoints.registry import Registry
from worker.corpora import CorpusStore
from worker.devices import DeviceStore
from worker.jobs import Job, JobStore
from worker.queue import Queue

SCANS = 2
"""Texts that are scanned at once: each occupies a core."""

BUNDLES = 1
"""Models that are imported or exported at once: each takes about three times its size in memory."""

DOWNLOADS = 32
"""Models that are downloaded at once: each holds open the nine files of a checkpoint."""


@dataclass(frozen=True, slots=True)
class Services:
    """``stopping`` is set when the server is about to stop: endless answers should end then."""

    settings: ServerSettings
    queue: Queue
    jobs: JobStore
    corpora: CorpusStore
    devices: DeviceStore
    models: Registry
    loaded: LoadedModels
    streams: Streams
    background: Background
    texts: Texts
    scans: anyio.CapacityLimiter
    bundles: anyio.CapacityLimiter
    downloads: anyio.CapacityLimiter
    stopping: asyncio.Event


def open_services(settings: ServerSettings) -> Services:
    """Opens the data directory, on the event loop that will serve. Needs no Redis."""
    data = settings.data
    models = Registry(data.models)
    loaded = LoadedModels(models, settings.model_memory_bytes)
    streams = Streams(settings.max_streams)
    return Services(
        settings=settings,
        queue=Queue(settings.redis_url),
        jobs=JobStore(data.jobs),
        corpora=CorpusStore(data.corpora),
        devices=DeviceStore(data.devices),
        models=models,
        loaded=loaded,
        streams=streams,
        background=Background(models),
        texts=Texts(loaded, streams, StateSigner(data.secret)),
        scans=anyio.CapacityLimiter(SCANS),
        bundles=anyio.CapacityLimiter(BUNDLES),
        downloads=anyio.CapacityLimiter(DOWNLOADS),
        stopping=asyncio.Event(),
    )


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]


def _job(job_id: PathJob, services: ServicesDep) -> Job:
    return services.jobs.get(job_id)


JobDep = Annotated[Job, Depends(_job)]
"""The job that the path names; 404 without one."""

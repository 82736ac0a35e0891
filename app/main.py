"""Assembles the application: routers, guard, envelope, OpenAPI, and the reconciler beside them.

Knows the parts, not how they work.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse
from redis import RedisError

from app import __version__
from app.access.guard import Guard
from app.access.keys import KeyRing
from app.access.rates import Rates
from app.access.table import needed_for
from app.http import handlers, problems
from app.http.bodiless import Bodiless
from app.http.compression import Compressed
from app.http.envelope import Envelope
from app.http.error_page import error_page
from app.http.mounted import Mounted
from app.routes import (
    corpora,
    downloads,
    health,
    inside,
    jobs,
    metrics,
    models,
    names,
    pages,
    sample,
    train,
    widget,
    workers,
)
from app.routes.dialects import answers, ollama, openai
from app.routes.services import Services, open_services
from app.server.admission import most_connections, share_of
from app.server.sockets import open_files
from app.settings import ServerSettings
from models import pretrained
from models.places import sweep_written
from models.storage import StorageAway
from worker import logs
from worker.reconciler import LOST_SECONDS, Reconciler

RECONCILE_SECONDS = 2.0
SWEEP_SECONDS = 60.0

DIALECT_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"description": "What is wrong, in the shape of the other tool."}},
}

EVENT_FIELDS = {
    "data": "JSON; its members depend on the event.",
    "event": "Kind of the event.",
    "id": "Id to resume after, as Last-Event-ID.",
    "retry": "Milliseconds after which to connect again.",
}
"""Fields of a server-sent event, which FastAPI does not describe."""

DESCRIPTION = """\
Character-level recurrent networks as a service: send a text, watch a network learn it, and stream
new text in its style.

    curl --data-binary @linux.txt 'http://localhost:8000/train?model=linux'

Losses are nats per character, times are seconds, timestamps are RFC 3339 in UTC. Errors are RFC
9457 `application/problem+json`. An unknown field is refused, an empty one counts as absent.
"""

log = logs.logger(__name__)


def create_app(settings: ServerSettings) -> FastAPI:
    """Makes the server for a data directory and a Redis, which need not answer yet."""
    rates = Rates(settings.redis_url)
    app = _Application(
        title="charloom",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_lifespan(settings, rates),
        # FastAPI's pages load scripts from a CDN.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.settings = settings
    for router in (
        # First: a browser that navigates gets the page, other requests fall through to the API.
        pages.router,
        train.router,
        jobs.router,
        corpora.router,
        models.router,
        downloads.router,
        sample.router,
        names.router,
        widget.router,
        inside.router,
        openai.router,
        ollama.router,
        workers.router,
        health.router,
        metrics.router,
    ):
        app.include_router(router)
    app.add_api_route("/", _welcome, response_class=PlainTextResponse, include_in_schema=False)
    handlers.add_handlers(app, {"/v1/": answers.error, "/api/": ollama.error}, error_page)
    # The last added is the outermost; app.access.guard explains the order.
    app.add_middleware(Compressed)
    app.add_middleware(Bodiless)
    app.add_middleware(
        Guard,
        keys=KeyRing.parse(settings.api_keys.get_secret_value()),
        bound_to=settings.host,
        hosts=settings.hosts,
        origins=settings.cors_origins,
        is_public=settings.public == "sample",
        public_rate=settings.public_rate,
        public_streams=settings.public_streams,
        key_rate=settings.key_rate,
        streams=settings.quota_streams,
        connections=share_of(most_connections(open_files()), settings.quota_connections),
        rates=rates,
    )
    app.add_middleware(Mounted, root=settings.root_path)
    app.add_middleware(Envelope)
    return app


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """FastAPI's document, with our errors in place of its own."""
        if self.openapi_schema is None:
            has_keys = bool(self.state.settings.api_keys.get_secret_value())
            dialects = self.state.error_shapes
            self.openapi_schema = _with_problems(super().openapi(), dialects, has_keys)
        return self.openapi_schema


def _with_problems(
    schema: dict[str, Any], dialects: Collection[str], has_keys: bool
) -> dict[str, Any]:
    """Documents the errors of every endpoint; below ``dialects`` they have another shape."""
    schemas = schema["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= problems.schemas()
    if has_keys:
        schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, operations in schema["paths"].items():
        is_dialect = path.startswith(tuple(dialects))
        for method, operation in operations.items():
            answers = operation["responses"]
            _describe_events(answers)
            for status, answer in answers.items():
                if answer["description"] == "Successful Response":
                    answer["description"] = HTTPStatus(int(status)).phrase
            wants_key = needed_for(method.upper(), path) != "nothing"
            # 403 also for an unknown Host header.
            refusals = {403, *((401, 429) if wants_key else ())}
            if wants_key and has_keys:
                operation["security"] = [{"key": []}]
            if "422" in answers:
                refusals.add(422)
            if any(parameter["in"] == "query" for parameter in operation.get("parameters", ())):
                refusals.add(414)
            if is_dialect:
                refusals |= {400, 404, 413, 503}
            for status, answer in problems.responses(*sorted(refusals)).items():
                if is_dialect:
                    answer["content"] = {"application/json": {"schema": DIALECT_ERROR}}
                answers[str(status)] = answer
    return schema


def _describe_events(answers: dict[str, Any]) -> None:
    events = answers.get("200", {}).get("content", {}).get("text/event-stream", {})
    for name, field in events.get("itemSchema", {}).get("properties", {}).items():
        field.setdefault("description", EVENT_FIELDS[name])


def _lifespan(settings: ServerSettings, rates: Rates) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services = app.state.services = await _opened(settings)
        stopped = threading.Event()
        reconciler = threading.Thread(
            target=_reconcile,
            args=(services, stopped),
            name="reconciler",
        )
        reconciler.start()
        sweeping = asyncio.create_task(services.loaded.keep_swept())
        try:
            yield
        finally:
            sweeping.cancel()
            stopped.set()
            await run_in_threadpool(reconciler.join)
            await run_in_threadpool(services.streams.stop)
            await run_in_threadpool(services.background.close)
            await rates.close()

    return lifespan


async def _opened(settings: ServerSettings) -> Services:
    try:
        services = open_services(settings)
        await run_in_threadpool(_sweep, services)
        if settings.pretrained:
            await run_in_threadpool(
                pretrained.install, services.models, settings.pretrained, _do_without
            )
    except Exception as error:
        if isinstance(error, OSError):
            where = error.filename or settings.data.root
            log.error("cannot start: %s: %s", where, error.strerror)
        else:
            log.exception("cannot start")
        # uvicorn would print the traceback through all of its floors.
        logging.getLogger("uvicorn.error").disabled = True
        raise
    return services


def _do_without(name: str, error: Exception) -> None:
    log.warning("serving without the shipped %s, until the next start: %s", name, error)


def _reconcile(services: Services, stopped: threading.Event) -> None:
    reconciler = Reconciler(services.queue, services.jobs, services.settings.quota_running)
    swept = time.monotonic()
    while not stopped.wait(RECONCILE_SECONDS):
        if time.monotonic() - swept > SWEEP_SECONDS:
            _sweep(services)
            swept = time.monotonic()
        try:
            reconciler.reconcile(LOST_SECONDS)
        except RedisError:
            # The queue has logged it.
            continue
        except Exception:
            log.exception("the search for lost jobs failed; it will be repeated")


def _sweep(services: Services) -> None:
    """Removes what killed processes left half written; leaving it harms nobody."""
    for store in (services.jobs, services.corpora, services.models):
        try:
            store.sweep()
            sweep_written(store.root)
        except OSError as error:
            log.warning("cannot remove what killed processes left: %s", error)
    with suppress(StorageAway):
        services.models.storage.sweep()


async def _welcome(request: Request) -> str:
    base = str(request.base_url).rstrip("/")
    return f"""\
charloom: character-level recurrent networks as a service.

Train a network on a text, under a name; the answer is a job:
  curl --data-binary @linux.txt '{base}/train?model=linux'

Watch it learn:
  curl -N {base}/jobs/ID/events

Stream new text, even while it is still training:
  curl -N '{base}/sample?model=linux'

All endpoints: {base}/openapi.json
"""

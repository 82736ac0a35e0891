"""The application, put together: routers, what every answer has, what runs beside them.

Knows what there is, not how any of it works.
"""

import logging
import re
import secrets
import threading
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse
from redis import RedisError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import (
    dialect_ollama,
    dialect_openai,
    health,
    inside,
    metrics,
    names,
    pages,
    problems,
    registry,
    sampling,
    training,
)
from app.access import needed_for
from app.guard import Guard
from app.services import open_services
from app.settings import Settings
from models import pretrained
from worker import logs
from worker.reconciler import Reconciler

RECONCILE_SECONDS = 2.0
LOST_SECONDS = 2.0
"""How long a job must be alive nowhere before it is put back into the queue."""

DEFAULT_HEADERS = {
    # Nothing of an answer that is opened as a page may run, load or be framed.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""What an answer says unless its route says otherwise."""

DIALECT_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {}}}

DESCRIPTION = """\
Character-level recurrent networks as a service: send a text, watch a network learn it, stream new
text in its style.

    curl --data-binary @linux.txt 'http://localhost:8000/train?model=linux'

Losses are nats per character, times are seconds, timestamps RFC 3339 in UTC. Errors are RFC 9457
`application/problem+json`. An unknown field is refused, an empty one is absent.
"""

_log = logging.getLogger(__name__)
_access = logging.getLogger("charloom.access")


def create_app(settings: Settings) -> FastAPI:
    """The server for a data directory and a Redis, which need not answer yet."""
    app = _Application(
        title="charloom",
        version="0.1.0",
        description=DESCRIPTION,
        lifespan=_lifespan(settings),
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.settings = settings
    for router in (
        # First: a browser that navigates gets the page, all others fall through to the API.
        pages.router,
        training.uploads,
        training.router,
        registry.router,
        sampling.router,
        names.router,
        inside.router,
        dialect_openai.router,
        dialect_ollama.router,
        health.router,
        metrics.router,
    ):
        app.include_router(router)
    app.add_api_route("/", _welcome, response_class=PlainTextResponse, include_in_schema=False)
    problems.add_handlers(app, {"/v1/": dialect_openai.error, "/api/": dialect_ollama.error})
    app.add_middleware(Guard, settings=settings)
    # Added last, it is outermost: app.guard says why.
    app.add_middleware(_Envelope)
    return app


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """FastAPI's, with our errors in place of its own."""
        if self.openapi_schema is None:
            has_keys = bool(self.state.settings.api_keys.get_secret_value())
            dialects = self.state.error_shapes
            self.openapi_schema = _with_problems(super().openapi(), dialects, has_keys)
        return self.openapi_schema


def _with_problems(
    schema: dict[str, Any], dialects: Collection[str], has_keys: bool
) -> dict[str, Any]:
    """Documents what every address may answer. Below those prefixes errors are a dialect's."""
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
            wants_key = needed_for(method.upper(), path) != "nothing"
            # 403 also to who calls the server by a name that it does not go by.
            refusals = {403, *((401, 429) if wants_key else ())}
            if wants_key and has_keys:
                operation["security"] = [{"key": []}]
            if "422" in answers:
                refusals.add(422)
            if is_dialect:
                refusals |= {400, 404, 413, 503}
            for status, answer in problems.responses(*sorted(refusals)).items():
                if is_dialect:
                    answer["content"] = {"application/json": {"schema": DIALECT_ERROR}}
                answers[str(status)] = answer
    return schema


def _lifespan(settings: Settings) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services = app.state.services = open_services(settings)
        await run_in_threadpool(services.corpora.sweep)
        if settings.pretrained:
            await run_in_threadpool(pretrained.install, services.models, settings.pretrained)
        stopped = threading.Event()
        reconciler = threading.Thread(
            target=_reconcile,
            args=(Reconciler(services.queue, services.jobs), stopped),
            name="reconciler",
        )
        reconciler.start()
        try:
            yield
        finally:
            stopped.set()
            await run_in_threadpool(reconciler.join)
            await run_in_threadpool(services.streams.stop)
            await run_in_threadpool(services.background.close)

    return lifespan


def _reconcile(reconciler: Reconciler, stopped: threading.Event) -> None:
    while not stopped.wait(RECONCILE_SECONDS):
        try:
            reconciler.reconcile(LOST_SECONDS)
        except RedisError:
            # The queue has said so.
            continue
        except Exception:
            _log.exception("looking for lost jobs failed; it is tried again")


async def _welcome(request: Request) -> str:
    base = str(request.base_url).rstrip("/")
    return f"""\
charloom: character-level recurrent networks as a service.

Train a network on a text, which takes a model's name and answers with a job:
  curl --data-binary @linux.txt '{base}/train?model=linux'

Watch it learn:
  curl -N {base}/jobs/ID/events

Stream new text, even while it is still learning:
  curl -N '{base}/sample?model=linux'

All there is: {base}/openapi.json
"""


class _Envelope:
    """What every answer has: an id, safe headers, a line in the log. A mistake becomes a 500."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope).get("x-request-id"))
        with logs.about(request_id=request_id):
            await self._answer(scope, receive, send, request_id)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        began = time.perf_counter()
        status = 0

        async def send_wrapped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                for name, value in DEFAULT_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, receive, send_wrapped)
        except ClientDisconnect:
            _log.debug("the client of request %s left", request_id)
        except Exception:
            _log.exception("request %s failed", request_id)
            # An answer that has begun is cut off by the server, which sees that it has no end.
            if not status:
                answer = problems.response(scope, problems.unexpected())
                await answer(scope, receive, send_wrapped)
        finally:
            _log_access(scope, status, time.perf_counter() - began, request_id)


def _request_id(given: str | None) -> str:
    """The client's own id for it, if it is one that a log can hold."""
    if given and re.fullmatch(r"[\w.-]{1,64}", given, re.ASCII):
        return given
    return secrets.token_hex(8)


def _log_access(scope: Scope, status: int, seconds: float, request_id: str) -> None:
    # The path as it came: what is percent-encoded can't forge a line. No query: it holds primes.
    path = scope["raw_path"].decode("ascii", "replace")
    level = logging.DEBUG if path in ("/healthz", "/readyz") else logging.INFO
    method, outcome, milliseconds = scope["method"], status or "left", round(seconds * 1000)
    client = scope.get("client")
    fields = {
        "method": method,
        "path": path,
        "status": outcome,
        "milliseconds": milliseconds,
        "client": client[0] if client else None,
    }
    _access.log(
        level,
        "%s %s %s %d ms %s",
        *(method, path, outcome, milliseconds, request_id),
        extra={"fields": fields},
    )

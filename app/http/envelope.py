"""Gives every answer an id, safe headers and a line in the log. Knows no route."""

import logging
import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http import handlers, problems
from worker import logs

DEFAULT_HEADERS = {
    # An answer that is opened as a page may run nothing, load nothing, and not be framed.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of an answer whose route does not set its own."""

log = logs.logger(__name__)
access = logs.logger("access")


class Envelope:
    """Gives every answer an id, safe headers and a line in the log. A mistake becomes a 500."""

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
                _seal(MutableHeaders(scope=message), request_id)
            await send(message)

        try:
            await self.app(scope, receive, send_wrapped)
        except ClientDisconnect:
            log.debug("the client of request %s disconnected", request_id)
        except Exception:
            log.exception("request %s failed", request_id)
            # uvicorn cuts off an answer that has begun and does not end.
            if not status:
                answer = problems.response(scope, handlers.unexpected())
                await answer(scope, receive, send_wrapped)
        finally:
            _log_access(scope, status, time.perf_counter() - began, request_id)


def refused(problem: problems.Problem, client: tuple[str, int] | None) -> Response:
    """The answer to bytes that are not a request: sealed and logged like any other."""
    request_id = _request_id(None)
    response = problem.response()
    _seal(response.headers, request_id)
    scope = {"method": "-", "raw_path": b"-", "client": client}
    _log_access(scope, problem.status_code, 0.0, request_id)
    return response


def _seal(headers: MutableHeaders, request_id: str) -> None:
    headers["X-Request-ID"] = request_id
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    for name, value in DEFAULT_HEADERS.items():
        headers.setdefault(name, value)


def _request_id(given: str | None) -> str:
    """The client's own id for a request, if it is safe in a log."""
    if given and re.fullmatch(r"[\w.-]{1,64}", given, re.ASCII):
        return given
    return secrets.token_hex(8)


def _log_access(scope: Scope, status: int, seconds: float, request_id: str) -> None:
    # The path as it was sent: percent-encoded text cannot forge a line. No query: it has primes.
    path = scope["raw_path"].decode("ascii", "replace")
    level = logging.DEBUG if path in ("/healthz", "/readyz") else logging.INFO
    client = scope.get("client")
    fields = {
        "method": scope["method"],
        "path": path,
        "status": status or "left",
        "milliseconds": round(seconds * 1000),
        "client": client[0] if client else None,
    }
    line = f"{fields['method']} {path} {fields['status']} {fields['milliseconds']} ms {request_id}"
    access.log(level, "%s", line, extra={"fields": fields})

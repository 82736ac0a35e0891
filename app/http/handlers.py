"""Turns exceptions of the layers below into problems, in one place. Knows no route."""

import errno
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.http.problems import RETRY_SECONDS, FieldError, Page, Problem, Shape, response
from app.http.validation import invalid_request
from models.errors import (
    CharloomError,
    Conflict,
    Damaged,
    Invalid,
    NotFound,
    Oversized,
    TooMany,
    Unavailable,
)
from worker import logs

_ANSWERED = (CharloomError, HTTPException, OSError, RequestValidationError)

_STATUSES: dict[type[CharloomError], int] = {
    NotFound: 404,
    # As good as missing: all that a client can do is to delete it.
    Damaged: 404,
    Conflict: 409,
    Oversized: 413,
    Invalid: 422,
    # Before the kind that it is one of.
    TooMany: 429,
    Unavailable: 503,
}

_WORDS = {
    "damaged_corpus": "the corpus is damaged on the disk: upload it again",
    "damaged_model": "the model's files are damaged: delete the model and train it again",
    "no_ngram": "this model has no n-gram baseline; models trained on this server have one",
    "not_a_network": "name:ngram is a model's n-gram baseline: it can only be sampled",
    "unknown_corpus": "corpus not found; GET /corpora lists all corpora",
    "unknown_job": "job not found; GET /jobs lists all jobs",
    "unknown_model": "model not found; GET /models lists all models",
}
"""Words that name endpoints, which an exception of the layers below cannot know."""

_FRAMEWORK = {
    400: ("malformed_body", "the body does not match its content type"),
    404: ("unknown_endpoint", "nothing is at this URL; GET /openapi.json lists all endpoints"),
    413: ("body_too_large", "the body is larger than this endpoint accepts"),
}
"""Codes and words for the errors that FastAPI and Starlette raise."""

log = logs.logger(__name__)


def add_handlers(app: FastAPI, shapes: Mapping[str, Shape], page: Page) -> None:
    """Makes an application answer every expected error as a problem.

    Args:
        app: the application.
        shapes: path prefixes below which errors have a shape of their own instead of RFC 9457's.
        page: makes a page of a problem, where a browser navigates.
    """
    app.state.error_shapes = shapes
    app.state.error_page = page
    for kind in _ANSWERED:
        app.add_exception_handler(kind, _answer)


async def _answer(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 204:
        # Not an error: a dependency found that there is nothing to send.
        return Response(status_code=204)
    return response(request.scope, _problem(request, error))


def _problem(request: Request, error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return invalid_request(request, error)
        case HTTPException():
            return _of_the_framework(request, error)
        case CharloomError():
            return of_error(error)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            log.error("the disk is full")
            return Problem(
                507, "disk_full", "the server's disk is full and nothing was kept: try again later"
            )
    raise error


def of_error(error: CharloomError) -> Problem:
    """The problem that an error of the layers below becomes."""
    if isinstance(error, Damaged):
        log.error("damaged: %s", error)
    if isinstance(error, Invalid):
        # Its words are a sentence of their own, where a field's continue the field's name.
        errors = [FieldError(field="corpus", message=str(error))]
        return Problem(422, error.code, str(error), errors=errors)
    status = next(status for kind, status in _STATUSES.items() if isinstance(error, kind))
    headers = {"Retry-After": RETRY_SECONDS} if isinstance(error, Unavailable) else None
    return Problem(status, error.code, _WORDS.get(error.code, str(error)), headers=headers)


def unexpected() -> Problem:
    """500, for an error that no code expects; the log has the traceback."""
    return Problem(500, "internal_error", "internal server error; see the server log")


def _of_the_framework(request: Request, error: HTTPException) -> Problem:
    """Gives an error of FastAPI or Starlette a code and our words."""
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
        words = f"this endpoint accepts {headers['Allow']}"
        return Problem(405, "method_not_allowed", words, headers=headers)
    code, words = _FRAMEWORK.get(error.status_code, ("internal_error", error.detail))
    return Problem(error.status_code, code, words, headers=headers)


def _methods(request: Request) -> set[str]:
    # Each method of a path may be a route of its own; the router names only the first one's.
    found: set[str] = set()
    for context in iter_route_contexts(request.app.routes):
        # The route itself, not FastAPI's stand-in: a page's route matches only requests for HTML.
        if context.original_route.matches(request.scope)[0] != Match.NONE:
            found |= context.methods or set()
    return found | ({"HEAD"} if "GET" in found else set())

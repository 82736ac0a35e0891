"""Exceptions of the layers below become problems."""

import errno
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.http.problems import Problem, Shape, _log, response, unprocessable
from app.http.validation import invalid_request
from models.checkpoints.registry import NoNGram, NotANetwork, UnknownModel
from models.files import CheckpointError
from models.text.cleaning import CorpusError
from worker.corpora import CorpusInUse, UnknownCorpus
from worker.jobs import Ended, NameTaken, NotEnded, UnknownJob


def add_handlers(app: FastAPI, shapes: Mapping[str, Shape]) -> None:
    """Makes an application answer all its errors this way, but for what nobody foresaw.

    Args:
        app: the application.
        shapes: how errors are said below paths that begin so, if not as RFC 9457.
    """
    app.state.error_shapes = shapes
    for kind in _ANSWERED:
        app.add_exception_handler(kind, _answer)


_GONE: dict[type[Exception], str] = {
    UnknownJob: "there is no job of this id: GET /jobs lists those that there are",
    UnknownModel: "there is no model of this name: GET /models lists those that there are",
    NoNGram: "this model has no n-gram baseline to sample: models have one that were trained here",
    NotANetwork: "name:ngram is the n-gram baseline of a model: it can be sampled, and that is all",
    UnknownCorpus: "there is no corpus of this id: GET /corpora lists those that there are",
}
_ANSWERED: tuple[type[Exception], ...] = (
    *_GONE,
    CheckpointError,
    CorpusError,
    CorpusInUse,
    Ended,
    HTTPException,
    NameTaken,
    NotEnded,
    OSError,
    RequestValidationError,
)


async def _answer(request: Request, error: Exception) -> Response:
    return response(request.scope, _problem(request, error))


def _problem(request: Request, error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return invalid_request(request, error)
        case HTTPException():
            return _of_the_framework(request, error)
        case UnknownJob() | UnknownModel() | UnknownCorpus():
            return Problem(404, _GONE[type(error)])
        case CheckpointError():
            _log.error("a damaged checkpoint: %s", error)
            return Problem(404, "this model's files are damaged: delete it and train it anew")
        case NameTaken() | Ended() | NotEnded() | CorpusInUse():
            return Problem(409, str(error))
        case CorpusError():
            return unprocessable("corpus", str(error))
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            _log.error("the disk is full")
            return Problem(507, "the server's disk is full: nothing was kept. Try again later")
    raise error


def unexpected() -> Problem:
    """500, for what nobody foresaw; the log has it."""
    return Problem(500, "the server made a mistake, and its log says which")


def _of_the_framework(request: Request, error: HTTPException) -> Problem:
    """What FastAPI raises itself gets better words; what a route raised keeps its own."""
    headers = dict(error.headers or {})
    detail = error.detail
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
        detail = f"this address answers to {headers['Allow']}"
    return Problem(error.status_code, _WORDS.get(detail, detail), headers=headers)


_WORDS = {
    "Not Found": "there is nothing at this address: GET /openapi.json lists what there is",
    "Content Too Large": "the body is larger than this address takes",
    "There was an error parsing the body": "the body can't be read as its content type says",
}
"""FastAPI's and Starlette's own, and ours instead."""


def _methods(request: Request) -> set[str]:
    # A path's methods may be routes of their own; the router only names the first one's.
    found: set[str] = set()
    for context in iter_route_contexts(request.app.routes):
        # The route itself, not FastAPI's stand-in for it: a page's does not match who wants none.
        if context.original_route.matches(request.scope)[0] != Match.NONE:
            found |= context.methods or set()
    return found

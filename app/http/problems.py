"""Every error as RFC 9457 ``application/problem+json``, in words that say what to do.

One table says what an exception of the layers below becomes. Nothing of what a client sent comes
back, but for the name of a field that is not known. Where other tools' clients ask, errors have
the shape that these read. Knows no route.
"""

import errno
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar, get_args

from annotated_types import Ge, Gt, Le, Lt
from fastapi import FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from models.checkpoints.registry import NoNGram, NotANetwork, UnknownModel
from models.files import CheckpointError
from models.text.cleaning import CorpusError
from worker.corpora import CorpusInUse, UnknownCorpus
from worker.jobs import Ended, NameTaken, NotEnded, UnknownJob

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 20

_log = logging.getLogger(__name__)

Fields = Mapping[str, FieldInfo]
SomeModel = TypeVar("SomeModel", bound=BaseModel)


class FieldError(BaseModel):
    """What is wrong with one field of a request."""

    field: str
    message: str


class ProblemDetails(BaseModel):
    """RFC 9457; ``errors`` comes with 422 alone."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "about:blank",
                "title": "Unprocessable Content",
                "status": 422,
                "detail": "num_layers must be a whole number from 1 to 8",
                "errors": [
                    {"field": "num_layers", "message": "must be a whole number from 1 to 8"}
                ],
            }
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldError] | None = None


class Problem(HTTPException):
    """An error to answer with. ``more`` are members of its own beside RFC 9457's."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(status, detail, headers)
        self.errors = errors
        self.more = dict(more or {})

    def response(self) -> Response:
        details = ProblemDetails(
            title=_title(self.status_code),
            status=self.status_code,
            detail=self.detail,
            errors=list(self.errors) or None,
        )
        return JSONResponse(
            details.model_dump(exclude_none=True) | self.more,
            self.status_code,
            self.headers,
            MEDIA_TYPE,
        )


def unprocessable(field: str, message: str) -> Problem:
    """422 for one field."""
    return _unprocessable([FieldError(field=field, message=message)])


def _unprocessable(errors: list[FieldError]) -> Problem:
    detail = "; ".join(f"{error.field} {error.message}" for error in errors)
    return Problem(422, detail, errors=errors)


def unknown_fields(names: Iterable[str], known: Iterable[str]) -> Problem:
    """422 for fields that a route does not have; ``known`` are those that it has."""
    message = _not_known(known)
    return _unprocessable(
        [FieldError(field=_shown(name), message=message) for name in list(names)[:MAX_ERRORS]]
    )


def repeated_fields(names: Iterable[str]) -> Problem:
    """422 for fields that came more than once."""
    return _unprocessable(
        [
            FieldError(field=_shown(name), message="was sent more than once: send it once")
            for name in list(names)[:MAX_ERRORS]
        ]
    )


def validated(model: type[SomeModel], values: Mapping[str, Any]) -> SomeModel:
    """The values as a model.

    Raises:
        Problem: 422 that names every field that is wrong, and how.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        errors = [
            _field_error(e["loc"], e, model.model_fields)
            for e in error.errors(include_url=False, include_input=False)[:MAX_ERRORS]
        ]
        raise _unprocessable(errors) from None


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route declares of its errors, for OpenAPI."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    return {status: {"description": _title(status), "content": content} for status in statuses}


def schemas() -> dict[str, Any]:
    """What ``responses`` refers to."""
    schema = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions: dict[str, Any] = schema.pop("$defs")
    return definitions | {ProblemDetails.__name__: schema}


Shape = Callable[[Problem], Response]


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


def response(scope: Scope, problem: Problem) -> Response:
    """A problem as the clients of an address read it."""
    path = f"{scope['path']}/"
    for prefix, shape in scope["app"].state.error_shapes.items():
        if path.startswith(prefix):
            answer: Response = shape(problem)
            return answer
    return problem.response()


def _problem(request: Request, error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return _invalid_request(request, error)
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


def _invalid_request(request: Request, error: RequestValidationError) -> Problem:
    route = request.scope.get("route")
    errors = []
    for e in error.errors()[:MAX_ERRORS]:
        place, *location = e["loc"]
        if e["type"] == "json_invalid":
            return invalid_json(e["ctx"]["error"])
        fields = fields_of(route, place) if isinstance(route, APIRoute) else {}
        errors.append(_field_error(location or [place], e, fields))
    return _unprocessable(errors)


def invalid_json(reason: str) -> Problem:
    """422 for a body that is no JSON."""
    return unprocessable("body", f"is not JSON: {reason}")


def fields_of(route: APIRoute, place: str) -> Fields:
    """The fields that a route takes in its query or its body, those of dependencies too."""
    fields: dict[str, FieldInfo] = {}
    for dependant in _dependants(route.dependant):
        for parameter in dependant.query_params if place == "query" else dependant.body_params:
            annotation = parameter.field_info.annotation
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                fields |= annotation.model_fields
            else:
                fields[parameter.alias] = parameter.field_info
    return fields


def _dependants(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for below in dependant.dependencies:
        yield from _dependants(below)


def _field_error(location: Sequence[int | str], error: Any, fields: Fields) -> FieldError:
    name = ".".join(_shown(str(part)) for part in location) or "body"
    return FieldError(field=name, message=_explain(error, fields, str((*location, "")[0])))


def _explain(error: Any, fields: Fields, name: str) -> str:
    """What is wrong and what would be right, in words of our own.

    Args:
        error: one of pydantic's.
        fields: those that there are; ``name`` is the one in error.
    """
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return _not_known(fields)
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(context["error"])
    if kind in ("literal_error", "enum"):
        return f"must be {context['expected']}".replace("'", "")
    if kind == "string_too_long":
        return f"must have at most {context['max_length']:,} characters"
    if kind == "string_pattern_mismatch":
        return f"must match {context['pattern']}"
    if kind.startswith("string_"):
        return "must be text"
    if kind.startswith("bool_"):
        return "must be true or false"
    if kind.startswith(_NUMBER_ERRORS):
        return _explain_number(fields.get(name), kind)
    message = str(error["msg"])
    return message[:1].lower() + message[1:]


_NUMBER_ERRORS = ("int_", "float_", "finite_number", "greater_than", "less_than")


def _explain_number(field: FieldInfo | None, kind: str) -> str:
    annotation = field.annotation if field else None
    whole = kind.startswith("int_") or int in (annotation, *get_args(annotation))
    message = "must be a whole number" if whole else "must be a number"
    limits = field.metadata if field else []
    low = next((limit.ge for limit in limits if isinstance(limit, Ge)), None)
    above = next((limit.gt for limit in limits if isinstance(limit, Gt)), None)
    high = next((limit.le for limit in limits if isinstance(limit, Le)), None)
    below = next((limit.lt for limit in limits if isinstance(limit, Lt)), None)
    if low is not None and high is not None:
        return f"{message} from {low} to {high}"
    words = {"at least": low, "above": above, "at most": high, "below": below}
    bounds = [f"{word} {limit}" for word, limit in words.items() if limit is not None]
    return " ".join([message, " and ".join(bounds)]).strip()


def _not_known(known: Iterable[str]) -> str:
    names = ", ".join(known)
    return f"is not known here; there are {names}" if names else "is not known: there are none here"


def _shown(name: str) -> str:
    """A client's field name, if it looks like one."""
    return name if re.fullmatch(r"[\w.\[\]-]{1,64}", name, re.ASCII) else "(a name that is none)"


def _title(status: int) -> str:
    # RFC 9110's phrases; those of older Pythons are the RFCs' before it.
    newer = {413: "Content Too Large", 422: "Unprocessable Content"}
    return newer.get(status) or HTTPStatus(status).phrase

"""Every error as RFC 9457 ``application/problem+json``, in words that say what to do.

One table says what an exception of the layers below becomes. Nothing of what a client sent comes
back, but for the name of a field that is not known. Where other tools' clients ask, errors have
the shape that these read. Knows no route.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.types import Scope

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 20

_log = logging.getLogger(__name__)


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
    return invalid_fields([FieldError(field=field, message=message)])


def invalid_fields(errors: list[FieldError]) -> Problem:
    detail = "; ".join(f"{error.field} {error.message}" for error in errors)
    return Problem(422, detail, errors=errors)


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


def response(scope: Scope, problem: Problem) -> Response:
    """A problem as the clients of an address read it."""
    path = f"{scope['path']}/"
    for prefix, shape in scope["app"].state.error_shapes.items():
        if path.startswith(prefix):
            answer: Response = shape(problem)
            return answer
    return problem.response()


def _title(status: int) -> str:
    # RFC 9110's phrases; those of older Pythons are the RFCs' before it.
    newer = {413: "Content Too Large", 422: "Unprocessable Content"}
    return newer.get(status) or HTTPStatus(status).phrase

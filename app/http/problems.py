"""Errors as RFC 9457 ``application/problem+json``, in words that say what to do.

A problem's ``code`` is for programs and never changes; its words may. No problem echoes a client's
input, except the name of an unknown field. The dialects of other tools' clients have error shapes
of their own. Knows no route.
"""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.types import Scope

from app.http.allowances import Allowance, fields

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 20

RETRY_SECONDS = "2"
"""After which a client may try again, where a request cannot be served now."""

CODES = {
    "body_too_large": "The body, or the JSON in it, is larger than the endpoint takes.",
    "body_too_slow": "The body arrived too slowly.",
    "corpus_deleted": "The corpus of the job was deleted.",
    "corpus_in_use": "An unfinished job still needs the corpus.",
    "cross_origin": "A page of another origin may not call this endpoint.",
    "damaged_corpus": "The files of the corpus are damaged: upload it again.",
    "damaged_job": "The files of the job are damaged, so it can only be deleted.",
    "damaged_model": "The files of the model are damaged.",
    "disk_full": "The server has no disk space left; nothing was kept.",
    "head_too_large": "The headers of the request are too long, or too many.",
    "idempotency_key_reused": "The Idempotency-Key was sent before with another request.",
    "insufficient_scope": "The API key lacks the scope that the endpoint needs.",
    "internal_error": "The server failed; its log says why.",
    "invalid_corpus": "The text cannot be trained on.",
    "invalid_fields": "Fields of the request are missing, unknown or out of range; see errors.",
    "invalid_json": "The body is not a JSON object.",
    "invalid_key": "The API key is not one of this server's.",
    "invalid_state": "continue_from is not a state of this server, or was changed.",
    "job_ended": "The job has ended already.",
    "job_not_ended": "The job has not ended yet.",
    "lock_lost": "The server was frozen in the middle of the request, and another has taken over.",
    "malformed_body": "The body cannot be read as its content type says.",
    "malformed_request": "The bytes sent are not a request as RFC 9112 has it.",
    "method_not_allowed": "The endpoint has other methods; see the Allow header.",
    "missing_key": "The endpoint needs an API key.",
    "model_busy": "A checkpoint of the model is just being written.",
    "model_exists": "A model has the name already.",
    "name_taken": "A job of this model name is not finished.",
    "no_corpus": "The corpus of the model is not at hand, or too large.",
    "no_models": "There are no models yet.",
    "no_ngram": "The model has no n-gram baseline.",
    "not_a_network": "The n-gram baseline was named where a network is needed.",
    "not_acceptable": "The endpoint has no media type that the Accept header takes.",
    "not_enough_memory": "The network does not fit into the machine's memory.",
    "not_finite": "The network's numbers overflow.",
    "not_ready": "Storage or Redis does not answer.",
    "not_utf8": "The text is not UTF-8.",
    "out_of_time": "The work took longer than it may.",
    "range_not_satisfiable": "The file ends before the range that was asked for.",
    "rate_limited": "Too many requests; see the Retry-After header.",
    "server_busy": "Too many texts wait to be read.",
    "server_full": "The server writes as many texts as it can.",
    "shutting_down": "The server is shutting down.",
    "state_of_another_checkpoint": "continue_from belongs to another checkpoint.",
    "storage_away": "The bucket that keeps everything does not answer.",
    "too_many_bytes": "One key or IP address keeps as many bytes of corpora as it may.",
    "too_many_connections": "One key has as many requests open as it may.",
    "too_many_jobs": "One key or IP address has as many jobs waiting as it may.",
    "too_many_models": "One key or IP address keeps as many models as it may.",
    "too_many_streams": "One key or IP address is being sent as many texts as it may.",
    "unknown_characters": "A text has characters that the model does not know.",
    "unknown_corpus": "No corpus has this id.",
    "unknown_endpoint": "Nothing is at this URL.",
    "unknown_host": "The Host header does not name this server.",
    "unknown_job": "No job has this id.",
    "unknown_model": "No model has this name or tag.",
    "unknown_style": "The model does not have this style, or the mix of styles is malformed.",
    "unsupported_media_type": "The body's content type or encoding is not taken.",
    "unsupported_version": "The server speaks HTTP/1.1.",
    "url_too_long": "The URL is too long: send long fields in a body.",
    "wrong_parts": "The text does not have the parts that styles names.",
}
"""The meaning of each code; ``docs/http-api.md`` has the same list."""


class FieldError(BaseModel):
    """An error in one field of a request."""

    field: str = Field(description="The field.")
    message: str = Field(description="What is wrong with it.")


class ProblemDetails(BaseModel):
    """RFC 9457, with a stable ``code`` for programs; only 422 has ``errors``."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "about:blank",
                "title": "Unprocessable Content",
                "status": 422,
                "code": "invalid_fields",
                "detail": "num_layers must be a whole number from 1 to 8",
                "errors": [
                    {"field": "num_layers", "message": "must be a whole number from 1 to 8"}
                ],
            }
        }
    )

    type: str = Field("about:blank", description="Always about:blank.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The status.")
    code: str = Field(description="What is wrong, for programs: it never changes.")
    detail: str = Field(description="What is wrong and what to do, in words that may change.")
    errors: list[FieldError] | None = Field(
        None, description="Each field that is wrong; of a 422 only."
    )


class Problem(HTTPException):
    """An error to answer with: its ``code`` is one of ``CODES``.

    ``more`` holds members beyond RFC 9457's.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(status, detail, headers)
        self.code = code
        self.errors = errors
        self.more = dict(more or {})

    @property
    def title(self) -> str:
        return title_of(self.status_code)

    def response(self) -> Response:
        details = ProblemDetails(
            title=self.title,
            status=self.status_code,
            code=self.code,
            detail=self.detail,
            errors=list(self.errors) or None,
        )
        return JSONResponse(
            details.model_dump(exclude_none=True) | self.more,
            self.status_code,
            self.headers,
            MEDIA_TYPE,
        )


def unprocessable(field: str, message: str, code: str = "invalid_fields") -> Problem:
    """422 for one field."""
    return invalid_fields([FieldError(field=field, message=message)], code)


def invalid_fields(errors: list[FieldError], code: str = "invalid_fields") -> Problem:
    """422 for several fields."""
    detail = "; ".join(f"{error.field} {error.message}" for error in errors)
    return Problem(422, code, detail, errors=errors)


def too_many(code: str, detail: str, seconds: int, *limits: Allowance) -> Problem:
    """429: whoever asks has as much as one may."""
    return Problem(429, code, detail, headers={"Retry-After": str(seconds)} | fields(*limits))


def shutting_down(more: Mapping[str, object] | None = None) -> Problem:
    """503: another server, or this one once it is back, does what was asked for."""
    return Problem(
        503,
        "shutting_down",
        "the server is shutting down: ask again, for another one or once it is back",
        headers={"Retry-After": RETRY_SECONDS},
        more=more,
    )


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documents the errors of a route for OpenAPI."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    return {status: {"description": title_of(status), "content": content} for status in statuses}


def schemas() -> dict[str, Any]:
    """The schemas that ``responses`` refers to."""
    schema = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions: dict[str, Any] = schema.pop("$defs")
    return definitions | {ProblemDetails.__name__: schema}


Shape = Callable[[Problem], Response]


Page = Callable[[Scope, Problem], Response | None]


def response(scope: Scope, problem: Problem) -> Response:
    """A problem in the shape that clients of an endpoint expect: for browsers, a page."""
    path = f"{scope['path']}/"
    for prefix, shape in scope["app"].state.error_shapes.items():
        if path.startswith(prefix):
            answer: Response = shape(problem)
            return answer
    page: Response | None = scope["app"].state.error_page(scope, problem)
    return page or problem.response()


def title_of(status: int) -> str:
    """The status in words."""
    # RFC 9110's phrases; older Pythons have those of earlier RFCs.
    newer = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content"}
    return newer.get(status) or HTTPStatus(status).phrase

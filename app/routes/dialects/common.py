"""Shared by the dialects of other tools' clients: lenient requests, several texts, errors.

These clients send fields that mean nothing here, which are ignored, and each expects one shape of
errors. A model continues a text and does not chat: of a chat it continues the last message of the
user, to which nothing is added. Knows neither dialect.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator

from app.http.bodies import read_json
from app.http.problems import RETRY_SECONDS, Problem, shutting_down
from app.http.validation import validated
from app.routes.texts import Opened
from app.schemas.common import MAX_SEED, Fields
from app.schemas.texts import MAX_BODY, MAX_PRIME, SampleQuery
from models.checkpoints.reference import Reference
from models.decoding.sampling import MAX_STOP, MAX_STOPS

DEFAULT_LENGTH = 1000
MAX_LENGTH = 1_000_000
LEAST_TEMPERATURE = 0.01
"""Anything lower but above 0 is raised to this."""

LEAST_TOP_P = 1e-6
"""Clients send 0 for the most likely character only."""

ForeignJson = dict[str, Any]
"""An answer whose members are documented by another tool."""

SomeRequest = TypeVar("SomeRequest", bound=BaseModel)


class Lenient(Fields):
    """Known fields of a request; others are ignored, and an empty one counts as absent."""

    model_config = ConfigDict(extra="ignore")


async def received(request: Request, fields: type[SomeRequest]) -> SomeRequest:
    """Reads the body as fields, whatever its content type. Raises Problem."""
    return validated(fields, await read_json(request, MAX_BODY))


def listed_stops(stop: Any) -> Any:
    """A field's stop strings without empty ones. Raises ValueError."""
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(one, str) for one in stops):
        raise ValueError("must be a string, or a list of strings")
    if any(len(one) > MAX_STOP for one in stops):
        raise ValueError(f"must be strings of at most {MAX_STOP} characters")
    return [one for one in stops if one]


def last_of_user(messages: Any) -> str:
    """The text of a chat's last message of the user. Raises ValueError."""
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        raise ValueError("must be a list of objects with role and content")
    for message in reversed(messages):
        if message.get("role") == "user":
            return _content(message.get("content"))
    raise ValueError(
        "must have a message with the role user, whose content is the text to continue"
    )


def _content(content: Any) -> str:
    """The text of a message: a string, or a list of parts. Raises ValueError."""
    parts: list[Any] = content if isinstance(content, list) else [content or ""]
    texts: list[Any] = [part.get("text") if _is_text(part) else part for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("must have content that is text, or a list of parts of the type text")
    return "".join(texts)


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text"


Chat = Annotated[
    str,
    Field(
        max_length=MAX_PRIME,
        description="Messages; the text of the last one of the user is continued.",
    ),
    BeforeValidator(last_of_user),
    WithJsonSchema(
        {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["role"],
                "properties": {
                    "role": {"type": "string", "description": "Who says it, such as user."},
                    "content": {"description": "Text, or a list of parts of the type text."},
                },
            },
        }
    ),
]
"""A chat, of which the text to continue is kept."""


class ForeignQuery(SampleQuery):
    """A text that a dialect asks for: it may have no characters, and any number of stops."""

    length: int = Field(DEFAULT_LENGTH, ge=0, le=MAX_LENGTH)
    stop: list[str] = Field([])

    @field_validator("stop")
    @classmethod
    def _few_characters(cls, stops: list[str]) -> list[str]:
        if sum(map(len, stops)) > MAX_STOPS:
            raise ValueError(f"must be strings of at most {MAX_STOPS:,} characters in all")
        return stops


def warmth(temperature: float) -> float:
    return max(temperature, LEAST_TEMPERATURE) if temperature else 0.0


def sample_query(*, model: str, seed: int | None, **fields: Any) -> SampleQuery:
    """Makes a query from a dialect's fields, checked by the rules of ``/sample``.

    The prime is echoed as the model read it; the dialect decides whether to send it.

    Raises:
        UnknownModel: the name cannot be a model's.
        Problem: 422 for a field out of range.
    """
    seed = None if seed is None else seed % (MAX_SEED + 1)
    asked = {"model": str(Reference.from_client(model)), "seed": seed, "echo": True, **fields}
    return validated(ForeignQuery, asked)


def failure(opened: Opened) -> Problem | None:
    """The reason that an ended text is incomplete; None if it is complete."""
    if not opened.broke_off:
        return None
    if opened.reader.finish_reason == "shutdown":
        return shutting_down()
    if opened.reader.gave_way:
        return Problem(
            503,
            "server_full",
            "the text was read too slowly for a full server: read it as it comes",
            headers={"Retry-After": RETRY_SECONDS},
        )
    return Problem(422, "not_finite", "the network's output overflowed: try another prompt")


def said(problem: Problem, names: Mapping[str, str]) -> str:
    """A problem in one sentence, with the dialect's names for our fields."""
    if not problem.errors:
        return str(problem.detail)
    errors = (f"{names.get(error.field, error.field)} {error.message}" for error in problem.errors)
    return "; ".join(errors)


def status(problem: Problem) -> int:
    """The status in both dialects, which answer 400 to any invalid request."""
    return 400 if problem.status_code in (415, 422) else problem.status_code

"""Fields that several schemas share. Knows no route."""

import math
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Path
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from models.decoding.sampling import MAX_TEMPERATURES
from models.styles import MAX_MIX

Listed = TypeVar("Listed")

MAX_TEXT = 20_000
"""Most characters of a text to inspect or score."""


def _temperature(value: float) -> float:
    if value != 0 and not 0.01 <= value <= 10:
        raise ValueError("must be 0 (always the most likely character) or from 0.01 to 10")
    return value


def _temperatures(given: Any) -> list[float]:
    """Reads a number, a list of them, or words with commas between them. Raises ValueError."""
    listed = given if isinstance(given, list) else [given]
    if listed == [""]:
        # In a query, an empty value counts as absent.
        return [1.0]
    parts = [part for one in listed for part in (one.split(",") if isinstance(one, str) else [one])]
    if not 1 <= len(parts) <= MAX_TEMPERATURES:
        raise ValueError(f"must be a number, or a list of 1 to {MAX_TEMPERATURES} numbers")
    return [_temperature(_number(part)) for part in parts]


def _number(given: Any) -> float:
    if not isinstance(given, bool):
        with suppress(TypeError, ValueError, OverflowError):
            if math.isfinite(number := float(given)):
                return number
    raise ValueError("must be a number, or a list of numbers")


class Matches:
    """Checks that a text matches a pattern; ``words`` are the error if it does not."""

    def __init__(self, pattern: str, words: str) -> None:
        self._pattern = re.compile(pattern, re.ASCII)
        self._words = words

    def _check(self, value: str) -> str:
        if not self._pattern.fullmatch(value):
            raise ValueError(self._words)
        return value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(schema) | {"pattern": f"^{self._pattern.pattern}$"}


_NAME = Matches(
    r"[a-z0-9][a-z0-9_-]{0,62}",
    "must be lower-case letters, digits, '_' and '-', 63 at most, starting with a letter or digit",
)
_REFERENCE = Matches(
    r"[a-z0-9][a-z0-9_-]{0,62}(:[a-z0-9][a-z0-9._-]{0,62})?",
    "must be name or name:tag, of lower-case letters, digits, '_' and '-' "
    "(in a tag also '.'), 63 at most each, starting with a letter or digit",
)
_CORPUS = Matches(r"[0-9a-f]{64}", "must be the id of a corpus; GET /corpora lists all corpora")
_JOB = Matches(r"[0-9a-f]{22}", "must be the id of a job; GET /jobs lists all jobs")

ModelName = Annotated[str, _NAME, Field(examples=["linux"])]
ModelReference = Annotated[str, _REFERENCE, Field(examples=["linux"])]
CorpusId = Annotated[str, _CORPUS]
JobId = Annotated[str, _JOB]
Temperature = Annotated[float, AfterValidator(_temperature), Field(allow_inf_nan=False)]
_A_TEMPERATURE = {"type": "number", "minimum": 0, "maximum": 10}
Temperatures = Annotated[
    list[float],
    BeforeValidator(_temperatures),
    WithJsonSchema(
        {
            "anyOf": [
                _A_TEMPERATURE,
                {"type": "array", "maxItems": MAX_TEMPERATURES, "items": _A_TEMPERATURE},
            ]
        }
    ),
]
MAX_SEED = (1 << 63) - 1
Style = Annotated[
    Annotated[str, Field(max_length=MAX_MIX)] | None,
    Field(
        description="Style of a model of several texts, or a mix such as "
        "`austen:0.7,lovecraft:0.3`; by default what they have in common.",
    ),
]
Unknown = Literal["error", "skip"]
"""What to do with characters that a model does not know: refuse the text or skip them."""
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


PathModel = Annotated[str, Path(description="Model, as name or name:tag.")]
PathLayer = Annotated[int, Path(description="Layer, from 0.")]
PathCell = Annotated[int, Path(description="Cell of that layer, from 0.")]
PathJob = Annotated[str, Path(description="Id of the job.")]
PathCorpus = Annotated[str, Path(description="Id of the corpus.")]


class Fields(BaseModel):
    """Fields that a client sets. Others are refused, and an empty one counts as absent."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if value not in ("", None)}


class Page(Fields):
    """A page of a list: ``cursor`` is the ``next`` of the page before."""

    limit: int = Field(50, ge=1, le=100, description="Maximum number of items.")


def page(
    found: list[Listed], limit: int, place: Callable[[Listed], str]
) -> tuple[list[Listed], str | None]:
    """The items of a page of a list, and the cursor of the next page if there is one.

    Args:
        found: the items after this page's cursor, one more than ``limit`` if there are more.
        limit: items of a page.
        place: the cursor that stands for an item.
    """
    items = found[:limit]
    return items, place(items[-1]) if len(found) > limit else None


class BaselineView(BaseModel):
    """Loss of an n-gram model on the same validation text."""

    ngram_order: int | None = Field(
        None, description="Order of the n-gram model: it sees one character less."
    )
    val_loss: float | None = Field(None, description="Its validation loss, in nats per character.")
    bpc: float | None = Field(None, description="The same in bits per character.")


class Readiness(BaseModel):
    """Whether Redis answers, and the numbers of workers and models."""

    redis: bool = Field(description="Whether Redis answers.")
    workers: int | None = Field(description="Workers that live; null while Redis is away.")
    models: int | None = Field(
        description="Models that can be sampled; null while the disk is away."
    )

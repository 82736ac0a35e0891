"""Requests for text and names, and the answers. Knows no route."""

from typing import Literal, NotRequired, TypedDict

from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.engine.states import MAX_TOKEN
from app.schemas.common import MAX_SEED, Fields, ModelReference, Temperature, Unknown
from models.decoding.batch import FinishReason
from models.decoding.graph import Precision
from models.text.doctor import LIST_LINE


class SampleResult(BaseModel):
    """A text that is done. ``characters`` counts those written, the prime not among them."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "text": "What say you, sir?",
                "finish_reason": "length",
                "characters": 18,
                "seed": 7,
                "model": "shakespeare",
                "digest": "5f0f3b6e0f6d6d0c1b5a3e9a8f1f5c0a7b8d2f5a6c4e3b2a1908f7e6d5c4b3a2",
                "precision": "fast",
                "seconds": 0.004,
                "state": "…",
            }
        }
    )

    text: str
    finish_reason: Literal["length", "stop", "shutdown", "error"]
    characters: int
    seed: int
    model: str
    digest: str
    precision: Literal["exact", "fast"]
    seconds: float
    state: str | None
    probabilities: list[dict[str, object]] | None = None


class TextCharacter(TypedDict):
    """One character of a text, its probability, and the likeliest ones there."""

    char: str
    probability: float
    top: list[tuple[str, float]]


class TextEvent(TypedDict):
    """Of a ``text`` event; ``characters`` where probabilities were asked for."""

    text: str
    characters: NotRequired[list[TextCharacter]]


class TextEnd(TypedDict):
    """Of the ``end`` event."""

    finish_reason: FinishReason | None
    characters: int
    seed: int
    digest: str
    seconds: float
    state: str | None


class TextAnswer(TextEnd):
    """What ``SampleResult`` documents, as it is sent but for ``probabilities``."""

    text: str
    model: str
    precision: Precision


class NamesResult(BaseModel):
    """Names, how many were asked for, and how many lines were drawn to find them.

    ``novel``: a name is not a line of the corpus.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "names": [{"name": "Kaelin", "novel": True}],
                "seed": 7,
                "asked": 1,
                "drawn": 2,
            }
        }
    )

    names: list[dict[str, object]]
    seed: int
    asked: int
    drawn: int


MAX_PRIME = 16_384
MAX_BODY = MAX_TOKEN + (1 << 20)
MAX_STOPS, MAX_STOP = 4, 256


class SampleQuery(Fields):
    """What decides a text."""

    model: ModelReference | None = Field(
        None, description="may be left out while there is only one model"
    )
    prime: str = Field(
        "", max_length=MAX_PRIME, description="text to read first", examples=["ROMEO:"]
    )
    temperature: Temperature = Field(1.0, description="0 is argmax", examples=[0.8])
    length: int = Field(
        1000, ge=1, le=1_000_000, description="characters to write, the prime not among them"
    )
    seed: int | None = Field(
        None, ge=0, le=MAX_SEED, description="the same seed gives the same text"
    )
    top_k: int | None = Field(None, ge=1, le=1 << 20, description="choose among so many")
    top_p: float | None = Field(None, gt=0, le=1, description="choose among so much probability")
    stop: list[str] = Field([], max_length=MAX_STOPS, description="the text ends before the first")
    echo: bool = Field(False, description="puts the prime in front")
    unknown: Unknown = Field(
        "error", description="what to do with characters that the model does not know"
    )
    precision: Precision | None = Field(
        None, description="exact is fp32, fast is int8; the model's best if left out"
    )
    probabilities: int = Field(
        0, ge=0, le=20, description="alternatives to tell of each character; SSE and JSON only"
    )

    @field_validator("stop")
    @classmethod
    def _sound_stops(cls, stops: list[str]) -> list[str]:
        if not all(0 < len(stop) <= MAX_STOP for stop in stops):
            raise ValueError(f"must be strings of 1 to {MAX_STOP} characters")
        return stops


class SampleRequest(SampleQuery):
    """The same as JSON, and the way on from an earlier answer."""

    continue_from: str | None = Field(
        None, max_length=MAX_TOKEN, description="the `state` of an earlier answer"
    )


LONGEST = 200


class NamesQuery(Fields):
    """Which names, and how many."""

    model: ModelReference | None = Field(
        None, description="may be left out while there is only one model", examples=["names"]
    )
    count: int = Field(10, ge=1, le=1000)
    starts_with: str = Field("", max_length=LONGEST, examples=["Ka"])
    min_length: int = Field(1, ge=1, le=LONGEST, description="characters")
    max_length: int = Field(LIST_LINE, ge=1, le=LONGEST, description="characters")
    novel: bool = Field(False, description="none that the model has read")
    temperature: Temperature = Field(1.0, description="0 is argmax", examples=[0.8])
    seed: int | None = Field(
        None, ge=0, le=MAX_SEED, description="the same seed gives the same names"
    )

    @field_validator("starts_with")
    @classmethod
    def _within_a_line(cls, text: str) -> str:
        if "\n" in text or "\r" in text:
            raise ValueError("must be the beginning of one line")
        return text

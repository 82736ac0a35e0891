"""Requests for text and names, and their answers. Knows no route."""

from typing import Literal, NotRequired, TypedDict

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from app.engine.states import MAX_TOKEN
from app.schemas.common import (
    MAX_SEED,
    Fields,
    ModelReference,
    Style,
    Temperature,
    Temperatures,
    Unknown,
)
from models.decoding.graph import Precision
from models.decoding.sampling import MAX_STOP
from models.decoding.stream import FinishReason
from models.text.copies import LONGEST
from models.text.doctor import LIST_LINE


class ListedCharacter(BaseModel):
    """A character of a text, its probability, and the most likely characters in its place."""

    char: str = Field(description="The character.")
    probability: float = Field(description="Its probability.")
    top: list[tuple[str, float]] = Field(
        description="The likeliest characters in its place, each with its probability."
    )


class SampleResult(BaseModel):
    """A finished text. ``characters`` counts those written, without the prime.

    ``probabilities`` are those of each of them, if they were requested. ``copies_avoided`` says how
    often another one had to be taken, if ``max_copied`` was.
    """

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

    text: str = Field(description="The text.")
    finish_reason: Literal["length", "stop", "copied", "shutdown", "error"] = Field(
        description="Why it ended."
    )
    characters: int = Field(description="Characters written, without the prime.")
    seed: int = Field(description="Seed; the same one gives the same text.")
    model: str = Field(description="Model, as name:tag.")
    digest: str = Field(description="Hash of the checkpoint.")
    precision: Literal["exact", "fast"] = Field(description="Precision that it was computed in.")
    seconds: float = Field(description="Time that it took.")
    state: str | None = Field(
        description="What `continue_from` takes to continue the text; null if nothing was written."
    )
    copies_avoided: int | None = Field(
        None, description="How often `max_copied` took another character."
    )
    probabilities: list[ListedCharacter] | None = Field(
        None, description="Of each character, if they were asked for."
    )


class TextCharacter(TypedDict):
    """A ``ListedCharacter`` as it is sent."""

    char: str
    probability: float
    top: list[tuple[str, float]]


class TextEvent(TypedDict):
    """Data of a ``text`` event; with ``characters`` if probabilities were requested."""

    text: str
    characters: NotRequired[list[TextCharacter]]


class CopiesAvoided(TypedDict):
    """What the end of a text says if ``max_copied`` was requested."""

    copies_avoided: NotRequired[int]


class TextEnd(CopiesAvoided):
    """Data of the ``end`` event."""

    finish_reason: FinishReason | None
    characters: int
    seed: int
    digest: str
    seconds: float
    state: str | None


class TextAnswer(TextEnd):
    """A ``SampleResult`` as it is sent, without ``probabilities``."""

    text: str
    model: str
    precision: Precision


class NamesResult(BaseModel):
    """Names, the number asked for, and the number of lines drawn to find them.

    A name is ``novel`` if it is not a line of the corpus. ``complete`` says that all were found.
    Otherwise ``finish_reason`` says why not: ``limit`` is a bound on the draws, so that the same
    request ends there again; ``timeout`` is one on time.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "names": [{"name": "Kaelin", "novel": True}],
                "seed": 7,
                "asked": 1,
                "drawn": 2,
                "complete": True,
                "finish_reason": "count",
            }
        }
    )

    names: list[dict[str, object]] = Field(
        description="The names, each with whether it is `novel`."
    )
    seed: int = Field(description="Seed; the same one gives the same names.")
    asked: int = Field(description="Names asked for.")
    drawn: int = Field(description="Lines drawn to find them.")
    complete: bool = Field(description="Whether all were found.")
    finish_reason: Literal["count", "limit", "timeout", "shutdown", "error"] | None = Field(
        description="Why the search ended."
    )


MAX_PRIME = 16_384
MAX_BODY = MAX_TOKEN + (1 << 20)
MAX_STOPS = 4
MAX_TEXTS = 128
"""Most texts that one request asks for."""


class SampleQuery(Fields):
    """Everything that determines a text."""

    model: ModelReference | None = Field(
        None, description="Model to use; optional if there is only one."
    )
    prime: str = Field(
        "", max_length=MAX_PRIME, description="Text to continue.", examples=["ROMEO:"]
    )
    temperature: Temperatures = Field(
        [1.0],
        description="Randomness; 0 always takes the most likely character. Several are gone "
        "through, each for an equal part of the length.",
        examples=[0.8],
    )
    length: int = Field(
        1000, ge=1, le=1_000_000, description="Characters to write, without the prime."
    )
    seed: int | None = Field(
        None, ge=0, le=MAX_SEED, description="Random seed; the same one gives the same text."
    )
    top_k: int | None = Field(
        None, ge=1, le=1 << 20, description="Number of most likely characters to sample from."
    )
    top_p: float | None = Field(
        None, gt=0, le=1, description="Nucleus sampling: smallest set with this total probability."
    )
    stop: list[str] = Field(
        [], max_length=MAX_STOPS, description="Strings; the text ends before the first one found."
    )
    echo: bool = Field(False, description="Start the answer with the prime.")
    style: Style = None
    max_copied: int | None = Field(
        None,
        ge=1,
        le=LONGEST,
        description="Most characters in a row that may stand so in the model's corpus.",
    )
    unknown: Unknown = Field(
        "error", description="Whether unknown characters are an error or skipped."
    )
    precision: Precision | None = Field(
        None, description="Either exact (fp32) or fast (int8); by default the model's best."
    )
    probabilities: int = Field(
        0, ge=0, le=20, description="Alternatives to list for each character; not in plain text."
    )

    @field_validator("stop")
    @classmethod
    def _sound_stops(cls, stops: list[str]) -> list[str]:
        if not all(0 < len(stop) <= MAX_STOP for stop in stops):
            raise ValueError(f"must be strings of 1 to {MAX_STOP} characters")
        return stops


class SampleRequest(SampleQuery):
    """The same fields as JSON, and the state of an earlier answer to continue from."""

    continue_from: str | None = Field(
        None, max_length=MAX_TOKEN, description="The state of an earlier answer."
    )
    primes: list[str] | None = Field(
        None,
        min_length=1,
        max_length=MAX_TEXTS,
        description="In place of prime: a text for each of them, answered as JSON lines.",
    )

    @field_validator("primes")
    @classmethod
    def _short_primes(cls, primes: list[str] | None) -> list[str] | None:
        if any(len(prime) > MAX_PRIME for prime in primes or ()):
            raise ValueError(f"must be texts of at most {MAX_PRIME:,} characters")
        return primes


LONGEST = 200


class NamesQuery(Fields):
    """Which names to draw, and how many."""

    model: ModelReference | None = Field(
        None, description="Model to use; optional if there is only one.", examples=["names"]
    )
    count: int = Field(10, ge=1, le=1000, description="Names to draw.")
    starts_with: str = Field(
        "", max_length=LONGEST, description="Beginning of every name.", examples=["Ka"]
    )
    contains: str = Field("", max_length=LONGEST, description="Part of every name.")
    ends_with: str = Field("", max_length=LONGEST, description="End of every name.", examples=["a"])
    pattern: str = Field(
        "",
        max_length=LONGEST,
        description="What every name looks like: `?` is one character, `*` any number of them.",
        examples=["K?r*"],
    )
    min_length: int = Field(
        1, ge=1, le=LONGEST, description="Minimum length of a name, in characters."
    )
    max_length: int = Field(
        LIST_LINE, ge=1, le=LONGEST, description="Maximum length of a name, in characters."
    )
    novel: bool = Field(False, description="Draw only names that are not in the corpus.")
    temperature: Temperature = Field(
        1.0, description="Randomness; 0 always takes the most likely character.", examples=[0.8]
    )
    style: Style = None
    seed: int | None = Field(
        None, ge=0, le=MAX_SEED, description="Random seed; the same one gives the same names."
    )

    @field_validator("starts_with", "contains", "ends_with", "pattern")
    @classmethod
    def _within_a_line(cls, text: str, info: ValidationInfo) -> str:
        if len(f"{text}.".splitlines()) > 1:
            part = {"starts_with": "the beginning", "ends_with": "the end"}.get(
                info.field_name or "", "part"
            )
            raise ValueError(f"must be {part} of one line")
        return text

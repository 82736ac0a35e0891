"""Requests to look inside models, and their answers. Knows no route."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.common import (
    MAX_TEXT,
    Fields,
    ModelReference,
    Style,
    Temperatures,
    Unknown,
)
from models.decoding.sampling import MAX_SEED


class InspectedCharacter(BaseModel):
    """A character of the text.

    ``probability`` and ``loss`` are its own, before it was read; ``top`` (guesses for the next
    character) and ``activations`` (of the requested cells) are those after it was read. In a bytes
    model the probability is the product of the bytes', and all else belongs to the last byte.
    ``truth``, what the requested hypothesis says of the character, is there only if one was
    requested: 0 or 1, or a number; null where the character does not count.
    """

    char: str
    probability: float
    loss: float
    top: list[tuple[str, float]]
    activations: list[float]
    truth: float | None = None


class InspectionHead(BaseModel):
    """The part of an inspection that is about the whole text."""

    model: str
    digest: str
    layer: int
    cells: list[int]
    unknown: int
    seams: list[int]
    loss: float
    bpc: float


class Inspection(InspectionHead):
    """Losses are nats per character; ``unknown`` characters were left out.

    ``seams`` are the characters before which the network was put back into the zero state.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "shakespeare",
                "digest": "5f0f3b6e0f6d6d0c1b5a3e9a8f1f5c0a7b8d2f5a6c4e3b2a1908f7e6d5c4b3a2",
                "layer": 0,
                "cells": [6],
                "unknown": 0,
                "seams": [],
                "loss": 2.56237,
                "bpc": 3.696718,
                "characters": [
                    {
                        "char": "T",
                        "probability": 0.0649465,
                        "loss": 2.73419,
                        "top": [["h", 0.758084], ["o", 0.0915796]],
                        "activations": [0.741085],
                        "truth": 1.0,
                    },
                    {
                        "char": "o",
                        "probability": 0.0915796,
                        "loss": 2.39055,
                        "top": [[" ", 0.925267], ["o", 0.0389699]],
                        "activations": [0.727786],
                        "truth": 2.0,
                    },
                ],
            }
        }
    )

    characters: list[InspectedCharacter]


class RankedCell(BaseModel):
    """A cell that tracks something; ``sign`` is −1 if the cell is low where that is high.

    Where its activation times ``sign`` exceeds ``threshold`` times ``sign``, it says yes: for the
    share ``true_positive_rate`` of the characters where that holds, and ``false_positive_rate`` of
    the others. All three are null for numbers, and in findings of an earlier release.
    """

    layer: int
    cell: int
    score: float
    sign: Literal[-1, 1]
    threshold: float | None = None
    true_positive_rate: float | None = None
    false_positive_rate: float | None = None


class UnseenPassage(BaseModel):
    """Some whole lines of unseen text; ``style`` is that of the text they are from, if any."""

    text: str
    style: str | None


class TrackedHypothesis(BaseModel):
    """Cells that track one thing, best first, and the first one's activations on an excerpt.

    ``examples`` are the numbers of passages that the thing is in.
    """

    name: str
    title: str
    metric: Literal["auc", "correlation"]
    cells: list[RankedCell]
    excerpt: str
    activations: list[float]
    examples: list[int]


class CellRanking(BaseModel):
    """``share`` of the cells track something; null without a text to measure on.

    ``passages`` are of the half of the text that the cells were scored on.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "hypotheses": [
                    {
                        "name": "quotes",
                        "title": "inside quotes",
                        "metric": "auc",
                        "cells": [
                            {
                                "layer": 0,
                                "cell": 6,
                                "score": 0.918,
                                "sign": -1,
                                "threshold": -0.31,
                                "true_positive_rate": 0.93,
                                "false_positive_rate": 0.04,
                            }
                        ],
                        "excerpt": "We are",
                        "activations": [0.75, 0.73, 0.72, 0.68, 0.66, 0.65],
                        "examples": [0],
                    }
                ],
                "share": 0.0762,
                "passages": [{"text": "We are accounted poor citizens.\n", "style": "plays"}],
            }
        }
    )

    hypotheses: list[TrackedHypothesis] | None
    share: float | None
    passages: list[UnseenPassage] | None


class TrackedByCell(RankedCell):
    """Something that a cell tracks, and how many characters have it in each bin of a histogram.

    ``counts`` is null for numbers.
    """

    name: str
    title: str
    metric: Literal["auc", "correlation"]
    counts: list[int] | None


class CellStretch(BaseModel):
    """Some lines, and the cell's activation after each of their characters."""

    text: str
    activations: list[float]


class CellPortrait(BaseModel):
    """A cell on the passages of unseen text, each read from the zero state.

    ``counts`` is a histogram of its activations from -1 to 1; ``excited`` and ``quiet`` are the
    lines where it is highest and lowest on average, each from another passage. All are null while
    the cells are being searched.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "shakespeare",
                "digest": "5f0f3b6e0f6d6d0c1b5a3e9a8f1f5c0a7b8d2f5a6c4e3b2a1908f7e6d5c4b3a2",
                "layer": 0,
                "cell": 6,
                "tracks": [],
                "counts": [*[0] * 15, 2, 9, 4, 0, 0],
                "excited": [{"text": "We are", "activations": [0.7, 0.7, 0.7, 0.6, 0.6, 0.6]}],
                "quiet": [{"text": "citizens", "activations": [0.3] * 8}],
            }
        }
    )

    model: str
    digest: str
    layer: int
    cell: int
    tracks: list[TrackedByCell] | None
    counts: list[int] | None
    excited: list[CellStretch] | None
    quiet: list[CellStretch] | None


class AblatedText(BaseModel):
    """A text written with all cells, and one from the same random numbers without some."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "shakespeare",
                "digest": "5f0f3b6e0f6d6d0c1b5a3e9a8f1f5c0a7b8d2f5a6c4e3b2a1908f7e6d5c4b3a2",
                "layer": 1,
                "cells": [232],
                "seed": 7,
                "unknown": 0,
                "whole": "ROMEO:\nWhat say you",
                "ablated": "ROMEO:\nWhat, and you",
            }
        }
    )

    model: str
    digest: str
    layer: int
    cells: list[int]
    seed: int
    unknown: int
    whole: str
    ablated: str


class Score(BaseModel):
    """Nats and bits per known character, and the number of unknown ones."""

    model: str
    loss: float | None
    bpc: float | None
    unknown: int


class Scores(BaseModel):
    """``best`` needs the fewest bits for the whole text; an unknown character costs 20 bits."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "scores": [
                    {"model": "shakespeare", "loss": 1.4232, "bpc": 2.05325, "unknown": 0},
                    {"model": "linux", "loss": 3.33539, "bpc": 4.811957, "unknown": 0},
                ],
                "best": "shakespeare",
            }
        }
    )

    scores: list[Score]
    best: str | None


MAX_CELLS = 4096
MAX_MODELS = 8
MAX_SEAMS = 100
MAX_ABLATED = 2000
"""Most characters to write, and of the text to continue."""


class InspectRequest(Fields):
    """A text to inspect, and what to report."""

    text: str = Field(
        max_length=MAX_TEXT, description="Text to read.", examples=["To be, or not to be"]
    )
    top: int = Field(5, ge=0, le=20, description="Guesses to list after each character.")
    layer: int = Field(-1, ge=-8, le=7, description="Layer, from 0; -1 is the last.")
    cells: list[int] = Field([], max_length=MAX_CELLS, description="Cells of that layer to report.")
    seams: list[int] = Field(
        [],
        max_length=MAX_SEAMS,
        description="Characters, in order, before which the network begins anew.",
        examples=[[]],
    )
    hypothesis: str | None = Field(
        None,
        max_length=64,
        description="Something that cells may track, by name: tell where it holds.",
    )
    digits: int = Field(6, ge=2, le=6, description="Significant digits of the figures.")
    style: Style = None
    unknown: Unknown = Field(
        "error", description="Whether unknown characters are an error or skipped."
    )


class ScoreRequest(Fields):
    """A text, and the models to score it with."""

    text: str = Field(
        max_length=MAX_TEXT, description="Text to score.", examples=["To be, or not to be"]
    )
    models: list[ModelReference] = Field(
        min_length=1,
        max_length=MAX_MODELS,
        description="Models to compare.",
        examples=[["shakespeare", "linux"]],
    )
    style: Style = None
    unknown: Unknown = Field(
        "skip", description="Whether characters unknown to a model are an error or skipped."
    )


class AblateRequest(Fields):
    """Cells to switch off, and the text to write without them."""

    layer: int = Field(-1, ge=-8, le=7, description="Layer, from 0; -1 is the last.")
    cells: list[int] = Field(
        min_length=1,
        max_length=MAX_CELLS,
        description="Cells of that layer to switch off.",
        examples=[[0]],
    )
    prime: str = Field("", max_length=MAX_ABLATED, description="Text to continue.")
    length: int = Field(500, ge=1, le=MAX_ABLATED, description="Characters to write.")
    temperature: Temperatures = Field([1.0], description="Randomness, as in /sample.")
    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="Random seed of both texts.")
    style: Style = None
    unknown: Unknown = Field(
        "error", description="Whether unknown characters are an error or skipped."
    )

"""Requests to look inside models, and their answers. Knows no route."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.common import MAX_TEXT, Fields, ModelReference, Style, Unknown


class InspectedCharacter(BaseModel):
    """A character of the text.

    ``probability`` and ``loss`` are its own, before it was read; ``top`` (guesses for the next
    character) and ``activations`` (of the requested cells) are those after it was read. In a bytes
    model the probability is the product of the bytes', and all else belongs to the last byte.
    """

    char: str
    probability: float
    loss: float
    top: list[tuple[str, float]]
    activations: list[float]


class InspectionHead(BaseModel):
    """The part of an inspection that is about the whole text."""

    model: str
    digest: str
    layer: int
    cells: list[int]
    unknown: int
    loss: float
    bpc: float


class Inspection(InspectionHead):
    """Losses are nats per character; ``unknown`` characters were left out."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "shakespeare",
                "digest": "5f0f3b6e0f6d6d0c1b5a3e9a8f1f5c0a7b8d2f5a6c4e3b2a1908f7e6d5c4b3a2",
                "layer": 0,
                "cells": [6],
                "unknown": 0,
                "loss": 2.56237,
                "bpc": 3.696718,
                "characters": [
                    {
                        "char": "T",
                        "probability": 0.0649465,
                        "loss": 2.73419,
                        "top": [["h", 0.758084], ["o", 0.0915796]],
                        "activations": [0.741085],
                    },
                    {
                        "char": "o",
                        "probability": 0.0915796,
                        "loss": 2.39055,
                        "top": [[" ", 0.925267], ["o", 0.0389699]],
                        "activations": [0.727786],
                    },
                ],
            }
        }
    )

    characters: list[InspectedCharacter]


class RankedCell(BaseModel):
    """A cell that tracks something; ``sign`` is −1 if the cell is low where that is high."""

    layer: int
    cell: int
    score: float
    sign: Literal[-1, 1]


class TrackedHypothesis(BaseModel):
    """Cells that track one thing, best first, and the first one's activations on an excerpt."""

    name: str
    title: str
    metric: Literal["auc", "correlation"]
    cells: list[RankedCell]
    excerpt: str
    activations: list[float]


class CellRanking(BaseModel):
    """``share`` of the cells track something; null without a text to measure on."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "hypotheses": [
                    {
                        "name": "column",
                        "title": "position in the line",
                        "metric": "correlation",
                        "cells": [{"layer": 0, "cell": 6, "score": 0.918, "sign": -1}],
                        "excerpt": "We are",
                        "activations": [0.75, 0.73, 0.72, 0.68, 0.66, 0.65],
                    }
                ],
                "share": 0.0762,
            }
        }
    )

    hypotheses: list[TrackedHypothesis] | None
    share: float | None


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


class InspectRequest(Fields):
    """A text to inspect, and what to report."""

    text: str = Field(
        max_length=MAX_TEXT, description="Text to read.", examples=["To be, or not to be"]
    )
    top: int = Field(5, ge=0, le=20, description="Guesses to list after each character.")
    layer: int = Field(-1, ge=-8, le=7, description="Layer, from 0; -1 is the last.")
    cells: list[int] = Field([], max_length=MAX_CELLS, description="Cells of that layer to report.")
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

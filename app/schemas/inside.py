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

    char: str = Field(description="The character.")
    probability: float = Field(description="Its probability before it was read.")
    loss: float = Field(description="Its loss, in nats.")
    top: list[tuple[str, float]] = Field(
        description="The likeliest next characters, each with its probability."
    )
    activations: list[float] = Field(
        description="Of the requested cells, from -1 to 1, after the character was read."
    )


class InspectionHead(BaseModel):
    """The part of an inspection that is about the whole text."""

    model: str = Field(description="Model, as name:tag.")
    digest: str = Field(description="Hash of the checkpoint.")
    layer: int = Field(description="Layer of the cells, from 0.")
    cells: list[int] = Field(description="The requested cells.")
    unknown: int = Field(
        description="Characters that were left out, as the model does not know them."
    )
    loss: float = Field(description="Mean loss, in nats per character.")
    bpc: float = Field(description="The same in bits per character.")


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

    characters: list[InspectedCharacter] = Field(description="Every character that was read.")


class RankedCell(BaseModel):
    """A cell that tracks something; ``sign`` is −1 if the cell is low where that is high."""

    layer: int = Field(description="Layer, from 0.")
    cell: int = Field(description="Cell of the layer, from 0.")
    score: float = Field(
        description="How well it tracks the thing, in `metric`; 1 is always right."
    )
    sign: Literal[-1, 1] = Field(
        description="-1 if the cell is low where the thing is there or large."
    )


class TrackedHypothesis(BaseModel):
    """Cells that track one thing, best first, and the first one's activations on an excerpt."""

    name: str = Field(description="Name of the thing that is tracked.")
    title: str = Field(description="The same in words.")
    metric: Literal["auc", "correlation"] = Field(
        description="What scores are: area under the ROC curve, or correlation."
    )
    cells: list[RankedCell] = Field(description="Cells that track it, the best first.")
    excerpt: str = Field(description="Held-out text that contains the thing.")
    activations: list[float] = Field(
        description="Of the best cell, after each character of the excerpt."
    )


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

    hypotheses: list[TrackedHypothesis] | None = Field(
        description="Everything that cells were searched for; null until the search is over."
    )
    share: float | None = Field(description="Share of the cells that track something, from 0 to 1.")


class Score(BaseModel):
    """Nats and bits per known character, and the number of unknown ones."""

    model: str = Field(description="Model, as name:tag.")
    loss: float | None = Field(description="Mean loss of the characters that it knows, in nats.")
    bpc: float | None = Field(description="The same in bits per character.")
    unknown: int = Field(description="Characters that it does not know.")


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

    scores: list[Score] = Field(description="The scores, in the order of `models`.")
    best: str | None = Field(
        description="The model that needs the fewest bits; null if none knows any character."
    )


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

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

    char: str = Field(description="The character.")
    probability: float = Field(description="Its probability before it was read.")
    loss: float = Field(description="Its loss, in nats.")
    top: list[tuple[str, float]] = Field(
        description="The likeliest next characters, each with its probability."
    )
    activations: list[float] = Field(
        description="Of the requested cells, from -1 to 1, after the character was read."
    )
    truth: float | None = Field(
        default=None, description="What the requested hypothesis says of the character."
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
    seams: list[int] = Field(description="Where the text is another: there the state begins anew.")
    loss: float = Field(description="Mean loss, in nats per character.")
    bpc: float = Field(description="The same in bits per character.")


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

    characters: list[InspectedCharacter] = Field(description="Every character that was read.")


class RankedCell(BaseModel):
    """A cell that tracks something; ``sign`` is −1 if the cell is low where that is high.

    Where its activation times ``sign`` exceeds ``threshold`` times ``sign``, it says yes: for the
    share ``true_positive_rate`` of the characters where that holds, and ``false_positive_rate`` of
    the others. All three are null for numbers, and in findings of an earlier release.
    """

    layer: int = Field(description="Layer, from 0.")
    cell: int = Field(description="Cell of the layer, from 0.")
    score: float = Field(
        description="How well it tracks the thing, in `metric`; 1 is always right."
    )
    sign: Literal[-1, 1] = Field(
        description="-1 if the cell is low where the thing is there or large."
    )
    threshold: float | None = Field(
        default=None, description="Activation beyond which the cell says yes."
    )
    true_positive_rate: float | None = Field(
        default=None, description="Share of the characters with the thing where it says yes."
    )
    false_positive_rate: float | None = Field(
        default=None, description="Share of the others where it says yes."
    )


class UnseenPassage(BaseModel):
    """Some whole lines of unseen text; ``style`` is that of the text they are from, if any."""

    text: str = Field(description="The lines.")
    style: str | None = Field(description="Style of the text that they are from.")


class TrackedHypothesis(BaseModel):
    """Cells that track one thing, best first, and the first one's activations on an excerpt.

    ``examples`` are the numbers of passages that the thing is in.
    """

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
    examples: list[int] = Field(description="Numbers of the passages that the thing is in.")


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

    hypotheses: list[TrackedHypothesis] | None = Field(
        description="Everything that cells were searched for; null until the search is over."
    )
    share: float | None = Field(description="Share of the cells that track something, from 0 to 1.")
    passages: list[UnseenPassage] | None = Field(
        description="Whole passages of unseen text; null until the search is over."
    )


class TrackedByCell(RankedCell):
    """Something that a cell tracks, and how many characters have it in each bin of a histogram.

    ``counts`` is null for numbers.
    """

    name: str = Field(description="Name of the thing that is tracked.")
    title: str = Field(description="The same in words.")
    metric: Literal["auc", "correlation"] = Field(
        description="What scores are: area under the ROC curve, or correlation."
    )
    counts: list[int] | None = Field(
        description="Characters with the thing in each bin of the histogram; null for numbers."
    )


class CellStretch(BaseModel):
    """Some lines, and the cell's activation after each of their characters."""

    text: str = Field(description="The lines.")
    activations: list[float] = Field(description="Of the cell, after each character.")


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

    model: str = Field(description="Model, as name:tag.")
    digest: str = Field(description="Hash of the checkpoint.")
    layer: int = Field(description="Layer of the cell, from 0.")
    cell: int = Field(description="Cell of the layer, from 0.")
    tracks: list[TrackedByCell] | None = Field(description="What the cell tracks.")
    counts: list[int] | None = Field(description="Histogram of its activations, from -1 to 1.")
    excited: list[CellStretch] | None = Field(description="Lines where it is highest on average.")
    quiet: list[CellStretch] | None = Field(description="Lines where it is lowest on average.")


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

    model: str = Field(description="Model, as name:tag.")
    digest: str = Field(description="Hash of the checkpoint.")
    layer: int = Field(description="Layer of the cells, from 0.")
    cells: list[int] = Field(description="Cells that are switched off.")
    seed: int = Field(description="Seed of both texts.")
    unknown: int = Field(
        description="Characters of the prime that were left out, as the model does not know them."
    )
    whole: str = Field(description="The text with all cells.")
    ablated: str = Field(description="The text without them.")


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

"""What goes over the wire: options with their ranges, and the objects that answers hold.

The ranges are those of ``docs/http-api.md``. Knows no route.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from models.config import NetworkKind
from models.presets import PRESETS
from models.vocab import Tokens
from worker.jobs import Status

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
MODEL_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}(:[a-z0-9][a-z0-9._-]{0,62})?$"
CORPUS_PATTERN = r"^[0-9a-f]{64}$"
JOB_PATTERN = r"^[0-9a-f]{22}$"

PATTERNS = {
    NAME_PATTERN: "must be lower-case letters, digits, '_' and '-', 63 at most, "
    "starting with a letter or digit",
    MODEL_PATTERN: "must be name or name:tag, of lower-case letters, digits, '_' and '-' "
    "(in a tag also '.'), 63 at most each, starting with a letter or digit",
    CORPUS_PATTERN: "must be the id of a corpus: GET /corpora lists them",
    JOB_PATTERN: "must be the id of a job: GET /jobs lists them",
}
"""The patterns in words, for errors."""

MAX_STEPS = 1_000_000_000
MAX_SAMPLES_AT = 1000
MAX_SECONDS = 366 * 86400.0
MAX_SAMPLE_PRIME = 1000
MAX_SNAPSHOTS = 100
MAX_TEXT = 20_000
"""Characters of a text that is inspected or scored."""


def _preset(value: str) -> str:
    if value not in PRESETS:
        raise ValueError(f"must be one of {', '.join(PRESETS)}")
    return value


def _temperature(value: float) -> float:
    if value != 0 and not 0.01 <= value <= 10:
        raise ValueError("must be 0 (always the likeliest character) or from 0.01 to 10")
    return value


def _steps(value: Any) -> list[int]:
    """``100,300`` as a query or a form has it, or a list as JSON has it."""
    parts = value.split(",") if isinstance(value, str) else value
    try:
        steps = sorted({int(str(part)) for part in parts})
    except (TypeError, ValueError):
        steps = []
    if not steps or steps[0] < 1 or steps[-1] > MAX_STEPS or len(steps) > MAX_SAMPLES_AT:
        raise ValueError(
            f"must be steps from 1 to {MAX_STEPS}, at most {MAX_SAMPLES_AT} of them, "
            "as in 100,300,500"
        )
    return steps


def _snapshots(steps: list[int]) -> list[int]:
    if len(steps) > MAX_SNAPSHOTS:
        raise ValueError(f"must be at most {MAX_SNAPSHOTS} steps: each is a model on disk")
    return steps


ModelName = Annotated[str, Field(pattern=NAME_PATTERN, examples=["linux"])]
ModelReference = Annotated[str, Field(pattern=MODEL_PATTERN, examples=["linux"])]
Preset = Annotated[str, AfterValidator(_preset), Field(json_schema_extra={"enum": list(PRESETS)})]
CorpusId = Annotated[str, Field(pattern=CORPUS_PATTERN)]
Temperature = Annotated[float, AfterValidator(_temperature), Field(allow_inf_nan=False)]
MAX_SEED = (1 << 63) - 1
Unknown = Literal["error", "skip"]
"""What to do with characters that a model does not know."""

Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Steps = Annotated[
    list[int],
    BeforeValidator(_steps),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "integer"}}],
            "examples": ["100,300,500"],
        }
    ),
]


class Fields(BaseModel):
    """Fields that a client sets: none but these, and an empty one is absent."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if value not in ("", None)}


class TrainingOptions(Fields):
    """What ``POST /train`` takes. What stays null is decided by the preset and the corpus."""

    model: ModelName
    preset: Preset = "auto"
    network: NetworkKind | None = None
    num_layers: int | None = Field(None, ge=1, le=8)
    hidden_size: int | None = Field(None, ge=8, le=4096)
    embedding_size: int | None = Field(None, ge=0, le=1024, description="0 is 1-of-k input")
    dropout: float | None = Field(None, ge=0, le=0.9)
    batch_size: int | None = Field(None, ge=1, le=4096)
    sequence_length: int | None = Field(None, ge=2, le=2048)
    optimizer: Literal["adamw", "adam", "rmsprop"] | None = None
    learning_rate: float | None = Field(None, ge=1e-6, le=1)
    schedule: Literal["cosine", "char-rnn", "constant"] | None = None
    grad_clip: float | None = Field(None, ge=0, le=1000, description="0 is off")
    weight_decay: float | None = Field(None, ge=0, le=1)
    max_epochs: float | None = Field(None, gt=0, le=1_000_000)
    max_steps: int | None = Field(None, ge=1, le=MAX_STEPS)
    max_seconds: float | None = Field(
        None, gt=0, le=MAX_SECONDS, description="training time, over all resumes"
    )
    validation_fraction: float = Field(0.05, ge=0.01, le=0.5)
    evaluate_every: int | None = Field(None, ge=1, le=MAX_STEPS, description="steps")
    patience: int | None = Field(
        None, ge=0, le=1_000_000, description="evaluations without a better loss; 0 is off"
    )
    tokens: Literal["characters", "bytes", "auto"] = "auto"
    sample_at: Steps = [100, 300, 500, 700, 1200, 2000]
    sample_every: int | None = Field(None, ge=1, le=MAX_STEPS, description="steps")
    sample_prime: str = Field("", max_length=MAX_SAMPLE_PRIME)
    sample_temperature: Temperature = 1.0
    keep_snapshots: Annotated[Steps, AfterValidator(_snapshots)] | None = Field(
        None, description="steps that are published as name:step-<n>"
    )
    init_from: ModelReference | None = Field(None, description="a model to go on from")
    seed: Seed = 0

    @property
    def symbols(self) -> Tokens:
        """What a symbol of this training is."""
        return "bytes" if self.tokens == "bytes" else "characters"

    def spec(self) -> dict[str, Any]:
        """What a job keeps of it: what was said or has one default, as JSON."""
        return self.model_dump(exclude={"model", "corpus_id"}, exclude_none=True) | {
            "tokens": self.symbols
        }


class TrainingRequest(TrainingOptions):
    """``POST /train`` as JSON, for a corpus that is here already."""

    corpus_id: CorpusId


class ResumeRequest(Fields):
    """Limits that an ended job gets anew; what is left out stays."""

    max_epochs: float | None = Field(None, gt=0, le=1_000_000)
    max_steps: int | None = Field(None, ge=1, le=MAX_STEPS)
    max_seconds: float | None = Field(
        None, gt=0, le=MAX_SECONDS, description="training time, over all resumes"
    )


class Page(Fields):
    """Which part of a list: ``cursor`` is the ``next`` of the page before."""

    limit: int = Field(50, ge=1, le=100)


class JobQuery(Page):
    cursor: str | None = Field(None, pattern=JOB_PATTERN)
    status: Status | None = None
    model: ModelName | None = None


class CorpusQuery(Page):
    cursor: CorpusId | None = None


class ModelQuery(Page):
    cursor: ModelReference | None = None


class DownloadQuery(Fields):
    format: Literal["zip", "onnx"] = Field(
        "zip", description="the whole checkpoint, or its network for ONNX Runtime"
    )


def page(name: str, found: list[dict[str, Any]], limit: int, key: str) -> dict[str, Any]:
    """A page of a list.

    Args:
        name: what the list is called.
        found: its items, and one more if there is a next page.
        limit: items of a page.
        key: of the value that a next page starts after.
    """
    items = found[:limit]
    return {name: items, "next": items[-1][key] if len(found) > limit else None}


class CorpusReport(BaseModel):
    """What the corpus doctor found. ``characters`` counts bytes where ``encoding`` is bytes."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
                "bytes": 1115394,
                "characters": 1115394,
                "distinct": 65,
                "encoding": "ascii",
                "line_ends": "lf",
                "normalised": [],
                "rare": None,
                "unprintable": [],
                "lines": 40000,
                "duplicate_line_share": None,
                "preset": None,
                "estimated_seconds": None,
                "warnings": [],
            }
        }
    )

    id: str
    bytes: int
    characters: int | None = None
    distinct: int | None = None
    encoding: str | None = None
    line_ends: str | None = None
    normalised: list[str] = []
    rare: list[dict[str, Any]] | None = None
    unprintable: list[str] = []
    lines: int | None = None
    duplicate_line_share: float | None = None
    preset: str | None = None
    estimated_seconds: float | None = None
    warnings: list[str] = []


class CorpusList(BaseModel):
    corpora: list[CorpusReport]
    next: str | None


class Progress(BaseModel):
    """Losses in nats per character, times in seconds."""

    step: int | None = None
    max_steps: int | None = None
    epoch: float | None = None
    train_loss: float | None = None
    val_loss: float | None = None
    best_val_loss: float | None = None
    bpc: float | None = None
    learning_rate: float | None = None
    chars_per_second: float | None = None
    elapsed_seconds: float | None = None
    eta_seconds: float | None = None


class Baseline(BaseModel):
    """What an n-gram model reaches on the same validation text."""

    ngram_order: int | None = None
    val_loss: float | None = None
    bpc: float | None = None


class JobError(BaseModel):
    title: str
    detail: str


class JobLinks(BaseModel):
    self: str
    events: str
    cancel: str
    model: str


_JOB_EXAMPLE: dict[str, Any] = {
    "id": "018f3c2a9d4e1b2c3d4e5f",
    "model": "linux",
    "status": "running",
    "created_at": "2026-11-24T10:00:00.000Z",
    "started_at": "2026-11-24T10:00:00.412Z",
    "finished_at": None,
    "options": {"preset": "auto", "num_layers": 2, "hidden_size": 256, "seed": 0},
    "corpus_id": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    "device": "cpu",
    "progress": {"step": 300, "max_steps": 5000, "train_loss": 1.91, "val_loss": 1.98},
    "baseline": None,
    "error": None,
    "links": {
        "self": "/jobs/018f3c2a9d4e1b2c3d4e5f",
        "events": "/jobs/018f3c2a9d4e1b2c3d4e5f/events",
        "cancel": "/jobs/018f3c2a9d4e1b2c3d4e5f/cancel",
        "model": "/models/linux",
    },
}


class JobView(BaseModel):
    """One training run."""

    model_config = ConfigDict(json_schema_extra={"example": _JOB_EXAMPLE})

    id: str
    model: str
    status: Status
    created_at: str
    started_at: str | None
    finished_at: str | None
    options: dict[str, Any]
    corpus_id: str
    device: str | None
    progress: Progress | None
    baseline: Baseline | None
    error: JobError | None
    links: JobLinks


class StartedJob(JobView):
    """A job and what its corpus is."""

    model_config = ConfigDict(json_schema_extra={"example": _JOB_EXAMPLE | {"corpus": {}}})

    corpus: CorpusReport | None


class JobList(BaseModel):
    jobs: list[JobView]
    next: str | None


class Precision(BaseModel):
    """Validation losses of the two ways to compute the network."""

    exact: float | None
    fast: float | None


class ModelView(BaseModel):
    """A published checkpoint under one of its tags."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "linux",
                "name": "linux",
                "tag": "latest",
                "digest": "5f0f3b6e0f6d6d0c1b5a3e9a8f1f5c0a7b8d2f5a6c4e3b2a1908f7e6d5c4b3a2",
                "tags": ["latest"],
                "network": "lstm",
                "config": {"num_layers": 2, "hidden_size": 256, "embedding_size": 0},
                "vocabulary_size": 98,
                "parameters": 915554,
                "val_loss": 1.21,
                "bpc": 1.746,
                "baseline": None,
                "precision": {"exact": 1.21, "fast": None},
                "corpus": {"characters": 6206996},
                "created_at": "2026-11-24T10:30:00.000Z",
                "job_id": "018f3c2a9d4e1b2c3d4e5f",
                "pretrained": False,
            }
        }
    )

    model: str
    name: str
    tag: str
    digest: str
    tags: list[str]
    network: NetworkKind
    config: dict[str, Any]
    vocabulary_size: int
    parameters: int
    val_loss: float | None
    bpc: float | None
    baseline: Baseline | None
    precision: Precision
    corpus: dict[str, Any] | None
    created_at: str | None
    job_id: str | None
    pretrained: bool


class ModelList(BaseModel):
    models: list[ModelView]
    next: str | None


class LossPoint(BaseModel):
    step: int
    train_loss: float | None = None
    val_loss: float | None = None


class SamplePoint(BaseModel):
    step: int
    temperature: float | None = None
    text: str


class History(BaseModel):
    """Losses and samples over the steps of a training."""

    points: list[LossPoint]
    samples: list[SamplePoint]


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
    probabilities: list[dict[str, Any]] | None = None


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

    names: list[dict[str, Any]]
    seed: int
    asked: int
    drawn: int


class InspectedCharacter(BaseModel):
    """A character that was read.

    ``probability`` and ``loss`` are of it before it was seen; ``top`` are the guesses for the next
    one, ``activations`` of the cells asked, both after it was read. In a bytes model the
    probability is the product of its bytes', and the rest is told of its last byte.
    """

    char: str
    probability: float
    loss: float
    top: list[tuple[str, float]]
    activations: list[float]


class Inspection(BaseModel):
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

    model: str
    digest: str
    layer: int
    cells: list[int]
    unknown: int
    loss: float
    bpc: float
    characters: list[InspectedCharacter]


class RankedCell(BaseModel):
    """``sign`` is −1 where the cell is low when what it tracks is high."""

    layer: int
    cell: int
    score: float
    sign: Literal[-1, 1]


class TrackedHypothesis(BaseModel):
    """Cells that track one thing, the best first; a piece of text where the first one does, and its
    activations there.
    """

    name: str
    title: str
    metric: Literal["auc", "correlation"]
    cells: list[RankedCell]
    excerpt: str
    activations: list[float]


class CellRanking(BaseModel):
    """``share`` of the cells track something; null where there is no text to tell by."""

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
    """Nats and bits per character that the model knows, and how many it does not."""

    model: str
    loss: float | None
    bpc: float | None
    unknown: int


class Scores(BaseModel):
    """``best`` is the model with the fewest bits, where an unknown character costs 20 of them."""

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


class Readiness(BaseModel):
    """Whether Redis answers, and how many workers and models there are."""

    redis: bool
    workers: int | None
    models: int | None

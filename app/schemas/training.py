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
)

from app.schemas.common import (
    Baseline,
    CorpusId,
    Fields,
    JobId,
    ModelName,
    ModelReference,
    Page,
    Seed,
    Temperature,
)
from models.config import NetworkKind
from models.presets import PRESETS
from models.text.vocab import Tokens
from worker.jobs import Status

MAX_STEPS = 1_000_000_000
MAX_SAMPLES_AT = 1000
MAX_SECONDS = 366 * 86400.0
MAX_SAMPLE_PRIME = 1000
MAX_SNAPSHOTS = 100


def _preset(value: str) -> str:
    if value not in PRESETS:
        raise ValueError(f"must be one of {', '.join(PRESETS)}")
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


Preset = Annotated[str, AfterValidator(_preset), Field(json_schema_extra={"enum": list(PRESETS)})]

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
    sample_at: Steps = Field([100, 300, 500, 700, 1200, 2000])
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


class JobQuery(Page):
    cursor: JobId | None = None
    status: Status | None = None
    model: ModelName | None = None


class CorpusQuery(Page):
    cursor: CorpusId | None = None


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

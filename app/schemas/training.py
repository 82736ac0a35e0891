"""Requests about training, corpora and jobs, and their answers.

The options of a training are made from ``models.options``. Knows no route.
"""

from contextlib import suppress
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from typing import Annotated, Any, Literal, Self, TypeVar, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    create_model,
)

from app.schemas.common import (
    BaselineView,
    CorpusId,
    Fields,
    JobId,
    ModelName,
    ModelReference,
    Page,
    Temperature,
)
from models.options import (
    EACH_FILE,
    MAX_DEVICES,
    MAX_PARTS_TEXT,
    MAX_SAMPLE_STEPS,
    MAX_SNAPSHOTS,
    MAX_STEPS,
    TrainingOptions,
)
from models.styles import parse_parts, parts_of_files, written_parts
from models.text.cleaning import MIN_CHARACTERS
from models.text.intake.taking import Taken
from worker.jobs import Status


def _steps(value: Any) -> list[int]:
    """Reads ``100,300`` from a query or a form, or a list from JSON."""
    parts = value.split(",") if isinstance(value, str) else value
    try:
        steps = sorted({int(str(part)) for part in parts})
    except (TypeError, ValueError):
        steps = []
    if not steps or steps[0] < 1 or steps[-1] > MAX_STEPS or len(steps) > MAX_SAMPLE_STEPS:
        raise ValueError(
            f"must be steps from 1 to {MAX_STEPS}, at most {MAX_SAMPLE_STEPS} of them, "
            "as in 100,300,500"
        )
    return steps


def _styles(value: Any) -> str | None:
    """Reads true or false, or the parts of a text."""
    if isinstance(value, bool) or value in ("true", "false"):
        return EACH_FILE if value in (True, "true") else None
    if not isinstance(value, str) or len(value) > MAX_PARTS_TEXT:
        raise ValueError("must be true, or text that names the parts")
    return written_parts(parse_parts(value))


def _snapshots(steps: list[int]) -> list[int]:
    if len(steps) > MAX_SNAPSHOTS:
        raise ValueError(f"must be at most {MAX_SNAPSHOTS} steps: each is a model on disk")
    return steps


def _devices(value: Any) -> Any:
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if value == "all":
        return value
    if not 1 <= number <= MAX_DEVICES:
        raise ValueError(f"must be a number of devices from 1 to {MAX_DEVICES}, or all")
    return number


Devices = Annotated[
    int | Literal["all"],
    BeforeValidator(_devices),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MAX_DEVICES},
                {"type": "string", "enum": ["all"]},
            ]
        }
    ),
]

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


class TrainFields(Fields):
    """The options of a training. The preset and the corpus decide those that stay null."""

    model: ModelName = Field(description="Name to publish the model under.")

    def options(self) -> TrainingOptions:
        """The options for the worker, with ``tokens`` decided."""
        options = TrainingOptions.from_json(self.model_dump())
        return replace(options, tokens=options.symbols)


class CorpusTrainFields(TrainFields):
    """``POST /train`` as JSON, for a corpus that was uploaded before."""

    corpus_id: CorpusId = Field(description="Corpus to train on.")


SomeFields = TypeVar("SomeFields", bound=TrainFields)

_TYPES: dict[str, Any] = {
    "sample_at": Steps,
    "sample_temperature": Temperature,
    "keep_snapshots": Annotated[Steps, AfterValidator(_snapshots)] | None,
    "init_from": ModelReference | None,
    "devices": Devices,
    "styles": Annotated[
        str | None,
        BeforeValidator(_styles),
        WithJsonSchema(
            {
                "anyOf": [{"type": "boolean"}, {"type": "string"}],
                "examples": [True, "austen:717584,lovecraft:448612"],
            }
        ),
    ],
}
"""Types of the options that need more than a plain type and bounds."""


def _schema_field(name: str) -> tuple[Any, Any]:
    """Makes a field from an option of ``models.options``: type, default, bounds and help."""
    option = TrainingOptions.__dataclass_fields__[name]
    default = list(option.default) if isinstance(option.default, tuple) else option.default
    about = {"description": option.metadata["help"]}
    kind = get_type_hints(TrainingOptions)[name]
    if name in _TYPES:
        return _TYPES[name], Field(default, **about)
    bounds = option.metadata["bounds"]
    if kind is str:
        return kind, Field(default, max_length=bounds.at_most, **about)
    limits = {"ge": bounds.at_least, "gt": bounds.above, "le": bounds.at_most}
    return kind, Field(default, **{k: v for k, v in limits.items() if v is not None}, **about)


OPTIONS = [f.name for f in dataclass_fields(TrainingOptions) if f.metadata]
"""Names of the options that clients may set, in the order of their listing."""


def _with_options(name: str, base: type[SomeFields]) -> type[SomeFields]:
    definitions: dict[str, Any] = {option: _schema_field(option) for option in OPTIONS}
    return create_model(name, __base__=base, __doc__=base.__doc__, **definitions)


TrainForm = _with_options("TrainForm", TrainFields)
TrainRequest = _with_options("TrainRequest", CorpusTrainFields)


class ResumeRequest(Fields):
    """New limits for an ended job, or other devices; those left out stay as they are."""

    max_epochs: float | None = _schema_field("max_epochs")[1]
    max_steps: int | None = _schema_field("max_steps")[1]
    max_seconds: float | None = _schema_field("max_seconds")[1]
    devices: Devices | None = Field(None, description=_schema_field("devices")[1].description)


class JobQuery(Page):
    cursor: JobId | None = Field(None, description="`next` of the previous page.")
    status: Status | None = Field(None, description="Only jobs with this status.")
    model: ModelName | None = Field(None, description="Only jobs of this model.")


class CorpusQuery(Page):
    cursor: CorpusId | None = Field(None, description="`next` of the previous page.")


class TakenFile(BaseModel):
    """A file whose text was taken; ``source`` is its encoding, or what kind of document it is."""

    name: str = Field(description="Path of the file.")
    bytes: int = Field(description="Bytes that it had.")
    source: str = Field(description="Its encoding, or what kind of document it is.")


class OmittedFile(BaseModel):
    """A file that was left out."""

    name: str = Field(description="Path of the file.")
    reason: str = Field(description="Why it was left out.")


class OmissionCount(BaseModel):
    """A reason for leaving files out, and how many it concerns."""

    reason: str = Field(description="Why files were left out.")
    count: int = Field(description="How many.")


class CorpusSources(BaseModel):
    """What a text was made of; ``files`` and ``omitted`` name the first 100 of each."""

    taken: int = Field(description="Files that were taken.")
    left_out: int = Field(description="Files that were left out.")
    files: list[TakenFile] = Field(description="The first 100 files that were taken.")
    omitted: list[OmittedFile] = Field(description="The first 100 files that were left out.")
    reasons: list[OmissionCount] = Field(description="Why files were left out, with counts.")
    styles: str | None = Field(
        None, description="What `styles` of POST /train is if each file or folder is a style."
    )

    @classmethod
    def of(cls, told: Taken | None) -> Self | None:
        if told is None:
            return None
        styles = None
        # Of most texts it cannot be.
        with suppress(ValueError):
            parts = parts_of_files(told.parts)
            if min(part.bytes for part in parts) >= MIN_CHARACTERS:
                styles = written_parts(parts)
        return cls.model_validate(told.to_json() | {"styles": styles})


class CorpusReport(BaseModel):
    """What the corpus doctor found. ``characters`` counts bytes if ``encoding`` is bytes."""

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
                "invisible": [],
                "lines": 40000,
                "duplicate_line_share": None,
                "preset": None,
                "estimated_seconds": None,
                "warnings": [],
                "damaged": [],
                "sources": None,
            }
        }
    )

    id: str = Field(description="Id: the SHA-256 of the text as it was sent.")
    bytes: int = Field(description="Bytes of the text.")
    characters: int | None = Field(None, description="Characters, after cleaning.")
    distinct: int | None = Field(None, description="Distinct characters.")
    encoding: str | None = Field(None, description="Encoding of the text, or `bytes`.")
    line_ends: str | None = Field(None, description="Line ends that the text had.")
    normalised: list[str] = Field([], description="What cleaning changed.")
    rare: list[dict[str, object]] | None = Field(
        None, description="Up to 100 characters that are rare, the rarest first, with counts."
    )
    unprintable: list[str] = Field([], description="Control characters in the text.")
    invisible: list[dict[str, object]] = Field([], description="Invisible characters, with counts.")
    lines: int | None = Field(None, description="Lines.")
    duplicate_line_share: float | None = Field(
        None, description="Share of the lines that repeat another one, from 0 to 1."
    )
    preset: str | None = Field(None, description="Preset that suits the text, if one does.")
    estimated_seconds: float | None = Field(
        None, description="About how long training takes on the fastest device."
    )
    warnings: list[str] = Field([], description="What to look at before training.")
    damaged: list[str] = Field([], description="What is wrong with the corpus's files.")
    sources: CorpusSources | None = Field(
        None, description="What the text was made of; only in the answer to its upload."
    )


_LONGEST = TrainingOptions.__dataclass_fields__["max_seconds"].metadata["bounds"].at_most


class Outlook(BaseModel):
    """What training with the preset auto does in some seconds on the fastest device."""

    max_seconds: float = Field(description="Time limit that was asked about.")
    num_layers: int = Field(description="Layers of the network.")
    hidden_size: int = Field(description="Cells of each layer.")
    passes: float = Field(description="About how often it reads the whole text, 2 digits.")


_Seconds = Annotated[float, Field(gt=0, le=_LONGEST, allow_inf_nan=False)]


class OutlookQuery(BaseModel):
    max_seconds: list[_Seconds] = Field(
        [20.0, 180.0, 1800.0],
        min_length=1,
        max_length=10,
        description="Time limits of a training; several are allowed.",
    )


class OutlookList(BaseModel):
    """Outlooks, one for each time."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "outlooks": [
                    {"max_seconds": 180.0, "num_layers": 2, "hidden_size": 256, "passes": 6.1}
                ]
            }
        }
    )

    outlooks: list[Outlook] = Field(description="Empty until a worker has measured its speed.")


class CorpusList(BaseModel):
    """A page of the corpora."""

    corpora: list[CorpusReport] = Field(description="Corpora of this page.")
    next: str | None = Field(description="`cursor` of the next page; null on the last one.")


class JobProgress(BaseModel):
    """Losses in nats per character, times in seconds."""

    step: int | None = Field(None, description="Steps so far.")
    max_steps: int | None = Field(
        None, description="Steps after which training ends, if nothing ends it before."
    )
    epoch: float | None = Field(None, description="Passes over the text so far.")
    train_loss: float | None = Field(None, description="Training loss of the last steps.")
    val_loss: float | None = Field(None, description="Validation loss at the last evaluation.")
    best_val_loss: float | None = Field(None, description="Lowest validation loss so far.")
    bpc: float | None = Field(None, description="`val_loss` in bits per character.")
    learning_rate: float | None = Field(None, description="Learning rate of the last step.")
    chars_per_second: float | None = Field(None, description="Characters read per second.")
    elapsed_seconds: float | None = Field(
        None, description="Time spent training, over all attempts."
    )
    eta_seconds: float | None = Field(None, description="Estimated time to the end.")


class JobError(BaseModel):
    """Why a job failed."""

    title: str = Field(description="What happened.")
    detail: str = Field(description="Why, and what to do.")


class JobLinks(BaseModel):
    """Paths of what belongs to a job."""

    self: str = Field(description="Path of the job.")
    events: str = Field(description="Path of its events.")
    cancel: str = Field(description="Path that cancels it.")
    model: str = Field(description="Path of the model that it trains.")


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
    "damaged": [],
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

    id: str = Field(description="Id.")
    model: str = Field(description="Name of the model that it trains.")
    status: Status = Field(description="Where it is.")
    created_at: str = Field(description="When it was sent.")
    started_at: str | None = Field(description="When training began.")
    finished_at: str | None = Field(description="When it ended.")
    options: dict[str, object] = Field(
        description="Options of the training, with those that were decided for it."
    )
    corpus_id: str = Field(description="Corpus that it reads.")
    device: str | None = Field(description="Device that it trains on.")
    progress: JobProgress | None = Field(
        description="The latest figures; null before the first step."
    )
    baseline: BaselineView | None = Field(
        description="The n-gram model of the same text; null until it is counted."
    )
    error: JobError | None = Field(description="Why it failed.")
    damaged: list[str] = Field(description="What is wrong with the job's files on the disk.")
    links: JobLinks = Field(description="Paths of what belongs to it.")


class StartedJob(JobView):
    """A job and the report of its corpus."""

    model_config = ConfigDict(json_schema_extra={"example": _JOB_EXAMPLE | {"corpus": {}}})

    corpus: CorpusReport | None = Field(description="Report on its corpus.")


class JobList(BaseModel):
    """A page of the jobs."""

    jobs: list[JobView] = Field(description="Jobs of this page, the newest first.")
    next: str | None = Field(description="`cursor` of the next page; null on the last one.")

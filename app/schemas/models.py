"""Models as clients see them. Knows no route."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.common import BaselineView, Fields, Matches, ModelName, ModelReference, Page
from models.checkpoints.about import MAX_NOTES
from models.options import NetworkKind


class ModelQuery(Page):
    cursor: ModelReference | None = Field(None, description="`next` of the previous page.")


class DownloadQuery(Fields):
    format: Literal["zip", "onnx", "html"] = Field(
        "zip",
        description="The whole checkpoint, its network for ONNX Runtime, or a page that writes "
        "without a server.",
    )
    precision: Literal["exact", "fast"] | None = Field(
        None,
        description="How finely the weights of a page are rounded: nearly all probabilities differ "
        "by less than 0.001 in `fast`, the default, and by less than 0.0001 in `exact`, for two "
        "fifths more bytes.",
    )


class ModelChange(BaseModel):
    """What is to be another name of a model, and what is said of it; what is left out stays as it
    is."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"name": "drivers", "notes": "Trained on drivers only."}},
    )

    name: ModelName | None = Field(
        None, description="Its new name, which no model and no unfinished job may have."
    )

    notes: str | None = Field(
        None,
        max_length=MAX_NOTES,
        description="Notes that everybody who may list models can read; empty for none.",
    )
    pinned: bool | None = Field(None, description="Whether it comes first.")


class PrecisionView(BaseModel):
    """Validation losses of the two precisions."""

    exact: float | None
    fast: float | None


class ModelView(BaseModel):
    """A published checkpoint under one of its tags. Losses are nats per character."""

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
                "styles": [],
                "parameters": 915554,
                "ngram_orders": 0,
                "table_bytes": 0,
                "val_loss": 1.21,
                "bpc": 1.746,
                "baseline": None,
                "precision": {"exact": 1.21, "fast": None},
                "corpus": {"characters": 6206996},
                "created_at": "2026-11-24T10:30:00.000Z",
                "job_id": "018f3c2a9d4e1b2c3d4e5f",
                "pretrained": False,
                "names": False,
                "notes": "Trained on drivers only.",
                "pinned": False,
                "damaged": [],
            }
        }
    )

    model: str
    name: str
    tag: str
    digest: str
    tags: list[str]
    network: NetworkKind
    config: dict[str, object]
    vocabulary_size: int
    styles: list[str] = Field([], description="Texts that it tells apart, for `style`.")
    parameters: int
    ngram_orders: int = Field(
        0, description="The longest context in the n-gram table beside the network; 0 without one."
    )
    table_bytes: int = Field(
        0, description="Size of that table, which is counted: `parameters` leaves it out."
    )
    val_loss: float | None
    bpc: float | None
    baseline: BaselineView | None
    precision: PrecisionView
    corpus: dict[str, object] | None
    created_at: str | None
    job_id: str | None
    pretrained: bool
    names: bool = Field(description="Whether it was trained on a list, so that `/names` takes it.")
    notes: str = Field(description="What people wrote about the model, whatever its tags.")
    pinned: bool = Field(description="Whether people want it to come first.")
    damaged: list[str] = Field(
        description="What is wrong with a newer checkpoint, in whose place this one is served."
    )


class DamagedModel(BaseModel):
    """A model that cannot be read; it can be deleted."""

    model: str
    name: str
    tag: str
    detail: str


class ModelList(BaseModel):
    models: list[ModelView]
    damaged: list[DamagedModel] = Field(
        [], description="Models among these that cannot be read, and why."
    )
    next: str | None


class LossPoint(BaseModel):
    step: int
    train_loss: float | None = None
    val_loss: float | None = None


class SamplePoint(BaseModel):
    step: int
    temperature: float | None = None
    style: str | None = None
    text: str


class ModelHistory(BaseModel):
    """Losses and samples over the steps of training."""

    points: list[LossPoint]
    samples: list[SamplePoint]


class WidgetQuery(Fields):
    origin: Annotated[
        str | None,
        Matches(
            r"https?://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?",
            "must be an origin such as https://example.org, without a path",
        ),
    ] = Field(None, max_length=300, description="Origin of the page; by default the one that asks.")


class WidgetAccess(BaseModel):
    """Whether pages of an origin may draw names here, and whether that needs an API key."""

    origin: str
    allowed: bool = Field(description="Whether CHARLOOM_CORS_ORIGINS has the origin.")
    needs_key: bool = Field(description="Whether a key is needed, as CHARLOOM_PUBLIC is not set.")

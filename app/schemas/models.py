"""Models as clients see them. Knows no route."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.common import BaselineView, Fields, Matches, ModelName, ModelReference, Page
from models.checkpoints.about import MAX_NOTES
from models.checkpoints.history import FEWEST_LOSSES, MAX_LOSSES
from models.options import NetworkKind


class ModelQuery(Page):
    cursor: ModelReference | None = Field(None, description="`next` of the previous page.")


class HistoryQuery(Fields):
    points: int = Field(
        MAX_LOSSES,
        ge=FEWEST_LOSSES,
        le=MAX_LOSSES,
        description="Most losses to list, evenly spread.",
    )


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

    exact: float | None = Field(description="Validation loss in fp32.")
    fast: float | None = Field(
        description="Validation loss in int8; null where the network has no such form."
    )


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

    model: str = Field(description="Name and tag, as name:tag; `latest` is left out.")
    name: str = Field(description="Name.")
    tag: str = Field(description="Tag.")
    digest: str = Field(description="Hash of the checkpoint.")
    tags: list[str] = Field(description="All tags of this checkpoint.")
    network: NetworkKind = Field(description="Kind of the network.")
    config: dict[str, object] = Field(description="Sizes of the network.")
    vocabulary_size: int = Field(description="Distinct characters, or bytes, that it knows.")
    styles: list[str] = Field([], description="Texts that it tells apart, for `style`.")
    parameters: int = Field(description="Number of weights.")
    ngram_orders: int = Field(
        0, description="The longest context in the n-gram table beside the network; 0 without one."
    )
    table_bytes: int = Field(
        0, description="Size of that table, which is counted: `parameters` leaves it out."
    )
    val_loss: float | None = Field(description="Validation loss, in nats per character.")
    bpc: float | None = Field(description="The same in bits per character.")
    baseline: BaselineView | None = Field(description="The n-gram model that it is compared with.")
    precision: PrecisionView = Field(description="Its validation loss in each precision.")
    corpus: dict[str, object] | None = Field(
        description="What is known of the text that it was trained on."
    )
    created_at: str | None = Field(description="When it was published.")
    job_id: str | None = Field(description="Job that trained it, which may be another server's.")
    pretrained: bool = Field(description="Whether it ships with charloom.")
    names: bool = Field(description="Whether it was trained on a list, so that `/names` takes it.")
    notes: str = Field(description="What people wrote about the model, whatever its tags.")
    pinned: bool = Field(description="Whether people want it to come first.")
    damaged: list[str] = Field(
        description="What is wrong with a newer checkpoint, in whose place this one is served."
    )


class DamagedModel(BaseModel):
    """A model that cannot be read; it can be deleted."""

    model: str = Field(description="Name and tag, as name:tag.")
    name: str = Field(description="Name.")
    tag: str = Field(description="Tag.")
    detail: str = Field(description="What is wrong with it.")


class ModelList(BaseModel):
    """A page of the models."""

    models: list[ModelView] = Field(description="Models of this page.")
    damaged: list[DamagedModel] = Field(
        [], description="Models among these that cannot be read, and why."
    )
    next: str | None = Field(description="`cursor` of the next page; null on the last one.")


class LossPoint(BaseModel):
    """Losses at a step, in nats per character."""

    step: int = Field(description="Step of the training.")
    train_loss: float | None = Field(
        None, description="Mean training loss since the point before, in nats per character."
    )
    val_loss: float | None = Field(
        None, description="Validation loss, in nats per character; null at most steps."
    )


class SamplePoint(BaseModel):
    """What the network wrote at a step."""

    step: int = Field(description="Step of the training.")
    temperature: float | None = Field(None, description="Temperature that it was sampled with.")
    style: str | None = Field(None, description="Style that it was written in.")
    text: str = Field(description="What the network wrote.")


class ModelHistory(BaseModel):
    """Losses and samples over the steps of training."""

    points: list[LossPoint] = Field(description="Losses.")
    samples: list[SamplePoint] = Field(description="Samples.")


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

    origin: str = Field(description="The origin asked about.")
    allowed: bool = Field(description="Whether CHARLOOM_CORS_ORIGINS has the origin.")
    needs_key: bool = Field(description="Whether a key is needed, as CHARLOOM_PUBLIC is not set.")

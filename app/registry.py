"""Published models over HTTP: what there is, how it was trained, and away with it.

All through ``models.checkpoint.Registry``; no weight is read.
"""

import math
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from app.problems import responses
from app.schemas import History, ModelList, ModelQuery, ModelView, page
from app.services import ServicesDep
from app.uploads import known_query
from models.checkpoint import CheckpointError, Entry, UnknownModel, split_reference

router = APIRouter(tags=["models"], dependencies=[Depends(known_query)])


@router.get("/models", summary="List models", response_model=ModelList)
def list_models(query: Annotated[ModelQuery, Query()], services: ServicesDep) -> dict[str, Any]:
    """Every model under each of its tags, by name, `latest` first."""
    start = _order(query.cursor) if query.cursor else None
    found: list[dict[str, Any]] = []
    for reference in services.models.references():
        if start and _order(reference) <= start:
            continue
        try:
            found.append(view(services.models.entry(reference)))
        except (UnknownModel, CheckpointError):
            continue
        if len(found) > query.limit:
            break
    return page("models", found, query.limit, "model")


@router.get(
    "/models/{model}", summary="A model", response_model=ModelView, responses=responses(404)
)
def show_model(model: str, services: ServicesDep) -> dict[str, Any]:
    return view(services.models.entry(reference_of(model)))


@router.get(
    "/models/{model}/history",
    summary="How a model was trained",
    response_model=History,
    responses=responses(404),
)
def show_history(model: str, services: ServicesDep) -> dict[str, Any]:
    """Losses and samples over the steps of its training, oldest first."""
    lines = services.models.history(reference_of(model))
    return {
        "points": [line for line in lines if "text" not in line],
        "samples": [line for line in lines if "text" in line],
    }


@router.delete(
    "/models/{model}", status_code=204, summary="Remove a model", responses=responses(404)
)
def delete_model(model: str, services: ServicesDep) -> None:
    """Removes a tag; a name alone removes every tag of it."""
    services.models.delete(reference_of(model))


def view(entry: Entry) -> dict[str, Any]:
    """A model as clients see it (docs/http-api.md)."""
    card, loss = entry.card, entry.card.get("val_loss")
    return {
        "model": entry.name if entry.tag == "latest" else f"{entry.name}:{entry.tag}",
        "name": entry.name,
        "tag": entry.tag,
        "digest": entry.digest,
        "tags": entry.tags,
        "network": entry.config.kind,
        "config": asdict(entry.config),
        "vocabulary_size": entry.config.vocabulary_size,
        "parameters": entry.config.parameters(),
        "val_loss": loss,
        "bpc": None if loss is None else loss / math.log(2),
        "baseline": card.get("baseline"),
        "precision": card.get("precision") or {"exact": loss, "fast": None},
        "corpus": card.get("corpus"),
        "created_at": card.get("created_at"),
        "job_id": card.get("job_id"),
        "pretrained": bool(card.get("pretrained")),
    }


def reference_of(text: str) -> str:
    """A path's model; what can't be a name is the name of nothing.

    Raises:
        UnknownModel: it is no reference.
    """
    try:
        split_reference(text)
    except ValueError:
        raise UnknownModel(text) from None
    return text


def _order(reference: str) -> tuple[str, bool, str]:
    name, tag = split_reference(reference)
    return name, tag != "latest", tag

"""Findings about a checkpoint's cells, stored next to the checkpoint.

``cells.json`` in a checkpoint's directory contains the findings of ``models.inside.cells``. It can
be regenerated from the checkpoint, so it is not in the manifest and no reader needs it; it is
deleted with the directory. A file made for other hypotheses than the current ones is ignored.
Knows no client.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from models.checkpoints.registry import Registry
from models.files import CheckpointError, parse_object, read_bounded, write_durably
from models.inside.cells import Findings, find_cells
from models.inside.hypotheses import HYPOTHESES
from models.inside.reader import Stopped
from models.storage import StorageAway

_VERSION = 3
"""Version of the search; increasing it discards all stored findings but those of models that carry
no text to search anew."""

_BEFORE = 2
"""The version before: without passages and thresholds."""

_LONGEST = 1 << 20


def read_cells(registry: Registry, name: str, digest: str) -> Findings | None:
    """Returns the stored findings about a checkpoint; None if there are none yet."""
    kept = _kept(registry, name, digest)
    return cast(Findings, kept) if kept.pop("made_by", None) == _made_by(_VERSION) else None


def _kept(registry: Registry, name: str, digest: str) -> dict[str, Any]:
    path = _path(registry, name, digest)
    try:
        return parse_object(read_bounded(path, _LONGEST), path.name)
    except CheckpointError:
        return {}


def keep_cells(registry: Registry, name: str, digest: str, found: Findings) -> None:
    """Stores findings about a checkpoint, unless it was deleted.

    Raises:
        OSError: the disk is full.
    """
    data = json.dumps({"made_by": _made_by(_VERSION), **found}, ensure_ascii=False)
    path = _path(registry, name, digest)
    # The model may have been deleted in the meantime. Where other hosts cannot be told, they find
    # out by themselves.
    with suppress(FileNotFoundError, StorageAway):
        registry.storage.change(path.parents[1], lambda: write_durably(path, data.encode()))


def analyse(
    registry: Registry, name: str, digest: str, stopped: Callable[[], bool] = lambda: False
) -> Findings | None:
    """Searches a checkpoint's cells unless findings are stored; takes seconds of one core.

    Returns:
        The findings; None if the checkpoint was deleted meanwhile, which ends the search.

    Raises:
        CheckpointError: the checkpoint is damaged.
        FloatingPointError: its activations are not finite.
        OSError: the disk is full.
        Stopped: ``stopped`` returned true.
    """
    home = _path(registry, name, digest).parent
    found = read_cells(registry, name, digest)
    if found is None:
        try:
            checkpoint = registry.load(name, digest)
            if not checkpoint.validation:
                found = _of_before(_kept(registry, name, digest))
            if found is None:
                found = find_cells(checkpoint, lambda: stopped() or not home.is_dir())
        except (CheckpointError, Stopped):
            if home.is_dir():
                raise
            return None
        keep_cells(registry, name, digest, found)
    return found


def _path(registry: Registry, name: str, digest: str) -> Path:
    return registry.root / name / digest / "cells.json"


def _of_before(kept: dict[str, Any]) -> Findings | None:
    """Returns findings of the version before as those of this one: passages are the excerpts."""
    if kept.pop("made_by", None) != _made_by(_BEFORE):
        return None
    excerpts = list(dict.fromkeys(one["excerpt"] for one in kept["hypotheses"]))
    unknown = dict.fromkeys(("threshold", "true_positive_rate", "false_positive_rate"))
    hypotheses = [
        {
            **one,
            "cells": [{**cell, **unknown} for cell in one["cells"]],
            "examples": [excerpts.index(one["excerpt"])],
        }
        for one in kept["hypotheses"]
    ]
    passages = [{"text": text, "style": None} for text in excerpts]
    return cast(Findings, {**kept, "hypotheses": hypotheses, "passages": passages})


def _made_by(version: int) -> str:
    names = "\n".join(hypothesis.name for hypothesis in HYPOTHESES)
    return f"{version}.{hashlib.sha256(names.encode()).hexdigest()[:16]}"

"""What was found out about a checkpoint later, kept beside it.

``cells.json`` in a checkpoint's directory is what ``models.cells.find_cells`` found. It can be made
again from the checkpoint, so the manifest does not hold it and no reader needs it; with the
directory it goes. One made for other hypotheses than today's counts as none.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

from models.checkpoints.registry import Registry
from models.files import write_durably
from models.inside.cells import Findings, find_cells
from models.inside.hypotheses import HYPOTHESES

_VERSION = 2
"""Of the search; another one makes all searches be done again."""

_LONGEST = 1 << 20


def read_cells(registry: Registry, name: str, digest: str) -> Findings | None:
    """What the search found in a checkpoint; None if it is still to be made.

    Args:
        registry: of the checkpoint.
        name, digest: as ``registry.resolve`` gives them.
    """
    try:
        with _path(registry, name, digest).open("rb") as file:
            kept = json.loads(file.read(_LONGEST))
    except (OSError, ValueError):
        return None
    if not isinstance(kept, dict) or kept.pop("made_by", None) != _made_by():
        return None
    return cast(Findings, kept)


def keep_cells(registry: Registry, name: str, digest: str, found: Findings) -> None:
    """Writes what the search found.

    Raises:
        OSError: the disk is full.
    """
    data = json.dumps({"made_by": _made_by(), **found}, ensure_ascii=False)
    # The model may have been deleted meanwhile.
    with suppress(FileNotFoundError):
        write_durably(_path(registry, name, digest), data.encode())


def analyse(
    registry: Registry, name: str, digest: str, stopped: Callable[[], bool] = lambda: False
) -> Findings:
    """Searches a checkpoint's cells, if nobody did, and keeps what it finds; seconds of one core.

    Raises:
        CheckpointError: the checkpoint is damaged or gone.
        FloatingPointError: its activations are not finite.
        OSError: the disk is full.
        Stopped: ``stopped`` said so.
    """
    found = read_cells(registry, name, digest)
    if found is None:
        found = find_cells(registry.load(name, digest), stopped)
        keep_cells(registry, name, digest, found)
    return found


def _path(registry: Registry, name: str, digest: str) -> Path:
    return registry.root / name / digest / "cells.json"


def _made_by() -> str:
    names = "\n".join(hypothesis.name for hypothesis in HYPOTHESES)
    return f"{_VERSION}.{hashlib.sha256(names.encode()).hexdigest()[:16]}"

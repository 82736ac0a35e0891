"""Small trained checkpoints that ship with the code, and their installation among the models.

A shipped checkpoint is a directory ``<root>/<name>/`` with ``config.json``, ``vocab.json``,
``card.json``, ``history.jsonl``, ``lines.u64`` and ``model.safetensors``, whose weights are fp16:
half the size, for less than 0.001 nats. The only text of its corpus is the passages in
``cells.json``, the findings about its cells (``models.inside.cells``), which need that text. At the
first start each is published as ``<name>:latest``, once: a deleted one does not come back. A
retrained one replaces the one before. Knows no client.

    python -m models.pretrained CHECKPOINT TARGET    packs a published checkpoint
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from models.checkpoints.format import Checkpoint, read
from models.checkpoints.reference import NAME, Reference, UnknownModel
from models.checkpoints.registry import Registry
from models.config import NetworkConfig, Weights
from models.files import CheckpointError, write_durably
from models.inside.cells import find_cells
from models.inside.results import keep_cells, read_cells
from models.storage import StorageAway
from models.text.vocab import Vocabulary

INSTALLED = ".pretrained"
"""A file next to the models: a line with name and date for each one installed."""

_LINE = re.compile(rf"(?P<name>{NAME.pattern})( (?P<date>20\d\d-[01]\d-[0-3]\d[0-9T:.Z+-]*))?")


def pack(checkpoint: Checkpoint, target: Path) -> None:
    """Writes a checkpoint for shipping; searches its cells first, which takes a while."""
    cells = find_cells(checkpoint)
    target.mkdir(parents=True)
    files = {
        "config.json": checkpoint.config.to_json(),
        "vocab.json": checkpoint.vocabulary.to_json(),
        "card.json": checkpoint.card,
    }
    for name, value in files.items():
        (target / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", "utf-8")
    # On one line: indented, each number of its excerpts would take a line.
    (target / "cells.json").write_text(json.dumps(cells, ensure_ascii=False) + "\n", "utf-8")
    lines = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in checkpoint.history)
    (target / "history.jsonl").write_text(lines, "utf-8")
    (target / "lines.u64").write_bytes(checkpoint.lines.astype("<u8").tobytes())
    halves = _as(np.float16, checkpoint.weights)
    (target / "model.safetensors").write_bytes(save(halves))


def unpack(directory: Path) -> Checkpoint:
    """Reads a shipped checkpoint, with fp32 weights. It is trusted: it is part of the code."""

    def text(name: str) -> str:
        return (directory / name).read_text("utf-8")

    halves = load((directory / "model.safetensors").read_bytes())
    return Checkpoint(
        config=NetworkConfig(**json.loads(text("config.json"))),
        vocabulary=Vocabulary.from_json(json.loads(text("vocab.json"))),
        weights=_as(np.float32, halves),
        card=json.loads(text("card.json")) | {"pretrained": True},
        history=[json.loads(line) for line in text("history.jsonl").split("\n") if line],
        validation=b"",
        lines=np.frombuffer((directory / "lines.u64").read_bytes(), "<u8").astype(np.uint64),
    )


def _as(dtype: type[np.floating[Any]], weights: Weights) -> Weights:
    """Weights in another precision; the n-gram table as it is."""
    return {
        name: weight.astype(dtype) if weight.dtype.kind == "f" else weight
        for name, weight in weights.items()
    }


def install(
    registry: Registry, root: Path, lose: Callable[[str, Exception], None] | None = None
) -> list[str]:
    """Publishes shipped checkpoints that were not installed yet, and returns their names.

    A newer one replaces the shipped one before, which is kept under its own tag. A model of the
    same name that did not ship is left as it is.

    Args:
        lose: is given the name of one that cannot be installed, such as on a full disk, and why; it
            is tried again at the next start. Without it, that is raised.
    """
    record = registry.root / INSTALLED
    registry.storage.refresh(record)
    known = _installed(record)
    done = dict(known)
    added = []
    for directory in sorted(card.parent for card in root.glob("*/card.json")):
        name = directory.name
        try:
            card = json.loads((directory / "card.json").read_text("utf-8"))
            date = str(card.get("created_at") or "")
            if name in known and date <= known[name]:
                _renew_cells(registry, name, directory)
                continue
            if _is_wanted(registry, name, is_known=name in known):
                _publish(registry, name, directory)
                added.append(name)
            done[name] = date
        except (OSError, ValueError, CheckpointError, StorageAway) as error:
            if lose is None:
                raise
            lose(name, error)
    if done != known:
        lines = (f"{name} {date}".rstrip() for name, date in sorted(done.items()))
        try:
            registry.root.mkdir(parents=True, exist_ok=True)
            data = "\n".join(lines).encode()
            registry.storage.change(record, lambda: write_durably(record, data))
        except (OSError, StorageAway) as error:
            if lose is None:
                raise
            lose(record.name, error)
    return added


def _is_wanted(registry: Registry, name: str, *, is_known: bool) -> bool:
    try:
        return bool(registry.entry(Reference(name)).card.get("pretrained"))
    except UnknownModel:
        return not is_known
    except CheckpointError:
        return False


def _publish(registry: Registry, name: str, directory: Path) -> None:
    digest = registry.publish(Reference(name), unpack(directory), keep_before=True)
    cells = json.loads((directory / "cells.json").read_text("utf-8"))
    keep_cells(registry, name, digest, cells)


def _renew_cells(registry: Registry, name: str, directory: Path) -> None:
    """Keeps the findings of this release about a model that an earlier one installed."""
    try:
        entry = registry.entry(Reference(name))
    except (UnknownModel, CheckpointError):
        return
    shipped = json.loads((directory / "card.json").read_text("utf-8"))
    is_ours = entry.card.get("pretrained") and entry.card.get("job_id") == shipped.get("job_id")
    if is_ours and read_cells(registry, name, entry.digest) is None:
        cells = json.loads((directory / "cells.json").read_text("utf-8"))
        keep_cells(registry, name, entry.digest, cells)


def _installed(record: Path) -> dict[str, str]:
    """Reads names and training dates from the record; those of earlier releases lack dates.

    A line that is damaged counts for nothing: its model is installed again.
    """
    try:
        text = record.read_bytes().decode("ascii", errors="replace")
    except OSError:
        return {}
    found = (_LINE.fullmatch(line) for line in text.splitlines())
    return {match["name"]: match["date"] or "" for match in found if match}


def main() -> None:
    source, target = (Path(argument) for argument in sys.argv[1:3])
    pack(read(source), target)


if __name__ == "__main__":
    main()

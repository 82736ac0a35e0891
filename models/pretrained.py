"""Small trained checkpoints that ship with the code, and their installation among the models.

A shipped checkpoint is a directory ``<root>/<name>/`` with ``config.json``, ``vocab.json``,
``card.json``, ``history.jsonl``, ``lines.u64`` and ``model.safetensors``, whose weights are fp16:
half the size, for less than 0.001 nats. The only text of its corpus is the excerpts in
``cells.json``, the findings about its cells (``models.inside.cells``), which need that text. At the
first start each is published as ``<name>:latest``, once: a deleted one does not come back. A
retrained one replaces the one before. Knows no client.

    python -m models.pretrained CHECKPOINT TARGET    packs a published checkpoint
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

from models.checkpoints.format import Checkpoint, read
from models.checkpoints.reference import Reference, UnknownModel
from models.checkpoints.registry import Registry
from models.config import NetworkConfig
from models.files import CheckpointError, write_durably
from models.inside.cells import find_cells
from models.inside.results import keep_cells
from models.text.vocab import Vocabulary

INSTALLED = ".pretrained"
"""A file next to the models: a line with name and date for each one installed."""


def pack(checkpoint: Checkpoint, target: Path) -> None:
    """Writes a checkpoint for shipping; searches its cells first, which takes a while."""
    cells = find_cells(checkpoint)
    target.mkdir(parents=True)
    files = {
        "config.json": asdict(checkpoint.config),
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
    halves = {name: weight.astype(np.float16) for name, weight in checkpoint.weights.items()}
    (target / "model.safetensors").write_bytes(save(halves))


def unpack(directory: Path) -> Checkpoint:
    """Reads a shipped checkpoint, with fp32 weights. It is trusted: it is part of the code."""

    def text(name: str) -> str:
        return (directory / name).read_text("utf-8")

    halves = load((directory / "model.safetensors").read_bytes())
    return Checkpoint(
        config=NetworkConfig(**json.loads(text("config.json"))),
        vocabulary=Vocabulary.from_json(json.loads(text("vocab.json"))),
        weights={name: weight.astype(np.float32) for name, weight in halves.items()},
        card=json.loads(text("card.json")) | {"pretrained": True},
        history=[json.loads(line) for line in text("history.jsonl").split("\n") if line],
        validation=b"",
        lines=np.frombuffer((directory / "lines.u64").read_bytes(), "<u8").astype(np.uint64),
    )


def install(registry: Registry, root: Path) -> list[str]:
    """Publishes shipped checkpoints that were not installed yet, and returns their names.

    A newer one replaces the shipped one before, which is kept under its own tag. A model of the
    same name that did not ship is left as it is.
    """
    record = registry.root / INSTALLED
    known = _installed(record)
    shipped = {
        card.parent.name: str(json.loads(card.read_text("utf-8")).get("created_at", ""))
        for card in sorted(root.glob("*/card.json"))
    }
    new = {name: date for name, date in shipped.items() if name not in known or date > known[name]}
    added = []
    for name in new:
        try:
            wanted = bool(registry.entry(Reference(name)).card.get("pretrained"))
        except UnknownModel:
            wanted = name not in known
        except CheckpointError:
            wanted = False
        if wanted:
            digest = registry.publish(Reference(name), unpack(root / name), keep_before=True)
            cells = json.loads((root / name / "cells.json").read_text("utf-8"))
            keep_cells(registry, name, digest, cells)
            added.append(name)
    if new:
        registry.root.mkdir(parents=True, exist_ok=True)
        lines = (f"{name} {date}".rstrip() for name, date in sorted((known | new).items()))
        write_durably(record, "\n".join(lines).encode())
    return added


def _installed(record: Path) -> dict[str, str]:
    """Reads names and training dates from the record; those of earlier releases lack dates."""
    lines = record.read_text("utf-8").splitlines() if record.exists() else []
    return {name: date for name, _, date in (line.partition(" ") for line in lines)}


def main() -> None:
    source, target = (Path(argument) for argument in sys.argv[1:3])
    pack(read(source), target)


if __name__ == "__main__":
    main()

"""Small trained checkpoints that ship with the code, and how they get among the models.

A shipped checkpoint is a directory ``<root>/<name>/`` of ``config.json``, ``vocab.json``,
``card.json``, ``history.jsonl``, ``lines.u64`` and ``model.safetensors``, whose weights are fp16:
half the size, for less than 0.001 nats. Of its corpus it holds the excerpts alone that are in
``cells.json``, what the search for cells found (``models.cells``): that takes the text. At the
first start each is published as ``<name>:latest``, once: who deletes it is not given it again.

    python -m models.pretrained CHECKPOINT TARGET    makes one of a published checkpoint
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

from models.analysis import keep_cells
from models.cells import find_cells
from models.checkpoint import Checkpoint, Registry, UnknownModel, read, write_durably
from models.config import NetworkConfig
from models.vocab import Vocabulary

INSTALLED = ".pretrained"
"""A file beside the models that names those that were published from here."""


def pack(checkpoint: Checkpoint, target: Path) -> None:
    """Writes a checkpoint as it ships; its cells are searched first, which takes a while."""
    cells = find_cells(checkpoint)
    target.mkdir(parents=True)
    files = {
        "config.json": asdict(checkpoint.config),
        "vocab.json": checkpoint.vocabulary.to_json(),
        "card.json": checkpoint.card,
    }
    for name, value in files.items():
        (target / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", "utf-8")
    # On one line: a number for each character of its excerpts would be as many lines.
    (target / "cells.json").write_text(json.dumps(cells, ensure_ascii=False) + "\n", "utf-8")
    lines = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in checkpoint.history)
    (target / "history.jsonl").write_text(lines, "utf-8")
    (target / "lines.u64").write_bytes(checkpoint.lines.astype("<u8").tobytes())
    halves = {name: weight.astype(np.float16) for name, weight in checkpoint.weights.items()}
    (target / "model.safetensors").write_bytes(save(halves))


def unpack(directory: Path) -> Checkpoint:
    """A shipped checkpoint, its weights as fp32. What ships is trusted: it is part of the code."""

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
    """Publishes what ships and was not published yet, unless its name is taken; their names."""
    record = registry.root / INSTALLED
    known = set(record.read_text("utf-8").split()) if record.exists() else set()
    shipped = sorted(card.parent.name for card in root.glob("*/card.json"))
    added = []
    for name in shipped:
        if name in known:
            continue
        try:
            registry.resolve(name)
        except UnknownModel:
            digest = registry.publish(name, "latest", unpack(root / name))
            cells = json.loads((root / name / "cells.json").read_text("utf-8"))
            keep_cells(registry, name, digest, cells)
            added.append(name)
    if set(shipped) - known:
        registry.root.mkdir(parents=True, exist_ok=True)
        write_durably(record, "\n".join(sorted(known | set(shipped))).encode())
    return added


def main() -> None:
    source, target = (Path(argument) for argument in sys.argv[1:3])
    pack(read(source), target)


if __name__ == "__main__":
    main()

"""A checkpoint small enough to check by eye, and forgeries of it."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.checkpoints.card import Card
from models.checkpoints.format import Checkpoint
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.config import NetworkConfig
from models.ngram_table import NGramTable, hashes
from models.text.vocab import Vocabulary

CONFIG = NetworkConfig(vocabulary_size=3, num_layers=1, hidden_size=2)
VOCABULARY = Vocabulary("characters", sorted(map(ord, "\naé")))
CARD: Card = {
    "corpus": {"id": "0" * 64, "characters": 1234},
    "step": 500,
    "val_loss": 1.5,
    "job_id": "abc",
    "created_at": "2026-01-02T03:04:05Z",
    "device": "CPU",
    "options": {"seed": 0, "dropout": 0.5},
}


def a_checkpoint(step: int = 500, history: int = 2) -> Checkpoint:
    """Every weight says which step it is of."""
    return Checkpoint(
        config=CONFIG,
        vocabulary=VOCABULARY,
        weights={name: np.full(shape, step, np.float32) for name, shape in CONFIG.shapes().items()},
        card={**CARD, "step": step},
        history=[{"step": i, "train_loss": 2.0, "text": "a\u2028é\r\n"} for i in range(history)],
        validation="aé\n".encode(),
        lines=np.array([1, 2**63, 2**64 - 1], np.uint64),
    )


def a_counted_checkpoint() -> Checkpoint:
    """The same beside an n-gram table: the contexts n, é and né have rows, néa has a list."""
    rows = np.array([[17, 18, 19], [16, 32, 48], [40, 30, 20], [1, 2, 255]], np.uint8)
    n, e, ne = hashes(np.array([0, 2]), [1, 2], 3)[[0, 1, 1], [0, 0, 1]]
    lists = np.array([[2, 1, 0, 0, 0, 0]], np.uint16), np.array([[9, 255, 0, 0, 0, 0]], np.uint8)
    longer = hashes(np.array([0, 2, 1]), [3], 3)[-1]
    table = NGramTable.of([np.array([n, e]), np.array([ne])], rows, [longer], lists)
    config = CONFIG.beside(table)
    plain = a_checkpoint()
    gates = {n: np.ones(s, np.float32) for n, s in config.shapes().items() if n[0] == "g"}
    weights = plain.weights | gates | table.tensors()
    return replace(plain, config=config, weights=weights)


def forged(sound: Path, tmp_path: Path, name: str, data: bytes) -> Path:
    """A checkpoint with another file, whose manifest and digest are right nevertheless."""
    target = tmp_path / "forged"
    shutil.copytree(sound, target)
    (target / name).write_bytes(data)
    if name != "manifest.json":
        manifest = json.loads((target / "manifest.json").read_bytes())
        manifest[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        (target / "manifest.json").write_text(json.dumps(manifest))
    digest = hashlib.sha256((target / "manifest.json").read_bytes()).hexdigest()
    return target.rename(tmp_path / digest)


def plant(registry: Registry, reference: Reference, name: str, data: bytes) -> Path:
    """Puts another file into a model, as an earlier release would have imported it."""
    home = registry.root / reference.name
    directory = forged(home / registry.resolve(reference), home, name, data)
    registry.tag(reference, directory.name)
    return directory


PATHS = [
    "",
    ".",
    "..",
    "../linux",
    "/etc/passwd",
    "linux/tags",
    "linux\\tags",
    "linux\0",
    "linux\n",
    "%2e%2e",
    ".linux",
    "-linux",
    "Linux",
    "l\u0131nux",
    "linux\u0301",
    "\uff4cinux",
    "a" * 64,
]
"""What is no model's name, though it looks like one or like a file's."""

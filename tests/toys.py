"""Small networks with opinions, made without training."""

from typing import Any, cast

import numpy as np

from models.checkpoints.card import Card
from models.checkpoints.format import Checkpoint
from models.config import NetworkConfig, NetworkKind
from models.decoding.decoder import Decoder
from models.decoding.graph import Precision
from models.text.vocab import Vocabulary

ALPHABET = Vocabulary("characters", [0x0A, 0x20, *range(0x61, 0x7B), 0x3042])


def toy_checkpoint(
    kind: NetworkKind = "lstm",
    hidden_size: int = 24,
    vocabulary: Vocabulary = ALPHABET,
    seed: int = 0,
    **card: Any,
) -> Checkpoint:
    """Random weights, the output's drawn large: flat guesses would not tell temperatures apart."""
    config = NetworkConfig(len(vocabulary), kind, 2, hidden_size)
    rng = np.random.default_rng(seed)
    weights = {
        name: rng.normal(0, 1.5 if name.startswith("output") else 0.4, shape).astype(np.float32)
        for name, shape in config.shapes().items()
    }
    text = b"the quick fox\n"
    known = text if set(text) <= set(vocabulary.symbols.tolist()) else b""
    told = cast(Card, {"val_loss": 2.0} | card)
    return Checkpoint(config, vocabulary, weights, told, [], known)


def toy_decoder(checkpoint: Checkpoint, precision: Precision = "exact") -> Decoder:
    return Decoder(checkpoint.config, checkpoint.weights, precision)


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

"""A network with two cells made by hand, and a text that they track."""

import numpy as np

from models.checkpoints.format import Checkpoint
from models.config import NetworkConfig, Weights
from models.text.vocab import Vocabulary

VOCABULARY = Vocabulary("characters", [0x0A, 0x20, 0x22, *range(0x61, 0x7B)])
LINE_END, QUOTE = 0, 2
"""Ids."""
QUOTES, COLUMN = 3, 5
"""The cells made by hand."""
HIDDEN = 16


def planted(upside_down: bool = False) -> Weights:
    """An LSTM of noise with two cells made by hand.

    Cell 3 holds ±1: a quote turns it over, a line end lets it fall. Cell 5 adds a little with each
    character and starts again at a line end.
    """
    config = NetworkConfig(len(VOCABULARY), "lstm", 1, HIDDEN)
    rng = np.random.default_rng(0)
    weights = {k: rng.normal(0, 0.3, s).astype(np.float32) for k, s in config.shapes().items()}
    w, r = weights["layers.0.weight_ih_l0"], weights["layers.0.weight_hh_l0"]
    bias, other = weights["layers.0.bias_ih_l0"], weights["layers.0.bias_hh_l0"]
    # Nobody listens to them: who did would track the same.
    r[:, [QUOTES, COLUMN]] = 0
    for cell, keeps, adds in ((QUOTES, 10, -10), (COLUMN, 10, 10)):
        i, f, g, o = (gate * HIDDEN + cell for gate in range(4))
        for row in (i, f, g, o):
            w[row], r[row], bias[row], other[row] = 0, 0, 0, 0
        bias[f], bias[i], bias[o] = keeps, adds, 10
        w[f, LINE_END] = -20
    i, f, g, _ = (gate * HIDDEN + QUOTES for gate in range(4))
    w[f, QUOTE], w[i, QUOTE], w[i, LINE_END] = -20, 20, 20
    r[g, QUOTES] = -10
    w[g, LINE_END] = 20 if upside_down else -20
    w[i - QUOTES + COLUMN, LINE_END] = -20
    bias[2 * HIDDEN + COLUMN] = 0.02
    return weights


def quoting_text(length: int) -> str:
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghij"), rng.integers(2, 9))) for _ in range(200)]
    lines = []
    for _ in range(length // 30):
        spoken = rng.random(8) < 0.3
        chosen = rng.choice(words, 8)
        lines.append(
            " ".join(f'"{w} {w}"' if s else w for w, s in zip(chosen, spoken, strict=True))
        )
    return "\n".join(lines)[:length]


def made(weights: Weights, text: str | bytes, config: NetworkConfig | None = None) -> Checkpoint:
    config = config or NetworkConfig(len(VOCABULARY), "lstm", 1, HIDDEN)
    data = text if isinstance(text, bytes) else text.encode()
    return Checkpoint(config, VOCABULARY, weights, {}, [], data)

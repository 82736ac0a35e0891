"""Packs a network for a file that runs it in a browser: rounded, deflated, as text.

Weights become whole numbers of steps, one step for each tensor. The finer it is, the closer the
probabilities are: with ``STEPS`` those of the shipped models differ by less than 0.001
(``bench.portable``), and a weight of an LSTM takes 12 to 13 bits. The network sums over its cells,
so steps are finer by the root of their number.

Of the n-gram table's keys and of the hashes of a list's lines only half is kept: a look-up then
finds what is not there once in a hundred million characters, and a new name is taken for one of the
list with odds of six times its lines in 2³². ``app/static/portable/engine`` reads all this.

Knows no page, no card and no client.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import Hashes
from models.checkpoints.format import Checkpoint
from models.config import NetworkConfig, Weights
from models.ngram_table import (
    BASE,
    FOLLOWERS,
    MULTIPLIERS,
    NGRAM_BOOSTS,
    NGRAM_FOLLOWERS,
    NGRAM_KEYS,
    NGRAM_ROWS,
    STEP,
)

MAX_PORTABLE = 48 << 20
"""Most bytes before deflation, which a browser still opens in a few seconds."""

STEPS = {"lstm": 80.0, "gru": 320.0, "rnn": 2560.0}
"""Steps in the root mean square of a tensor, times the root of the cells.

The fewer gates, the fewer weights, and the more bits for each in a file of the same size.
"""

_LARGEST = 1 << 22
"""Most steps of a weight, however far it stands out: with its sign it fits into three bytes."""

_PLANES = 3
_FIRST, _LEFT_OUT = ord("("), ord("<")
_DIGITS = 85


@dataclass(frozen=True, slots=True)
class Packed:
    """What the engine reads: sizes and steps as JSON, and everything else as text in base 85.

    The text has neither ``<`` nor white space, so it can stand in any HTML.
    """

    header: dict[str, Any]
    text: str


def pack(checkpoint: Checkpoint) -> Packed:
    """Packs a network with its vocabulary, its n-gram table and the hashes of its list.

    Raises:
        ValueError: it is too large; the message says so of a format.
    """
    config, vocabulary = checkpoint.config, checkpoint.vocabulary
    size = _PLANES * config.parameters() + config.table_bytes() + 4 * len(checkpoint.lines)
    if size > MAX_PORTABLE:
        raise ValueError(
            "is not available for this model: it is too large for a page, "
            f"{size / 1e6:,.0f} MB where {MAX_PORTABLE / 1e6:,.0f} MB are the most. "
            "Download it as zip or onnx"
        )
    tensors, numbers = _rounded(config, checkpoint.weights)
    parts = [_planes(numbers, _PLANES), *_table(config, checkpoint.weights)]
    parts.append(_planes(_distances(checkpoint.lines), 4))
    deflated = _deflated(b"".join(parts))
    header = {
        "config": config.to_json(),
        "vocabulary": vocabulary.to_json(),
        "start_id": vocabulary.start_id,
        "tensors": tensors,
        "table": _table_header(config),
        "lines": len(checkpoint.lines),
        "size": len(deflated),
    }
    return Packed(header, base85(deflated))


def rounded(config: NetworkConfig, weights: Weights) -> Weights:
    """Returns the weights as the engine has them; the n-gram table as it is."""
    return weights | {
        name: (_steps(weights[name], step) * step).astype(np.float32)
        for name, step in ((name, _step(config, weights[name])) for name in config.shapes())
    }


def _rounded(
    config: NetworkConfig, weights: Weights
) -> tuple[list[tuple[str, int, float]], NDArray[np.uint32]]:
    """Returns the name, size and step of each tensor, and their weights as unsigned numbers."""
    tensors, numbers = [], []
    for name in config.shapes():
        step = _step(config, weights[name])
        steps = _steps(weights[name], step).reshape(-1)
        # 0, −1, 1, −2, 2, … become 0, 1, 2, 3, 4, …: small ones have zeros in the higher bytes.
        numbers.append(np.where(steps < 0, -2 * steps - 1, 2 * steps).astype(np.uint32))
        tensors.append((name, steps.size, step))
    return tensors, np.concatenate(numbers)


def _step(config: NetworkConfig, weight: NDArray[Any]) -> float:
    exact = weight.astype(np.float64)
    finest = np.abs(exact).max() / _LARGEST
    usual = np.sqrt(np.square(exact).mean() / config.hidden_size) / STEPS[config.kind]
    return float(max(finest, usual)) or 1.0


def _steps(weight: NDArray[Any], step: float) -> NDArray[np.int64]:
    steps: NDArray[np.int64] = np.rint(weight.astype(np.float64) / step).astype(np.int64)
    return steps


def _planes(numbers: NDArray[np.uint32], count: int) -> bytes:
    """Returns the lowest bytes of all numbers, then the next ones, and so on."""
    return numbers.astype("<u4").view(np.uint8).reshape(-1, 4).T[:count].tobytes()


def _table(config: NetworkConfig, weights: Weights) -> list[bytes]:
    if not config.ngram_buckets:
        return []
    keys = (weights[NGRAM_KEYS].view(np.uint64) & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    parts = [_planes(keys, 4), weights[NGRAM_ROWS].tobytes()]
    if config.ngram_long_buckets:
        followers = weights[NGRAM_FOLLOWERS].astype(np.uint32).reshape(-1)
        parts += [_planes(followers, 2), weights[NGRAM_BOOSTS].tobytes()]
    return parts


def _table_header(config: NetworkConfig) -> dict[str, Any] | None:
    if not config.ngram_buckets:
        return None
    rows, lists = config.table_sizes
    return {
        "lengths": config.ngram_lengths,
        "sizes": [*rows, *lists],
        "rowed": len(rows),
        "multipliers": [f"{multiplier:x}" for multiplier in MULTIPLIERS.tolist()],
        "base": f"{BASE:x}",
        "step": STEP,
        "perList": FOLLOWERS,
    }


def _distances(lines: Hashes) -> NDArray[np.uint32]:
    """Returns the upper halves of increasing hashes, each less the one before."""
    halves = (lines >> np.uint64(32)).astype(np.uint32)
    return np.diff(halves, prepend=np.uint32(0))


def base85(data: bytes) -> str:
    """Returns bytes as text: for four bytes five characters, from ``(`` on but without ``<``.

    As base 85 has them that Git and PDF use, but for characters that mean something in HTML.
    """
    words = np.frombuffer(data + b"\0" * (-len(data) % 4), "<u4")
    digits = np.empty((len(words), 5), np.uint8)
    for place in reversed(range(5)):
        words, digits[:, place] = np.divmod(words, np.uint32(_DIGITS))
    codes = digits + np.uint8(_FIRST)
    codes += codes >= _LEFT_OUT
    return codes.tobytes().decode("ascii")


def _deflated(data: bytes) -> bytes:
    # Noise has no repetitions to look for but runs of zeros; looking would cost time and bits.
    packer = zlib.compressobj(strategy=zlib.Z_RLE)
    return packer.compress(data) + packer.flush()

"""Packs a network for a file that runs it in a browser: rounded, deflated, as text.

Weights become whole numbers of steps, one step for each row. The finer it is, the closer the
probabilities are: in ``fast`` those of the shipped models differ by less than 0.001 on text of
their own (``bench.portable``), and a weight of an LSTM takes 12 to 13 bits; in ``exact`` by less
than 0.0001, for five more bits. The network sums over its cells, so steps are finer by the root of
their number.

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

from models.arrays import AnyInts, Hashes
from models.checkpoints.format import Checkpoint
from models.config import NetworkConfig, Weights
from models.decoding.graph import Precision
from models.ngram_table import (
    BASE,
    FOLLOWERS,
    MULTIPLIERS,
    NGRAM_BOOSTS,
    NGRAM_FOLLOWERS,
    NGRAM_KEYS,
    NGRAM_ROWS,
    STEP,
    WINDOW,
)

MAX_PORTABLE = 48 << 20
"""Most bytes before deflation, which a browser still opens in a few seconds."""

STEPS = {"lstm": 68.0, "gru": 320.0, "rnn": 640.0}
"""Steps in the root mean square of a row of weights, times the root of the cells.

The fewer gates, the fewer weights, and the more bits for each in a file of the same size.
"""

FINER: dict[Precision, int] = {"fast": 1, "exact": 32}
"""How much finer than usual the steps of a precision are."""

NEAR_THE_END = 4
"""How much finer are the steps outside of layers: few weights, and nothing softens their errors."""

_LARGEST = 1 << 21
"""Most steps of a weight, however far it stands out: with its sign it fits into three bytes."""

_PER_OCTAVE = 4
_ZERO = 1 << 15
"""The number that stands for a step of 1."""

_PLANES = 3
_FIRST, _LEFT_OUT = ord("("), ord("<")
_DIGITS = 85


@dataclass(frozen=True, slots=True)
class PackedNetwork:
    """What the engine reads: sizes and steps as JSON, and everything else as text in base 85.

    The text has neither ``<`` nor white space, so it can stand in any HTML.
    """

    header: dict[str, Any]
    text: str


def pack(checkpoint: Checkpoint, precision: Precision = "fast") -> PackedNetwork:
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
    tensors, parts = _network(config, checkpoint.weights, precision)
    parts += _table(config, checkpoint.weights)
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
    return PackedNetwork(header, base85(deflated))


def rounded(config: NetworkConfig, weights: Weights, precision: Precision = "fast") -> Weights:
    """Returns the weights as the engine has them; the n-gram table as it is."""
    kept = dict(weights)
    for name in config.shapes():
        counts, exponents = _rounded(config, name, weights[name], precision)
        values = counts * np.exp2(exponents / _PER_OCTAVE)[:, None]
        kept[name] = values.astype(np.float32).reshape(weights[name].shape)
    return kept


def _rounded(
    config: NetworkConfig, name: str, weight: NDArray[Any], precision: Precision
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns how many steps each weight is, [rows, columns], and each row's step, [rows].

    A step is two to the power of a number over ``_PER_OCTAVE``.
    """
    rows = weight.astype(np.float64).reshape(len(weight) if weight.ndim > 1 else 1, -1)
    steps = STEPS[config.kind] * FINER[precision]
    if not name.startswith("layers."):
        steps *= NEAR_THE_END
    usual = np.sqrt(np.square(rows).mean(axis=1) / config.hidden_size) / steps
    step = np.maximum(usual, np.abs(rows).max(axis=1) / _LARGEST)
    exponents = np.rint(_PER_OCTAVE * np.log2(np.where(step > 0, step, 1))).astype(np.int64)
    return np.rint(rows / np.exp2(exponents / _PER_OCTAVE)[:, None]).astype(np.int64), exponents


def _planes(numbers: AnyInts, count: int) -> bytes:
    """Returns the lowest bytes of all numbers, then the next ones, and so on."""
    return numbers.astype("<u4", copy=False).view(np.uint8).reshape(-1, 4).T[:count].tobytes()


def _network(
    config: NetworkConfig, weights: Weights, precision: Precision
) -> tuple[list[tuple[str, int, int]], list[bytes]]:
    """Returns the name, rows and columns of each tensor; the steps of all rows, and all weights."""
    tensors, numbers, steps = [], [], []
    for name in config.shapes():
        counts, exponents = _rounded(config, name, weights[name], precision)
        tensors.append((name, *counts.shape))
        # 0, −1, 1, −2, 2, … become 0, 1, 2, 3, 4, …: of small ones the higher bytes are zeros.
        kept = np.where(counts < 0, -2 * counts - 1, 2 * counts).reshape(-1)
        numbers.append(kept.astype(np.uint32))
        steps.append(exponents + _ZERO)
    parts = [_planes(np.concatenate(steps), 2), _planes(np.concatenate(numbers), _PLANES)]
    return tensors, parts


def _table(config: NetworkConfig, weights: Weights) -> list[bytes]:
    if not config.ngram_buckets:
        return []
    keys = weights[NGRAM_KEYS].view(np.uint32)
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
        "window": WINDOW,
        "base": f"{BASE & 0xFFFFFFFF:x}",
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

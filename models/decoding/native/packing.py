"""Lays a network's weights out as ``step.c`` reads them. Knows no compiler and no row."""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import Floats
from models.config import INPUT_WEIGHTS, NetworkConfig, Weights
from models.decoding.native.library import Library
from models.decoding.ngram_nodes import output_with_gates
from models.ngram_table import (
    MULTIPLIERS,
    NGRAM_BOOSTS,
    NGRAM_FOLLOWERS,
    NGRAM_KEYS,
    NGRAM_ROWS,
    hash_constants,
)

LANES, GATES, IDS = 16, 4, 128
"""Cells of a block, sums of a cell, and ids of a group: as in ``step.c``."""

_ALIGNED = 64
"""Bytes of a cache line, and inputs of a tile of AMX."""

MOST_FIRST = 256 << 20
"""Most bytes of what ids add to the first layer, which may be far larger than an embedding."""

_INT, _POINTER = ctypes.c_int32, ctypes.c_void_p


class _Layer(ctypes.Structure):
    _fields_ = [
        (name, _POINTER) for name in ("x", "h", "x_zero", "h_zero", "x_scale", "h_scale", "bias")
    ]


class _Network(ctypes.Structure):
    _fields_ = [
        *((name, _INT) for name in ("layers", "hidden", "vocabulary", "styles", "outputs")),
        *((name, _INT) for name in ("lengths", "row_lengths", "orders", "rows", "wide_followers")),
        *((name, _POINTER) for name in ("first", "style", "layer", "output", "output_bias")),
        *((name, _POINTER) for name in ("length", "size", "number", "factor", "multiplier")),
        *((name, _POINTER) for name in ("key", "row", "follower", "boost")),
    ]


class PackedWeights:
    """A network in the layout of ``step.c``: ``network`` is its ``struct network``.

    ``bytes`` are those of the arrays that were made for it; the n-gram table is not copied.

    Args:
        library: that computes.
        config: of an LSTM.
        weights: of it.

    Raises:
        ValueError: the weights are not those of the sizes.
    """

    def __init__(self, library: Library, config: NetworkConfig, weights: Weights) -> None:
        _check(config, weights)
        self.bytes = 0
        self._library = library
        # What the struct points to.
        self._kept: list[Any] = []
        layers = [self._layer(config, weights, layer) for layer in range(config.num_layers)]
        array = (_Layer * len(layers))(*layers)
        self._kept.append(array)
        output, output_bias = weights["output.weight"], weights["output.bias"]
        if config.ngram_buckets:
            output, output_bias = output_with_gates(weights)
        self.network = _Network(
            layers=config.num_layers,
            hidden=config.hidden_size,
            vocabulary=config.vocabulary_size,
            styles=len(config.styles),
            outputs=len(output_bias),
            first=self._first(config, weights),
            style=self._styles(config, weights),
            layer=ctypes.addressof(array),
            output=self._keep(_in_groups(output)),
            output_bias=self._keep(_in_groups(output_bias[:, None])),
            **self._table(config, weights),
        )

    def _keep(self, values: NDArray[Any]) -> int:
        """Returns where an array begins, which lives as long as this."""
        kept = _aligned(values)
        self._kept.append(kept)
        self.bytes += kept.nbytes
        return int(kept.ctypes.data)

    def _layer(self, config: NetworkConfig, weights: Weights, layer: int) -> _Layer:
        bias = weights[f"layers.{layer}.bias_ih_l0"] + weights[f"layers.{layer}.bias_hh_l0"]
        fields = self._product("h", weights[f"layers.{layer}.weight_hh_l0"], config.hidden_size)
        if layer:
            of_input = weights[f"layers.{layer}.weight_ih_l0"]
            fields |= self._product("x", of_input, config.hidden_size)
        return _Layer(bias=self._keep(_in_blocks(bias, config.hidden_size)), **fields)

    def _product(self, name: str, matrix: Floats, hidden: int) -> dict[str, int]:
        """Rounds weights, [gates × cells, cells], to int8, a scale for each row."""
        scale = np.maximum(np.abs(matrix).max(axis=1), np.float32(1e-12)) / np.float32(127)
        rounded = np.nan_to_num(np.round(matrix / scale[:, None])).astype(np.int8)
        columns = _in_blocks(rounded, hidden)
        blocks, _, inputs = columns.shape
        padded = np.pad(columns, ((0, 0), (0, 0), (0, -inputs % _ALIGNED)))
        quads = padded.reshape(blocks, GATES * LANES, -1, 4).swapaxes(1, 2)
        return {
            name: self._keep(quads),
            f"{name}_zero": self._keep(-128 * columns.sum(axis=2, dtype=np.int32)),
            f"{name}_scale": self._keep(_in_blocks(scale / np.float32(127), hidden)),
        }

    def _first(self, config: NetworkConfig, weights: Weights) -> int:
        """Keeps what each id adds to the first layer, bias included, [ids, blocks, 64]."""
        hidden = config.hidden_size
        bias = weights["layers.0.bias_ih_l0"] + weights["layers.0.bias_hh_l0"]
        columns = weights[INPUT_WEIGHTS][:, : config.character_size]
        if not config.embedding_size:
            blocks = _in_blocks(columns + bias[:, None], hidden)
            return self._keep(blocks.reshape(-1, config.vocabulary_size).T)
        of_embedding = _in_blocks(columns, hidden).reshape(-1, config.embedding_size).T
        inputs = (weights["embedding.weight"], of_embedding, _in_blocks(bias, hidden))
        embedding, matrix, start = (_aligned(one) for one in inputs)
        folded = _aligned(np.empty((config.vocabulary_size, start.size), np.float32))
        self._library.fold(embedding, matrix, start.reshape(-1), folded)
        return self._keep(folded)

    def _styles(self, config: NetworkConfig, weights: Weights) -> int | None:
        if not config.styles:
            return None
        columns = weights[INPUT_WEIGHTS][:, config.character_size :]
        return self._keep(_in_blocks(columns, config.hidden_size).reshape(-1, columns.shape[1]).T)

    def _table(self, config: NetworkConfig, weights: Weights) -> dict[str, int]:
        if not config.ngram_buckets:
            return {}
        numbers, factors = hash_constants(config.vocabulary_size, config.ngram_orders)
        rows, lists = config.table_sizes
        found = {
            "lengths": len(config.ngram_lengths),
            "row_lengths": len(rows),
            "orders": config.ngram_orders,
            "rows": sum(rows),
            "length": self._keep(np.array(config.ngram_lengths, np.int32)),
            "size": self._keep(np.array([*rows, *lists], np.int32)),
            "number": self._keep(numbers.astype(np.int32)),
            "factor": self._keep(factors.astype(np.int32)),
            "multiplier": self._keep(MULTIPLIERS),
            "key": self._share(weights[NGRAM_KEYS]),
            "row": self._share(weights[NGRAM_ROWS]),
        }
        if lists:
            followers = weights[NGRAM_FOLLOWERS]
            found["wide_followers"] = int(followers.itemsize > 1)
            found["follower"] = self._share(followers)
            found["boost"] = self._share(weights[NGRAM_BOOSTS])
        return found

    def _share(self, values: NDArray[Any]) -> int:
        """As ``_keep``, of an array that others have, too."""
        shared = np.ascontiguousarray(values)
        self._kept.append(shared)
        return int(shared.ctypes.data)


def is_packable(config: NetworkConfig) -> bool:
    """Whether a network is of a kind and size that ``step.c`` is meant for."""
    columns = GATES * LANES * -(-config.hidden_size // LANES)
    return config.kind == "lstm" and 4 * config.vocabulary_size * columns <= MOST_FIRST


def _check(config: NetworkConfig, weights: Weights) -> None:
    """Raises ValueError for what ``step.c`` would read beyond."""
    if not is_packable(config):
        raise ValueError("the network has no native step")
    for name, shape in config.shapes().items():
        if weights[name].shape != shape or weights[name].dtype != np.float32:
            raise ValueError(f"{name} must be fp32 of the shape {shape}")
    for name, shape in config.table_shapes().items():
        if weights[name].shape != shape:
            raise ValueError(f"{name} must have the shape {shape}")
    if not config.ngram_buckets:
        return
    kinds: dict[str, tuple[type[Any], ...]] = {NGRAM_KEYS: (np.int32,), NGRAM_ROWS: (np.uint8,)}
    if config.ngram_long_buckets:
        kinds |= {NGRAM_FOLLOWERS: (np.uint8, np.uint16), NGRAM_BOOSTS: (np.uint8,)}
        if (weights[NGRAM_FOLLOWERS] >= config.vocabulary_size).any():
            raise ValueError("a follower must be an id")
    for name, types in kinds.items():
        if weights[name].dtype not in types:
            raise ValueError(f"{name} must be of another type")


def _aligned(values: NDArray[Any]) -> NDArray[Any]:
    """Returns a copy that begins at a cache line."""
    room = np.empty(values.nbytes + _ALIGNED, np.uint8)
    begin = -room.ctypes.data % _ALIGNED
    copy = room[begin : begin + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


def _in_blocks(values: NDArray[Any], hidden: int) -> NDArray[Any]:
    """Reorders gates × cells, the first axis, to blocks of cells: [blocks, 64, …]."""
    rest = values.shape[1:]
    cells = values.reshape(GATES, hidden, *rest)
    padded = np.pad(cells, ((0, 0), (0, -hidden % LANES), *((0, 0) for _ in rest)))
    blocks = padded.reshape(GATES, -1, LANES, *rest).swapaxes(0, 1)
    return blocks.reshape(-1, GATES * LANES, *rest)


def _in_groups(columns: Floats) -> Floats:
    """Reorders outputs, [outputs, cells], to groups of them, [groups, cells, IDS]."""
    padded = np.pad(columns, ((0, -len(columns) % IDS), (0, 0)))
    return padded.reshape(-1, IDS, columns.shape[1]).swapaxes(1, 2)

"""Advances the rows of a network by the compiled ``step.c``. Knows rows of numbers; no text."""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import Floats, Ids
from models.config import NetworkConfig, Weights
from models.decoding.native.library import Library
from models.decoding.native.packing import PackedWeights
from models.decoding.rows import Choices, Rows, ids_before
from models.ngram_table import NOTHING


class _Call(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int32) for name in ("steps", "rows", "changing", "tiles")),
        *((name, ctypes.c_void_p) for name in ("id", "forced", "uniform", "temperature")),
        *((name, ctypes.c_void_p) for name in ("top_k", "top_p", "style", "h", "c", "history")),
        *((name, ctypes.c_void_p) for name in ("h_end", "c_end", "id_end", "chosen", "logits")),
    ]


class NativeEngine:
    """An LSTM with int8 weights. It keeps nothing between calls; threads may share it.

    Raises:
        ValueError: the weights are not those of the sizes.
    """

    arithmetic = "native"
    # From 0.9 with 24 cells to 2.4 with 128 (python -m bench.fair).
    spare_rows = 1

    def __init__(self, library: Library, config: NetworkConfig, weights: Weights) -> None:
        self._library = library
        self._config = config
        self._packed = PackedWeights(library, config, weights)
        self.bytes = self._packed.bytes

    def advance(
        self, rows: Rows, forced: Ids, uniforms: Floats, choices: Choices
    ) -> tuple[Ids, Floats, Rows]:
        """As ``Decoder.advance``.

        Raises:
            ValueError: an id is not of the vocabulary.
            MemoryError: the rows are too many.
        """
        config = self._config
        steps, count = forced.shape
        _check(rows.ids, 0, config.vocabulary_size)
        _check(forced, -1, config.vocabulary_size)
        shape = (config.num_layers, count, config.hidden_size)
        given: dict[str, NDArray[Any]] = {
            "id": _of(rows.ids, np.int64, (count,)),
            "forced": _of(forced, np.int64, (steps, count)),
            "uniform": _of(uniforms, np.float32, (steps, count)),
            "temperature": _of(
                choices.temperatures, np.float32, (steps, count)[-choices.temperatures.ndim :]
            ),
            "top_k": _of(choices.top_k, np.int64, (count,)),
            "top_p": _of(choices.top_p, np.float32, (count,)),
            "h": _of(rows.state[0], np.float32, shape),
            "c": _of(rows.state[1], np.float32, shape),
        }
        if config.styles:
            styles = choices.styles
            if styles is None:
                styles = np.zeros((count, len(config.styles)), np.float32)
            given["style"] = _of(styles, np.float32, (count, len(config.styles)))
        if config.ngram_orders:
            before = rows.state[2][0]
            _check(before, NOTHING, config.vocabulary_size)
            given["history"] = _of(before, np.float32, (count, config.ngram_orders))
        made: dict[str, NDArray[Any]] = {
            "h_end": np.empty(shape, np.float32),
            "c_end": np.empty(shape, np.float32),
            "id_end": np.empty(count, np.int64),
            "chosen": np.empty((steps, count), np.int64),
            "logits": np.empty((steps, count, config.vocabulary_size), np.float32),
        }
        places = {name: values.ctypes.data for name, values in (given | made).items()}
        changing = int(choices.temperatures.ndim == 2)
        call = _Call(steps, count, changing, self._library.tiles, **places)
        self._library.advance(self._packed.network, call)
        state = [made["h_end"], made["c_end"]]
        if config.ngram_orders:
            state.append(ids_before(rows, made["chosen"]))
        return made["chosen"], made["logits"], Rows(made["id_end"], tuple(state))


def _of(values: NDArray[Any], kind: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Returns values as the C code reads them. Raises ValueError if they have another shape."""
    if values.shape != shape:
        raise ValueError(f"the shape must be {shape}, not {values.shape}")
    return np.ascontiguousarray(values, kind)


def _check(ids: NDArray[Any], least: int, vocabulary_size: int) -> None:
    """Raises ValueError for an id that the C code would look up outside of a table."""
    if ids.size and not least <= ids.min() <= ids.max() < vocabulary_size:
        raise ValueError(f"ids must be from {least} to {vocabulary_size - 1}")

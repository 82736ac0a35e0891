"""Advances the rows of a network by ONNX Runtime: the graph of ``models.decoding.graph``.

Knows rows of numbers; no text.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import Floats, Ids
from models.config import NetworkConfig, Weights
from models.decoding.graph import Precision, build_graph
from models.decoding.ngram_nodes import HISTORY
from models.decoding.rows import Choices, Rows, ids_before
from models.onnx_graph import OnnxSession


class GraphEngine:
    """A network of any kind and precision. It keeps nothing between calls; threads may share it."""

    arithmetic = "onnxruntime"
    # From 3 with 512 cells to 17 with 24 (python -m bench.fair).
    spare_rows = 4

    def __init__(self, config: NetworkConfig, weights: Weights, precision: Precision) -> None:
        self.config = config
        self.precision = precision
        self._parts = "hc" if config.kind == "lstm" else "h"
        self._weights = weights
        self._plain = OnnxSession(build_graph(config, weights, precision))

    @property
    def bytes(self) -> int:
        """Estimates the memory of its sessions."""
        # Not by their names, which would make them.
        sessions = [self._plain]
        sessions += [self.__dict__[n] for n in ("_changing", "_filtering") if n in self.__dict__]
        return sum(session.bytes for session in sessions)

    @cached_property
    def _changing(self) -> OnnxSession:
        """The graph with a temperature for each step."""
        return OnnxSession(build_graph(self.config, self._weights, self.precision, changing=True))

    @cached_property
    def _filtering(self) -> OnnxSession:
        """The graph with all options; separate, because sorting costs every row."""
        return OnnxSession(build_graph(self.config, self._weights, self.precision, filtering=True))

    def advance(
        self, rows: Rows, forced: Ids, uniforms: Floats, choices: Choices
    ) -> tuple[Ids, Floats, Rows]:
        """As ``Decoder.advance``."""
        count = len(rows.ids)
        feeds: dict[str, NDArray[Any]] = {
            "id": rows.ids,
            "forced": forced,
            "uniforms": uniforms,
        }
        for part, values in zip(self._parts, rows.state, strict=False):
            for layer in range(self.config.num_layers):
                feeds[f"{part}{layer}"] = values[layer : layer + 1]
        if self.config.ngram_orders:
            feeds[HISTORY] = rows.state[-1][0].astype(np.int64)
        if self.config.styles:
            none = np.zeros((count, len(self.config.styles)), np.float32)
            feeds["style"] = none if choices.styles is None else choices.styles
        temperatures = choices.temperatures
        is_filtered = choices.top_k.any() or choices.top_p.any()
        if temperatures.ndim == 1 and not is_filtered:
            session = self._plain
            feeds["temperature"] = temperatures[:, None]
            feeds["greedy"] = temperatures == 0
        else:
            session = self._filtering if is_filtered else self._changing
            feeds["temperature"] = np.broadcast_to(temperatures, forced.shape).copy()
            feeds["greedy"] = feeds["temperature"] == 0
        if is_filtered:
            everything = self.config.vocabulary_size
            top_k = np.where(choices.top_k == 0, everything, choices.top_k)
            feeds["last_kept"] = np.minimum(top_k, everything)[:, None] - 1
            # 2 keeps all ids; at 1, rounding of the sum could drop the least likely.
            feeds["top_p"] = np.where(choices.top_p == 0, np.float32(2), choices.top_p)[:, None]
        results = session.run(feeds)
        chosen = results["chosen"][:, :count]
        state = [
            np.concatenate(
                [results[f"{part}{layer}_end"][:, :count] for layer in range(len(values))]
            )
            for part, values in zip(self._parts, rows.state, strict=False)
        ]
        if self.config.ngram_orders:
            state.append(ids_before(rows, chosen))
        end = Rows(results["id_end"][:count], tuple(state))
        return chosen, results["logits"][:, :count], end

"""The decoder advances many streams of one model together, several characters per call.

A checkpoint becomes an ONNX graph: a ``Scan`` whose body is one character for every row (input,
recurrent layers, output, temperature, softmax, choice). So Python does nothing per character, and
the interpreter lock is free meanwhile. ``exact`` computes in fp32, ``fast`` (LSTM only) with int8
weights; in both, a row's numbers are bit-identical whatever other rows are in the batch.

Knows rows of numbers; no text, no client and no torch.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.arrays import Floats, Ids
from models.config import NetworkConfig, Weights
from models.decoding.graph import LARGEST_H, Precision, build_graph
from models.decoding.ngram_nodes import HISTORY
from models.ngram_table import NOTHING
from models.onnx_graph import OnnxSession
from models.text.spans import Spans


@dataclass(frozen=True, slots=True)
class Rows:
    """The positions of rows: their last ids [rows] and state parts, [layers, rows, hidden] each.

    The last part of a network with an n-gram table has the ids before the last one, [1, rows,
    orders], −1 where there are none.
    """

    ids: Ids
    state: tuple[Floats, ...]


@dataclass(frozen=True, slots=True)
class Choices:
    """How each row chooses; each shape [rows].

    A temperature of 0 is argmax; temperatures that change have the shape [steps, rows]. ``top_k``
    and ``top_p`` restrict the choice to the likeliest ids, 0 is off. ``tell`` says which rows need
    logits of forced ids too; None leaves them out. A network has them anyway. ``styles`` are the
    weights of the network's styles, [rows, styles]; None leaves every row without a style.
    """

    temperatures: Floats
    top_k: Ids
    top_p: Floats
    tell: NDArray[np.bool_] | None = None
    styles: Floats | None = None


class RowDecoder(Protocol):
    """Anything that advances rows; see ``Decoder`` for its methods."""

    def start(self, ids: Ids) -> Rows: ...

    def check(self, rows: Rows) -> None: ...

    def advance(
        self, rows: Rows, forced: Ids, uniforms: Floats, choices: Choices
    ) -> tuple[Ids, Floats, Rows]: ...


class Decoder:
    """A network ready to advance rows. It keeps no state between calls; threads may share it.

    Raises:
        ValueError: ``fast`` for a network that is not an LSTM.
    """

    def __init__(
        self, config: NetworkConfig, weights: Weights, precision: Precision = "exact"
    ) -> None:
        if precision == "fast" and config.kind != "lstm":
            raise ValueError("only an LSTM has a fast precision")
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

    def start(self, ids: Ids) -> Rows:
        """Returns rows in the zero state that are about to read ``ids``, [rows]."""
        state = [np.zeros(shape, np.float32) for shape in self.config.state_shapes(len(ids))]
        if self.config.ngram_orders:
            state[-1].fill(NOTHING)
        return Rows(ids, tuple(state))

    def check(self, rows: Rows) -> None:
        """Raises ValueError for rows that this decoder cannot have reached."""
        check_form(rows, self.start(rows.ids), self.config.vocabulary_size)
        # h is a tanh, or between two. It must not exceed what int8 activations are pinned to.
        if any(np.abs(part).max(initial=0) > LARGEST_H for part in rows.state[:1]):
            raise ValueError(f"a state's h must be from -{LARGEST_H} to {LARGEST_H}")
        check_history(rows.state[len(self._parts) :], self.config.vocabulary_size)

    def advance(
        self, rows: Rows, forced: Ids, uniforms: Floats, choices: Choices
    ) -> tuple[Ids, Floats, Rows]:
        """Reads each row's last id, chooses the next id, and repeats that for every step.

        Args:
            rows: the positions to advance from.
            forced: [steps, rows]; an id to take instead of choosing, or −1 to choose.
            uniforms: [steps, rows], in [0, 1).
            choices: how to choose.

        Returns:
            The ids taken, [steps, rows], ``NOT_FINITE`` where a row's logits are not finite;
            the logits they were chosen from, [steps, rows, vocabulary]; the positions reached.
        """
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
            state.append(_history(rows, chosen))
        end = Rows(results["id_end"][:count], tuple(state))
        return chosen, results["logits"][:, :count], end


def _history(rows: Rows, chosen: Ids) -> Floats:
    """Returns the ids before the last one after a call, [1, rows, orders]."""
    before = rows.state[-1][0]
    read = np.concatenate([before, rows.ids[:, None], chosen[:-1].T], axis=1)
    latest: Floats = read[None, :, -before.shape[1] :].astype(np.float32)
    return latest


def check_history(parts: tuple[Floats, ...], vocabulary_size: int) -> None:
    """Raises ValueError unless state parts hold ids, or ``NOTHING``."""
    for part in parts:
        if not np.isin(part, np.arange(NOTHING, vocabulary_size)).all():
            raise ValueError(f"a state must hold ids from {NOTHING} to {vocabulary_size - 1}")


def check_form(rows: Rows, like: Rows, vocabulary_size: int) -> None:
    """Raises ValueError unless rows are finite and have ids, shapes and types like others."""
    if rows.ids.ndim != 1 or rows.ids.dtype != np.int64:
        raise ValueError("a state must have a row of ids")
    forms, expected = ([(part.shape, part.dtype) for part in one.state] for one in (rows, like))
    if forms != expected:
        raise ValueError("a state must have the shapes and types of its model's")
    if len(rows.ids) and not 0 <= rows.ids.min() <= rows.ids.max() < vocabulary_size:
        raise ValueError(f"a state must have ids from 0 to {vocabulary_size - 1}")
    if not all(np.isfinite(part).all() for part in rows.state):
        raise ValueError("a state must be finite")


COST_CHARACTERS = 8192
_COST_ROWS = 32


def fast_cost(
    config: NetworkConfig, weights: Weights, ids: NDArray[Any], styles: Spans | None = None
) -> float | None:
    """Returns the nats per character that ``fast`` costs on a text.

    Both precisions read the same characters, at most ``COST_CHARACTERS``, which is enough to
    resolve a thousandth of a nat.

    Args:
        ids: [characters].
        styles: of the ids, if the network has any.

    Returns:
        None for a network without ``fast``, or too short a text.
    """
    rows = min(_COST_ROWS, (min(len(ids), COST_CHARACTERS) - 1) // 64)
    if config.kind != "lstm" or rows < 1:
        return None
    steps = (min(len(ids), COST_CHARACTERS) - 1) // rows
    text = np.asarray(ids[: rows * steps + 1], dtype=np.int64)
    begin, forced = text[: rows * steps : steps], text[1:].reshape(rows, steps).T
    own: Floats | None = None
    if styles:
        middles = np.arange(rows) * steps + steps // 2
        own = np.eye(len(config.styles), dtype=np.float32)[styles.at(middles)]
    exact, fast = (
        _mean_loss(Decoder(config, weights, precision), begin, forced, own)
        for precision in ("exact", "fast")
    )
    return fast - exact


def _mean_loss(decoder: Decoder, begin: Ids, forced: Ids, styles: Floats | None) -> float:
    """Returns the mean loss of forced ids, [steps, rows], reading each row from the zero state."""
    steps, count = forced.shape
    choices = Choices(
        np.ones(count, np.float32),
        np.zeros(count, np.int64),
        np.zeros(count, np.float32),
        styles=styles,
    )
    # At most 16 MB of logits, however large the vocabulary.
    chunk = max(1, (1 << 22) // (count * decoder.config.vocabulary_size))
    rows = decoder.start(begin)
    total = 0.0
    for at in range(0, steps, chunk):
        taken = forced[at : at + chunk]
        _, logits, rows = decoder.advance(rows, taken, np.zeros(taken.shape, np.float32), choices)
        top = logits.max(axis=-1, keepdims=True)
        normaliser = np.log(np.exp(logits - top).sum(axis=-1)) + top[..., 0]
        losses = normaliser - np.take_along_axis(logits, taken[..., None], axis=-1)[..., 0]
        total += float(losses.sum(dtype=np.float64))
    return float(total / (steps * count))

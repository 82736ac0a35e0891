"""The decoder advances many streams of one model together, several characters per call.

An engine computes character after character for every row (input, recurrent layers, output,
temperature, softmax, choice), so Python does nothing per character, and the interpreter lock is
free meanwhile. ``exact`` computes in fp32, by ONNX Runtime; ``fast`` (LSTM only) with int8 weights,
by the native step where there is one. In both, a row's numbers are bit-identical whatever other
rows are in the batch.

Knows rows of numbers; no text, no client and no torch.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.arrays import Floats, Ids
from models.config import NetworkConfig, Weights
from models.decoding.graph import LARGEST_H, Precision
from models.decoding.graph_engine import GraphEngine
from models.decoding.native.engine import NativeEngine
from models.decoding.native.library import Library
from models.decoding.native.packing import is_packable
from models.decoding.rows import Choices, Rows
from models.ngram_table import NOTHING
from models.text.spans import Spans


class RowDecoder(Protocol):
    """Anything that advances rows; see ``Decoder`` for its attributes and methods."""

    spare_rows: int

    def start(self, ids: Ids) -> Rows: ...

    def check(self, rows: Rows) -> None: ...

    def advance(
        self, rows: Rows, forced: Ids, uniforms: Floats, choices: Choices
    ) -> tuple[Ids, Floats, Rows]: ...


class Engine(Protocol):
    """What computes a decoder's rows; see there for its attributes."""

    arithmetic: str
    spare_rows: int

    @property
    def bytes(self) -> int:
        """Estimates its memory."""
        ...

    def advance(
        self, rows: Rows, forced: Ids, uniforms: Floats, choices: Choices
    ) -> tuple[Ids, Floats, Rows]: ...


class Decoder:
    """A network ready to advance rows. It keeps no state between calls; threads may share it.

    ``arithmetic`` is what computes it, ``native`` or ``onnxruntime``: numbers differ a little.
    ``spare_rows`` are the rows that cost as much as the fixed part of a step.

    Args:
        config: sizes of the network.
        weights: of it.
        precision: of the weights.
        library: the native step, which computes ``fast``, but of networks with huge vocabularies.

    Raises:
        ValueError: ``fast`` for a network that is not an LSTM.
    """

    def __init__(
        self,
        config: NetworkConfig,
        weights: Weights,
        precision: Precision = "exact",
        library: Library | None = None,
    ) -> None:
        if precision == "fast" and config.kind != "lstm":
            raise ValueError("only an LSTM has a fast precision")
        self.config = config
        self.precision = precision
        self._engine: Engine
        if library and precision == "fast" and is_packable(config):
            self._engine = NativeEngine(library, config, weights)
        else:
            self._engine = GraphEngine(config, weights, precision)
        self.arithmetic = self._engine.arithmetic
        self.spare_rows = self._engine.spare_rows

    @property
    def bytes(self) -> int:
        """Estimates its memory."""
        return self._engine.bytes

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
        parts = 2 if self.config.kind == "lstm" else 1
        check_history(rows.state[parts:], self.config.vocabulary_size)

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
        return self._engine.advance(rows, forced, uniforms, choices)


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
    config: NetworkConfig,
    weights: Weights,
    ids: NDArray[Any],
    styles: Spans | None = None,
    library: Library | None = None,
) -> float | None:
    """Returns the nats per character that ``fast`` costs on a text.

    Both precisions read the same characters, at most ``COST_CHARACTERS``, which is enough to
    resolve a thousandth of a nat.

    Args:
        ids: [characters].
        styles: of the ids, if the network has any.
        library: the native step, if it is to compute ``fast``.

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
        _mean_loss(Decoder(config, weights, precision, library), begin, forced, own)
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

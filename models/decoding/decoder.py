"""The decoder: many streams of one model advance together, several characters a call.

A checkpoint becomes an ONNX graph: a ``Scan`` whose body is one character for every row (input,
recurrent layers, output, temperature, softmax, choice), so that nothing is done in Python per
character and the interpreter's lock is free meanwhile. ``exact`` computes in fp32, ``fast`` (LSTM
alone) with int8 weights; in both a row's numbers are bit-identical whatever rows it runs beside.

Knows rows of numbers. Not text, not who asks, not torch.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.arrays import Floats, Ids
from models.config import NetworkConfig, Weights
from models.decoding.graph import Precision, build_graph
from models.onnx_graph import OnnxSession


@dataclass(frozen=True, slots=True)
class Rows:
    """Where rows stand: their last id [rows], and state parts, each [layers, rows, hidden]."""

    ids: Ids
    state: tuple[Floats, ...]


@dataclass(frozen=True, slots=True)
class Choices:
    """How each row chooses, all [rows].

    ``temperatures`` 0 is argmax; ``top_k`` and ``top_p`` leave the likeliest to choose from, 0 is
    off.
    """

    temperatures: Floats
    top_k: Ids
    top_p: Floats


class RowDecoder(Protocol):
    """Whatever advances rows: a ``Decoder`` says what its methods do."""

    def start(self, ids: Ids) -> Rows: ...

    def advance(
        self, rows: Rows, forced: Ids, uniforms: Floats, choices: Choices
    ) -> tuple[Ids, Floats, Rows]: ...


class Decoder:
    """A network ready to advance rows. It keeps nothing between calls; threads may share it.

    Raises:
        ValueError: ``fast`` for a network that has no such variant.
    """

    def __init__(
        self, config: NetworkConfig, weights: Weights, precision: Precision = "exact"
    ) -> None:
        if precision == "fast" and config.kind != "lstm":
            raise ValueError("only an LSTM has a fast precision")
        self.config = config
        self.precision = precision
        self.parts = 2 if config.kind == "lstm" else 1
        self._weights = weights
        self._plain = OnnxSession(build_graph(config, weights, precision))

    @cached_property
    def _filtering(self) -> OnnxSession:
        """The graph that knows top-k and top-p: sorting costs every row, so it is one apart."""
        return OnnxSession(build_graph(self.config, self._weights, self.precision, filtering=True))

    def start(self, ids: Ids) -> Rows:
        """Rows that have read nothing yet and are about to read ``ids``, [rows]."""
        shape = (self.config.num_layers, len(ids), self.config.hidden_size)
        return Rows(ids, tuple(np.zeros(shape, np.float32) for _ in range(self.parts)))

    def advance(
        self, rows: Rows, forced: Ids, uniforms: Floats, choices: Choices
    ) -> tuple[Ids, Floats, Rows]:
        """Reads each row's last id, chooses the next, and so on for every step.

        Args:
            rows: where they stand.
            forced: [steps, rows]; an id to take instead of choosing, −1 to choose.
            uniforms: [steps, rows], in [0, 1).
            choices: how to choose.

        Returns:
            The ids taken, [steps, rows], ``NOT_FINITE`` where a row's logits were no numbers;
            the logits they were chosen from, [steps, rows, vocabulary]; where the rows stand then.
        """
        greedy = choices.temperatures == 0
        feeds: dict[str, NDArray[Any]] = {
            "id": rows.ids,
            "forced": forced,
            "uniforms": uniforms,
            "temperature": np.where(greedy, np.float32(1), choices.temperatures)[:, None],
            "greedy": greedy,
        }
        for part, values in zip("hc", rows.state, strict=False):
            for layer in range(self.config.num_layers):
                feeds[f"{part}{layer}"] = values[layer : layer + 1]
        session = self._plain
        if choices.top_k.any() or choices.top_p.any():
            session = self._filtering
            everything = self.config.vocabulary_size
            top_k = np.where(choices.top_k == 0, everything, choices.top_k)
            feeds["last_kept"] = np.minimum(top_k, everything)[:, None] - 1
            # 2 keeps all: at 1 the sum's rounding could drop what is least likely.
            feeds["top_p"] = np.where(choices.top_p == 0, np.float32(2), choices.top_p)[:, None]
        results = session.run(feeds)
        state = tuple(
            np.concatenate([results[f"{part}{layer}_end"] for layer in range(len(values))])
            for part, values in zip("hc", rows.state, strict=False)
        )
        return results["chosen"], results["logits"], Rows(results["id_end"], state)


COST_CHARACTERS = 8192
_COST_ROWS = 32


def fast_cost(config: NetworkConfig, weights: Weights, ids: NDArray[Any]) -> float | None:
    """Nats per character that ``fast`` costs on a text; None for a network that has no ``fast``.

    Both precisions read the same characters, at most ``COST_CHARACTERS`` of them, so that a
    thousandth of a nat shows.

    Args:
        ids: [characters].
    """
    rows = min(_COST_ROWS, (min(len(ids), COST_CHARACTERS) - 1) // 64)
    if config.kind != "lstm" or rows < 1:
        return None
    steps = (min(len(ids), COST_CHARACTERS) - 1) // rows
    text = np.asarray(ids[: rows * steps + 1], dtype=np.int64)
    begin, forced = text[: rows * steps : steps], text[1:].reshape(rows, steps).T
    exact, fast = (
        _mean_loss(Decoder(config, weights, precision), begin, forced)
        for precision in ("exact", "fast")
    )
    return fast - exact


def _mean_loss(decoder: Decoder, begin: Ids, forced: Ids) -> float:
    """Of forced ids, [steps, rows], each row read from the zero state."""
    steps, count = forced.shape
    choices = Choices(
        np.ones(count, np.float32), np.zeros(count, np.int64), np.zeros(count, np.float32)
    )
    # Logits of 16 MB at most, however large the vocabulary.
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

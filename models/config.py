"""A network's sizes, and the names and shapes of its tensors, without torch.

The server reads checkpoints and decodes with them without importing torch, so server and trainer
share this module. Knows no files.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

NetworkKind = Literal["lstm", "gru", "rnn"]

GATES: dict[str, int] = {"lstm": 4, "gru": 3, "rnn": 1}
"""Rows of each weight matrix, in multiples of the hidden size."""

MAX_VOCABULARY = 65_536


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Sizes of a stacked recurrent network over characters.

    ``embedding_size`` 0 is 1-of-k input. ``dropout`` acts between layers and before the output,
    only during training.

    Raises:
        ValueError: a size is out of range.
    """

    vocabulary_size: int
    kind: NetworkKind = "lstm"
    num_layers: int = 2
    hidden_size: int = 128
    embedding_size: int = 0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(NetworkKind):
            raise ValueError(f"network must be one of {', '.join(GATES)}")
        for name, low, high in (
            ("vocabulary_size", 1, MAX_VOCABULARY),
            ("num_layers", 1, 8),
            ("hidden_size", 1, 4096),
            ("embedding_size", 0, 1024),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"{name} must be an integer from {low} to {high}")
        if not 0 <= self.dropout < 1:
            raise ValueError("dropout must be from 0 to below 1")

    @property
    def input_size(self) -> int:
        return self.embedding_size or self.vocabulary_size

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns every tensor's name and shape; layers are named as in ``torch.nn.LSTM``."""
        gates = GATES[self.kind] * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {}
        if self.embedding_size:
            shapes["embedding.weight"] = (self.vocabulary_size, self.embedding_size)
        for layer in range(self.num_layers):
            inputs = self.hidden_size if layer else self.input_size
            shapes[f"layers.{layer}.weight_ih_l0"] = (gates, inputs)
            shapes[f"layers.{layer}.weight_hh_l0"] = (gates, self.hidden_size)
            shapes[f"layers.{layer}.bias_ih_l0"] = (gates,)
            shapes[f"layers.{layer}.bias_hh_l0"] = (gates,)
        shapes["output.weight"] = (self.vocabulary_size, self.hidden_size)
        shapes["output.bias"] = (self.vocabulary_size,)
        return shapes

    def parameters(self) -> int:
        """Returns the number of weights; for an LSTM with 1-of-k input, as char-rnn prints it."""
        total = 0
        for shape in self.shapes().values():
            size = 1
            for extent in shape:
                size *= extent
            total += size
        return total


Weights = dict[str, NDArray[np.float32]]

"""A network's sizes, and the names and shapes of its tensors, without torch.

The server reads checkpoints and decodes with them without importing torch, so server and trainer
share this module. Knows no files.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from models.ngram_table import (
    FOLLOWERS,
    FURTHER,
    KEY_BYTES,
    NGRAM_BOOSTS,
    NGRAM_FOLLOWERS,
    NGRAM_KEYS,
    NGRAM_ROWS,
    NGramTable,
    context_lengths,
    list_bytes,
)
from models.options import MAX_BUCKETS, NetworkKind
from models.styles import Mix, check_styles

GATES: dict[str, int] = {"lstm": 4, "gru": 3, "rnn": 1}
"""Rows of each weight matrix, in multiples of the hidden size."""

MAX_VOCABULARY = 65_536
MAX_ROW_LENGTHS = 16
"""Most lengths of contexts that have rows in the n-gram table."""

GATED = 2
"""What the gates weigh: the network's own logits, and the log-probabilities of the n-gram table."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Sizes of a stacked recurrent network over characters.

    ``embedding_size`` 0 is 1-of-k input. ``dropout`` acts between layers and before the output,
    only during training. ``ngram_buckets`` are the sizes of the n-gram table, for contexts of 1, 2,
    … ids, and ``ngram_long_buckets`` those for longer ones (``models.ngram_table``); without any
    the network is purely recurrent. ``styles`` are the names of the texts that it learned, if they
    are told apart (``models.styles``).

    Raises:
        ValueError: a size is out of range.
    """

    vocabulary_size: int
    kind: NetworkKind = "lstm"
    num_layers: int = 2
    hidden_size: int = 128
    embedding_size: int = 0
    dropout: float = 0.0
    ngram_buckets: tuple[int, ...] = ()
    ngram_long_buckets: tuple[int, ...] = ()
    styles: tuple[str, ...] = ()

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
        self._check_table("ngram_buckets", MAX_ROW_LENGTHS)
        self._check_table("ngram_long_buckets", len(FURTHER) if self.ngram_buckets else 0)
        if not isinstance(self.styles, tuple | list):
            raise ValueError("styles must be a list of names")
        check_styles(self.styles)
        object.__setattr__(self, "styles", tuple(self.styles))

    def _check_table(self, name: str, most: int) -> None:
        sizes = getattr(self, name)
        if not isinstance(sizes, tuple | list):
            raise ValueError(f"{name} must be a list of integers")
        # JSON has lists.
        object.__setattr__(self, name, tuple(sizes))
        if len(sizes) > most:
            raise ValueError(f"{name} has more than {most} sizes")
        if not all(type(size) is int and 1 <= size <= MAX_BUCKETS for size in sizes):
            raise ValueError(f"{name} must be integers from 1 to {MAX_BUCKETS:,}")
        if sum(sizes) > MAX_BUCKETS:
            raise ValueError(f"{name} must be {MAX_BUCKETS:,} together at most")

    @property
    def character_size(self) -> int:
        """The columns of the first layer's input that stand for a character."""
        return self.embedding_size or self.vocabulary_size

    @property
    def input_size(self) -> int:
        """The columns of the first layer's input; the last ones are of a style each."""
        return self.character_size + len(self.styles)

    @property
    def table_sizes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The sizes of the n-gram table, as it has them."""
        return self.ngram_buckets, self.ngram_long_buckets

    @property
    def ngram_lengths(self) -> tuple[int, ...]:
        """The numbers of ids in contexts of the n-gram table."""
        return context_lengths(*map(len, self.table_sizes))

    @property
    def ngram_orders(self) -> int:
        """The most ids in a context of the n-gram table; 0 without one."""
        return max(self.ngram_lengths, default=0)

    def beside(self, table: NGramTable | None) -> "NetworkConfig":
        """Returns the same sizes with those of an n-gram table, or without any."""
        sizes = (table.sizes, table.long_sizes) if table else ((), ())
        return replace(self, ngram_buckets=sizes[0], ngram_long_buckets=sizes[1])

    def state_shapes(self, rows: int = 1) -> list[tuple[int, ...]]:
        """Returns the shapes of a state: h, for an LSTM c, and with an n-gram table the last ids.

        [layers, rows, hidden] each; the ids are [1, rows, orders].
        """
        shapes: list[tuple[int, ...]] = [(self.num_layers, rows, self.hidden_size)]
        if self.kind == "lstm":
            shapes *= 2
        if self.ngram_orders:
            shapes.append((1, rows, self.ngram_orders))
        return shapes

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns every weight's name and shape; layers are named as in ``torch.nn.LSTM``."""
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
        if self.ngram_buckets:
            shapes["gates.weight"] = (GATED, self.hidden_size)
            shapes["gates.bias"] = (GATED,)
        return shapes

    def table_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the names and shapes of the n-gram table's tensors, which are counted."""
        if not self.ngram_buckets:
            return {}
        rows, lists = (1 + sum(sizes) for sizes in self.table_sizes)
        shapes: dict[str, tuple[int, ...]] = {
            NGRAM_KEYS: (rows + lists - 1,),
            NGRAM_ROWS: (rows, self.vocabulary_size),
        }
        if self.ngram_long_buckets:
            shapes[NGRAM_FOLLOWERS] = shapes[NGRAM_BOOSTS] = (lists, FOLLOWERS)
        return shapes

    def table_bytes(self) -> int:
        """Returns the size of the n-gram table: of its keys, rows and lists."""
        if not self.ngram_buckets:
            return 0
        rows, lists = map(sum, self.table_sizes)
        of_list = list_bytes(self.vocabulary_size)
        size = (1 + rows) * (KEY_BYTES + self.vocabulary_size) + lists * of_list
        return size + (of_list - KEY_BYTES if lists else 0)

    def weight_bytes(self) -> int:
        """Returns the size of a checkpoint's tensors."""
        return 4 * self.parameters() + self.table_bytes()

    def to_json(self) -> dict[str, Any]:
        """As the constructor takes it; what a network has not is left out, for earlier releases."""
        values = asdict(self)
        for name in ("ngram_buckets", "ngram_long_buckets", "styles"):
            if not values[name]:
                del values[name]
        return values

    def parameters(self) -> int:
        """Returns the number of weights; for an LSTM with 1-of-k input, as char-rnn prints it.

        Without the n-gram table, which is not trained.
        """
        total = 0
        for shape in self.shapes().values():
            size = 1
            for extent in shape:
                size *= extent
            total += size
        return total


Weights = dict[str, NDArray[Any]]
"""Tensors by name: fp32, but for those of the n-gram table."""


INPUT_WEIGHTS = "layers.0.weight_ih_l0"
"""The first layer's input weights: columns for characters, then one for each style."""


def in_style(
    config: NetworkConfig, weights: Weights, mix: Mix | None = None
) -> tuple[NetworkConfig, Weights]:
    """Returns the network that has only one style, a mix of those of a network, and needs no name.

    The columns of styles are on in every step, as a bias is, so their sum is added to one.
    """
    if not config.styles:
        return config, weights
    columns = weights[INPUT_WEIGHTS]
    own = dict(weights)
    own[INPUT_WEIGHTS] = np.ascontiguousarray(columns[:, : config.character_size])
    if mix is not None:
        added = columns[:, config.character_size :] @ np.array(mix, np.float32)
        own["layers.0.bias_ih_l0"] = weights["layers.0.bias_ih_l0"] + added
    return replace(config, styles=()), own

"""The recurrent network: stacked LSTM, GRU or tanh RNN over characters, in torch.

Beside it may stand an n-gram table (``models.ngram_table``), whose rows are mixed with its logits.

Knows no text, no batch order and no optimiser.
"""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.arrays import Ids
from models.config import GATED, NetworkConfig, Weights
from models.ngram_table import NGramTable
from models.training.kernels import Padding, filled
from models.training.ranks import OwnRows

State = tuple[Tensor, ...]
"""``(h, c)`` for an LSTM, ``(h,)`` otherwise; each [layers, batch, hidden]."""

INPUT_STD = 0.5
"""Standard deviation of initial 1-of-k input weights.

With 1-of-k input a character touches one column of the input matrix, so weights as small as torch's
take hundreds of steps to matter (docs/log.md has the losses).
"""

DEEP_STD = 4.0
"""Standard deviation, times the root of the cells, of initial weights between layers and to the
output, for cells with gates; torch's is 0.58.

Small weights stay unused for long: after 1.2 passes over War and Peace the loss of a 2×128 LSTM was
1.563 with torch's and a forget bias of 1, and 1.324 with these and a bias of 0 (docs/log.md).
"""

GATES_AT_FIRST = (1.0, 0.5)
"""Gates of a new network, whatever it reads: of its own logits, and of the n-gram table's."""

COMPACT_FROM = 128
"""Vocabulary size from which 1-of-k input on a CPU covers only the symbols of a batch."""

_GATES = ("gates.weight", "gates.bias")

_KINDS: dict[str, Callable[[int, int], nn.RNNBase]] = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "rnn": nn.RNN,
}

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "lstm": torch.lstm,
    "gru": torch.gru,
    "rnn": torch.rnn_tanh,
}


class CharNetwork(nn.Module):
    """Maps characters to logits of the next character.

    ``forward(ids, state)`` takes ids [time, batch] and a state (None is zeros), and returns logits
    [time, batch, vocabulary] in fp32 and the new state. A network with an n-gram table also takes
    ``counted``, the log-probabilities in the table's rows for the same ids, [time, batch,
    vocabulary].

    For a network with styles, ids are [time, batch, 2]: what is on of the columns of 1-of-k for
    characters and then styles (``with_styles``). Ids without a style may be [time, batch], too.

    Args:
        config: its sizes.
        table: of the sizes in ``config``; None without one.
    """

    def __init__(self, config: NetworkConfig, table: NGramTable | None = None) -> None:
        super().__init__()
        if config != config.beside(table):
            raise ValueError("the n-gram table has other sizes than the config")
        self.config = config
        self.embedding = (
            nn.Embedding(config.vocabulary_size, config.embedding_size)
            if config.embedding_size
            else None
        )
        # One module per layer, so that we control the dropout between them.
        self.layers = nn.ModuleList(
            _KINDS[config.kind](
                config.hidden_size if layer else config.input_size, config.hidden_size
            )
            for layer in range(config.num_layers)
        )
        self.output = nn.Linear(config.hidden_size, config.vocabulary_size)
        self.table: NGramTable | None = None
        self.gates: nn.Linear | None = None
        self._learned_gates: Weights = {}
        self.balance: Tensor
        self.rows: OwnRows | None = None
        """Which rows of a batch it reads in training, if not all."""
        self.padding: Padding | None = None
        """Of what it reads in training, for the kernels of a GPU."""
        self._initialise()
        if table:
            self.attach(table)

    @torch.no_grad()
    def attach(self, table: NGramTable) -> None:
        """Puts an n-gram table beside a network that has none, with gates."""
        self.config = self.config.beside(table)
        self.table = table
        device = self.output.weight.device
        self.gates = nn.Linear(self.config.hidden_size, GATED, device=device)
        nn.init.zeros_(self.gates.weight)
        self.gates.bias.copy_(torch.tensor(GATES_AT_FIRST))
        for name, value in self._learned_gates.items():
            self.get_parameter(name).copy_(torch.from_numpy(value))
        self.register_buffer("balance", torch.ones(GATED, device=device))

    def without_table(self) -> "CharNetwork":
        """Returns the network without its n-gram table; a copy, which takes no random numbers."""
        if self.table is None:
            return self
        alone = copy.deepcopy(self, {id(self.table): None})
        alone.gates = None
        alone.config = self.config.beside(None)
        return alone

    @torch.no_grad()
    def _initialise(self) -> None:
        deep = DEEP_STD / math.sqrt(self.config.hidden_size)
        for name, parameter in self.layers.named_parameters():
            if "bias" in name:
                parameter.zero_()
            elif name == "0.weight_ih_l0":
                if self.embedding is None:
                    nn.init.normal_(parameter, std=INPUT_STD)
                parameter[:, self.config.character_size :] = 0
            elif "weight_ih" in name and self.config.kind != "rnn":
                nn.init.normal_(parameter, std=deep)
        if self.config.kind != "rnn":
            nn.init.normal_(self.output.weight, std=deep)
        nn.init.zeros_(self.output.bias)

    @torch.no_grad()
    def set_forget_bias(self) -> None:
        """Sets it to 1, as char-rnn does: a new LSTM remembers (Jozefowicz et al. 2015)."""
        hidden = self.config.hidden_size
        if self.config.kind == "lstm":
            for name, parameter in self.layers.named_parameters():
                if "bias_ih" in name:
                    parameter[hidden : 2 * hidden] = 1.0

    def forward(
        self, ids: Tensor, state: State | None = None, counted: Tensor | None = None
    ) -> tuple[Tensor, State]:
        hidden, state = self.read(ids, state)
        logits = self.logits(hidden)
        if counted is not None:
            logits = self.mixed(hidden, logits, counted)
        return logits, state

    def zero_state(self, rows: int) -> State:
        """Returns the state before a text."""
        shapes = self.config.beside(None).state_shapes(rows)
        return tuple(self.output.weight.new_zeros(shape) for shape in shapes)

    def read(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Returns the last layer's h, [time, batch, hidden], and the new state."""
        if self.padding and self.training:
            return self._read_padded(ids, state, self.padding)
        values = ids
        states = []
        for index, layer in enumerate(self.layers):
            hx: Any = None
            if state is not None:
                parts = tuple(part[index : index + 1] for part in state)
                hx = parts if self.config.kind == "lstm" else parts[0]
            if index == 0 and self._is_compact(ids):
                values, new = self._read_compactly(ids, hx)
            else:
                values, new = layer(values if index else self._inputs(ids), hx)
            states.append(new if self.config.kind == "lstm" else (new,))
            values = self._dropout(values)
        return values, tuple(torch.cat(parts) for parts in zip(*states, strict=True))

    def _read_padded(
        self, ids: Tensor, state: State | None, padding: Padding
    ) -> tuple[Tensor, State]:
        """Reads as ``read`` does, with all sizes filled up."""
        rows, config = ids.shape[1], self.config
        if state is None:
            state = self.zero_state(rows)
        wide = tuple(padding.state(part) for part in state)
        more = 0, wide[0].shape[1] - rows
        ids = nn.functional.pad(ids, more if ids.dim() == 2 else (0, 0, *more))
        columns = filled(config.input_size, padding.inputs)
        values = self._inputs(ids, columns)
        states = []
        for index, layer in enumerate(self.layers):
            hx: Any = tuple(part[index : index + 1] for part in wide)
            weights = padding.weights(layer, values.shape[2])  # type: ignore[arg-type]
            values, *new = _FUNCTIONS[config.kind](
                values, hx if len(hx) > 1 else hx[0], weights, True, 1, 0.0, True, False, False
            )
            states.append(new)
            values = self._dropout(values)
        own = slice(rows), slice(config.hidden_size)
        ends = (torch.cat(parts)[:, *own] for parts in zip(*states, strict=True))
        return values[:, *own], tuple(ends)

    def logits(self, hidden: Tensor) -> Tensor:
        """Returns the network's own logits, in fp32."""
        logits: Tensor = self.output(hidden).float()
        return logits

    def mixed(self, hidden: Tensor, logits: Tensor, counted: Tensor) -> Tensor:
        """Returns the network's own logits and the table's, each weighed by its gate.

        The gates are linear in h and computed in fp32. A log-linear mix with gates of h did better
        than one of probabilities (docs/log.md).
        """
        assert self.gates is not None
        with torch.autocast(hidden.device.type, enabled=False):
            gates: Tensor = self.gates(hidden.float())
        if not self.training:
            gates = gates * self.balance
        return gates[..., :1] * logits + gates[..., 1:] * counted

    def export(self) -> Weights:
        """Returns the tensors of a checkpoint: those of ``config.shapes`` and the table's."""
        tensors = {name: value.detach().float().cpu() for name, value in self.named_parameters()}
        if self.table is None:
            return {name: value.numpy() for name, value in tensors.items()}
        balance = self.balance.cpu()
        tensors["gates.weight"] = tensors["gates.weight"] * balance[:, None]
        tensors["gates.bias"] = tensors["gates.bias"] * balance
        weights = {name: value.numpy() for name, value in tensors.items()}
        return weights | self.table.tensors()

    @classmethod
    def of(cls, config: NetworkConfig, weights: Weights) -> "CharNetwork":
        """Returns the network of a checkpoint, not in training."""
        network = cls(config, NGramTable.in_weights(*config.table_sizes, weights))
        network.load_weights(weights)
        return network.eval()

    @torch.no_grad()
    def load_weights(self, weights: Weights) -> None:
        """Copies trained weights, but no n-gram table; gates without weights stay as they are.

        Gates that the network does not have yet are kept for ``attach``.

        Raises:
            KeyError, RuntimeError: they belong to another network.
        """
        self._learned_gates = {name: weights[name] for name in _GATES if name in weights}
        for name, parameter in self.named_parameters():
            if name in weights or name not in _GATES:
                parameter.copy_(torch.from_numpy(weights[name]))

    def _inputs(self, ids: Tensor, columns: int = 0) -> Tensor:
        """Returns what the first layer reads, with so many columns at least."""
        columns = max(columns, self.config.input_size)
        if self.embedding is None:
            return self._one_of(ids, columns)
        embedded: Tensor = self.embedding(ids if ids.dim() == 2 else ids[..., 0])
        if ids.dim() == 3:
            embedded = torch.cat([embedded, _styles_on(ids, self.config).to(embedded.dtype)], 2)
        more = columns - embedded.shape[2]
        return nn.functional.pad(embedded, (0, more)) if more else embedded

    def _one_of(self, ids: Tensor, count: int) -> Tensor:
        # nn.functional.one_hot would create int64 first.
        on = ids.unsqueeze(-1) if ids.dim() == 2 else ids
        return self.output.weight.new_zeros(*on.shape[:2], count).scatter_(-1, on, 1.0)

    def _is_compact(self, ids: Tensor) -> bool:
        # On a GPU, counting symbols would wait for it, and the zeros cost little.
        large = self.config.vocabulary_size >= COMPACT_FROM
        return large and self.embedding is None and ids.device.type == "cpu"

    def _read_compactly(self, ids: Tensor, hx: Any) -> tuple[Tensor, Any]:
        """Runs the first layer with only the columns of the symbols in ``ids``."""
        layer: Any = self.layers[0]
        symbols, places = torch.unique(ids, return_inverse=True)
        weights = [layer.weight_ih_l0.index_select(1, symbols), layer.weight_hh_l0]
        weights += [layer.bias_ih_l0, layer.bias_hh_l0]
        if hx is None:
            zeros = weights[0].new_zeros(1, ids.shape[1], self.config.hidden_size)
            hx = (zeros, zeros) if self.config.kind == "lstm" else zeros
        inputs = self._one_of(places, len(symbols))
        values, *new = _FUNCTIONS[self.config.kind](
            inputs, hx, weights, True, 1, 0.0, self.training, False, False
        )
        return values, tuple(new) if self.config.kind == "lstm" else new[0]

    def _dropout(self, values: Tensor) -> Tensor:
        if not self.training or not self.config.dropout:
            return values
        if values.device.type != "cpu" and self.rows is None:
            return nn.functional.dropout(values, self.config.dropout)
        return values * byte_mask(values, self.config.dropout, self.rows)


def _styles_on(ids: Tensor, config: NetworkConfig) -> Tensor:
    """Returns the columns of styles for what a network reads, [time, batch, styles]."""
    numbers = torch.arange(len(config.styles), device=ids.device)
    return ids[..., 1:] == numbers + config.vocabulary_size


def with_styles(ids: Ids, styles: Ids, vocabulary_size: int) -> Ids:
    """Returns what a network with styles reads, [time, batch, 2].

    Args:
        ids: [time, batch].
        styles: numbers of the styles to predict in, [time, batch]; −1 is none.
        vocabulary_size: of the network.
    """
    # What is on twice is on: an id stands where a style is missing.
    return np.stack([ids, np.where(styles < 0, ids, vocabulary_size + styles)], axis=-1)


def byte_mask(like: Tensor, dropout: float, rows: OwnRows | None = None) -> Tensor:
    """Returns a dropout mask of the shape and type of ``like``, scaled to keep the mean.

    It takes one random byte per element, so the share dropped is rounded to 1/256. On a CPU it
    takes a quarter of the time of torch's own, which was 15 % of a training step (docs/log.md).

    Args:
        like: [time, batch, …].
        dropout: the share that is dropped.
        rows: which of a batch ``like`` has, if not all. The numbers are drawn for all of them, so
            that a batch has the same mask on any number of processes with the same generator.
    """
    threshold = min(255, round(dropout * 256))
    shape = like.shape if rows is None else (len(like), rows.batch, *like.shape[2:])
    count = math.prod(shape)
    words = torch.empty((count + 7) // 8, dtype=torch.int64, device=like.device)
    drawn = words.random_(-(2**63), None).view(torch.uint8)[:count].view(shape)
    kept = (drawn[:, rows.slice] if rows else drawn) >= threshold
    return kept.to(like.dtype).mul_(256 / (256 - threshold))

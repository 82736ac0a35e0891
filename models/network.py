"""The recurrent network: stacked LSTM, GRU or tanh RNN over characters, in torch.

Knows nothing of text, of batches or of optimisers.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from models.config import NetworkConfig

State = tuple[Tensor, ...]
"""``(h, c)`` for an LSTM, ``(h,)`` otherwise; each [layers, batch, hidden]."""

INPUT_STD = 0.5
"""Standard deviation of 1-of-k input weights at the start.

With 1-of-k input a character touches one column of the input matrix, so drawn as small as
torch draws them they take hundreds of steps to matter (docs/log.md has the losses).
"""

_KINDS: dict[str, Callable[[int, int], nn.RNNBase]] = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "rnn": nn.RNN,
}


class CharNetwork(nn.Module):
    """Characters in, logits of the next character out.

    ``forward(ids, state)`` takes ids [time, batch] and a state (None is zeros) and returns logits
    [time, batch, vocabulary] in fp32 and the new state.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = (
            nn.Embedding(config.vocabulary_size, config.embedding_size)
            if config.embedding_size
            else None
        )
        # One module a layer, so that the dropout between them is ours.
        self.layers = nn.ModuleList(
            _KINDS[config.kind](
                config.hidden_size if layer else config.input_size, config.hidden_size
            )
            for layer in range(config.num_layers)
        )
        self.output = nn.Linear(config.hidden_size, config.vocabulary_size)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        for name, parameter in self.layers.named_parameters():
            if "bias" in name:
                parameter.zero_()
            elif name == "0.weight_ih_l0" and self.embedding is None:
                nn.init.normal_(parameter, std=INPUT_STD)
        nn.init.zeros_(self.output.bias)
        self.set_forget_bias()

    @torch.no_grad()
    def set_forget_bias(self) -> None:
        """1 (Jozefowicz et al. 2015): a new LSTM remembers."""
        hidden = self.config.hidden_size
        if self.config.kind == "lstm":
            for name, parameter in self.layers.named_parameters():
                if "bias_ih" in name:
                    parameter[hidden : 2 * hidden] = 1.0

    def forward(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        values = self._inputs(ids)
        states = []
        for index, layer in enumerate(self.layers):
            hx: Any = None
            if state is not None:
                parts = tuple(part[index : index + 1] for part in state)
                hx = parts if self.config.kind == "lstm" else parts[0]
            values, new = layer(values, hx)
            states.append(new if self.config.kind == "lstm" else (new,))
            values = self._dropout(values)
        logits = self.output(values).float()
        return logits, tuple(torch.cat(parts) for parts in zip(*states, strict=True))

    def _inputs(self, ids: Tensor) -> Tensor:
        if self.embedding is not None:
            embedded: Tensor = self.embedding(ids)
            return embedded
        # nn.functional.one_hot would build int64 first.
        weight = self.output.weight
        inputs = weight.new_zeros(*ids.shape, self.config.vocabulary_size)
        return inputs.scatter_(-1, ids.unsqueeze(-1), 1.0)

    def _dropout(self, values: Tensor) -> Tensor:
        if not self.training or not self.config.dropout:
            return values
        if values.device.type != "cpu":
            return nn.functional.dropout(values, self.config.dropout)
        return values * byte_mask(values, self.config.dropout)


def byte_mask(like: Tensor, dropout: float) -> Tensor:
    """A dropout mask, scaled to keep the mean; shape and type of ``like``.

    A byte of randomness an element, so the share dropped is rounded to 1/256. On a CPU it costs a
    quarter of torch's own, which was 15 % of a training step (docs/log.md).
    """
    threshold = min(255, round(dropout * 256))
    count = like.numel()
    words = torch.empty((count + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    kept = words.view(torch.uint8)[:count].view(like.shape) >= threshold
    return kept.to(like.dtype).mul_(256 / (256 - threshold))

"""A GPT-2 in plain torch: the network of makemore's and of nanoGPT's recipes.

Layers normalise before attention and before the perceptron (Radford et al. 2019); positions are
learned. What the two recipes do differently is an argument. Knows no text and no optimiser.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

_ROWS = 256
"""Rows of an evaluation that are read at once."""


@dataclass(frozen=True, slots=True)
class GPTConfig:
    """Sizes, and where the recipes differ.

    ``tied`` shares the embedding with the output, and draws weights from N(0, 0.02), those of the
    residual projections smaller, as GPT-2 does; otherwise they are as torch draws them.
    """

    vocabulary_size: int
    block: int
    layers: int
    heads: int
    width: int
    bias: bool
    gelu: Literal["none", "tanh"]
    tied: bool


class Block(nn.Module):
    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        width, bias = config.width, config.bias
        self.heads = config.heads
        self.before_attention = nn.LayerNorm(width, bias=bias)
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=bias)
        self.attended = nn.Linear(width, width, bias=bias)
        self.before_perceptron = nn.LayerNorm(width, bias=bias)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 4 * width, bias=bias), nn.GELU(approximate=config.gelu)
        )
        self.thought = nn.Linear(4 * width, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._attention(self.before_attention(x))
        thought: Tensor = self.thought(self.perceptron(self.before_perceptron(x)))
        return x + thought

    def _attention(self, x: Tensor) -> Tensor:
        batch, time, width = x.shape
        parts = self.queries_keys_values(x).view(batch, time, 3, self.heads, width // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        found = nn.functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        attended: Tensor = self.attended(found.transpose(1, 2).reshape(batch, time, width))
        return attended


class GPT(nn.Module):
    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.block = config.block
        self.symbols = nn.Embedding(config.vocabulary_size, config.width)
        self.positions = nn.Embedding(config.block, config.width)
        self.layers = nn.Sequential(*(Block(config) for _ in range(config.layers)))
        self.normalised = nn.LayerNorm(config.width, bias=config.bias)
        self.output = nn.Linear(config.width, config.vocabulary_size, bias=False)
        if config.tied:
            self.output.weight = self.symbols.weight
            self._draw_weights(config.layers)

    def forward(self, ids: Tensor) -> Tensor:
        """Returns the logits, [batch, time, vocabulary], of ids [batch, time]."""
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.symbols(ids) + self.positions(places)
        logits: Tensor = self.output(self.normalised(self.layers(x)))
        return logits

    def _draw_weights(self, layers: int) -> None:
        for name, weight in self.named_parameters():
            if weight.dim() < 2:
                continue
            residual = name.endswith(("attended.weight", "thought.weight"))
            nn.init.normal_(weight, std=0.02 / math.sqrt(2 * layers) if residual else 0.02)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Returns the sum over all targets that are not −1, in nats."""
    return nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="sum"
    )


@torch.no_grad()
def mean_loss(network: GPT, inputs: Tensor, targets: Tensor) -> float:
    """Returns the mean over all targets that are not −1, in nats; ids are [rows, time]."""
    device = next(network.parameters()).device
    total = 0.0
    for begin in range(0, len(inputs), _ROWS):
        part = slice(begin, begin + _ROWS)
        total += float(cross_entropy(network(inputs[part].to(device)), targets[part].to(device)))
    return total / int((targets >= 0).sum())

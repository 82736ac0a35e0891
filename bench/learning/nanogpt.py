"""nanoGPT's recipe for a laptop's CPU: what its README says of Shakespeare by characters.

4 layers of 128 with 4 heads, blocks of 64 characters, 12 a batch, no dropout, no bias; AdamW with
β 0.9 and 0.99 and weight decay 0.1 on matrices; the gradient's norm clipped to 1; 100 steps of
warm-up to a rate of 1e-3, then a cosine to 1e-4. The README lets the cosine end after 2,000 steps;
here it ends with the time that there is, so that no time is left unused.

The network is evaluated in windows of a block that overlap by half: what is predicted in a window
is its second half, so that each character is given from half a block to a block of context, but
for the text's first ones, which have what is there.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from bench.learning.gpt import GPT, GPTConfig, cross_entropy, mean_loss
from bench.learning.texts import Text
from models.arrays import AnyIds

LAYERS, HEADS, WIDTH = 4, 4, 128
BLOCK, BATCH = 64, 12
RATE, LEAST_RATE, WARMUP_STEPS = 1e-3, 1e-4, 100
WEIGHT_DECAY, BETAS, CLIP = 0.1, (0.9, 0.99), 1.0


class NanoGPTLearner:
    """Args: text, to be learned; device, that trains."""

    def __init__(self, text: Text, device: torch.device) -> None:
        self._device = device
        block = min(BLOCK, len(text.train) - 1)
        config = GPTConfig(
            text.vocabulary_size, block, LAYERS, HEADS, WIDTH, bias=False, gelu="none", tied=True
        )
        self._network = GPT(config).to(device)
        weights = list(self._network.parameters())
        matrices = [weight for weight in weights if weight.dim() >= 2]
        groups = [
            {"params": matrices, "weight_decay": WEIGHT_DECAY},
            {"params": [w for w in weights if w.dim() < 2], "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(groups, RATE, betas=BETAS)
        self._ids = torch.from_numpy(np.asarray(text.train, dtype=np.int64))
        self._held_out = windows(text.held_out, block)
        self._number = 0

    def step(self, fraction: float) -> None:
        """One step of training, at a share of the time that there is."""
        self._number += 1
        for group in self._optimizer.param_groups:
            group["lr"] = rate(self._number, fraction)
        block = self._network.block
        starts = torch.randint(len(self._ids) - block, (BATCH, 1))
        window = self._ids[starts + torch.arange(block + 1)].to(self._device)
        loss = cross_entropy(self._network(window[:, :-1]), window[:, 1:]) / window[:, 1:].numel()
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._network.parameters(), CLIP)
        self._optimizer.step()

    def loss(self) -> float:
        """Held-out nats per character."""
        return mean_loss(self._network, *self._held_out)


def rate(number: int, fraction: float) -> float:
    """The rate of a step, counted from 1, at a share of the time."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, fraction)))
    return min(1.0, number / WARMUP_STEPS) * (LEAST_RATE + (RATE - LEAST_RATE) * cosine)


def windows(ids: AnyIds, block: int) -> tuple[Tensor, Tensor]:
    """Cuts a text into overlapping windows in which each id but the first is a target once.

    Returns:
        Inputs and targets, [windows, block]; the targets that do not count are −1.
    """
    text = torch.from_numpy(np.asarray(ids, dtype=np.int64))
    block = min(block, len(text) - 1)
    stride = max(1, block // 2)
    last = len(text) - 1 - block
    starts = [*range(0, last, stride), last]
    inputs = torch.stack([text[start : start + block] for start in starts])
    targets = torch.full_like(inputs, -1)
    done = 0
    for row, start in enumerate(starts):
        end = start + block
        targets[row, done - start :] = text[done + 1 : end + 1]
        done = end
    return inputs, targets

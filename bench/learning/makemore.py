"""makemore's recipe for a list of names: ``python makemore.py -i names.txt``, all by default.

That is its transformer, compared with makemore.py of karpathy/makemore at commit 988aa59: 4 layers
of 64 with 4 heads, weights as torch draws them, no dropout; a line is an example, from its
beginning to its end, padded to the longest line; 32 a batch, drawn with replacement; AdamW with
rate 5e-4, β 0.9 and 0.99 and weight decay 0.01 on all weights; no schedule, no clipping. The loss
is that of each character and of each line's end.

What differs changes no step: attention is fused and examples are all encoded before the time
begins, so that it is a little faster here; and the loss is the mean over all characters held out,
of the network as it is, where the script takes the mean of its batches' means and keeps the best
network so far. Its README expects about 1.92 nats on names.txt.
"""

import numpy as np
import torch
from torch import Tensor

from bench.learning.gpt import GPT, GPTConfig, cross_entropy, mean_loss
from bench.learning.texts import Text
from models.arrays import AnyIds

LAYERS, HEADS, WIDTH = 4, 4, 64
BATCH = 32
RATE, WEIGHT_DECAY, BETAS = 5e-4, 0.01, (0.9, 0.99)

UNSUITED = "it reads one line at a time, of a list, and this is a running text"


class MakemoreLearner:
    """Args: text, to be learned, a list; device, that trains."""

    def __init__(self, text: Text, device: torch.device) -> None:
        self._device = device
        train, held_out = text.lines(text.train), text.lines(text.held_out)
        block = max(len(line) for line in train + held_out) + 1
        config = GPTConfig(
            text.vocabulary_size, block, LAYERS, HEADS, WIDTH, bias=True, gelu="tanh", tied=False
        )
        self._network = GPT(config).to(device)
        self._optimizer = torch.optim.AdamW(
            self._network.parameters(), RATE, betas=BETAS, weight_decay=WEIGHT_DECAY
        )
        self._train = examples(train, text.newline, block)
        self._held_out = examples(held_out, text.newline, block)

    def step(self, fraction: float) -> None:
        """One step of training; the recipe has no use for the share of the time that is over."""
        drawn = torch.randint(len(self._train[0]), (BATCH,))
        inputs, targets = (part[drawn].to(self._device) for part in self._train)
        loss = cross_entropy(self._network(inputs), targets) / (targets >= 0).sum()
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def loss(self) -> float:
        """Held-out nats per character; a line's end is a character."""
        return mean_loss(self._network, *self._held_out)


def examples(lines: list[AnyIds], newline: int, block: int) -> tuple[Tensor, Tensor]:
    """Returns inputs and targets of lines, [lines, block]; the targets of the padding are −1."""
    inputs = np.full((len(lines), block), newline, dtype=np.int64)
    targets = np.full((len(lines), block), -1, dtype=np.int64)
    for row, line in enumerate(lines):
        inputs[row, 1 : len(line) + 1] = line
        targets[row, : len(line)] = line
        targets[row, len(line)] = newline
    return torch.from_numpy(inputs), torch.from_numpy(targets)

"""char-rnn's recipe, the essay's: train.lua with its defaults, in plain torch and fp32.

2×128 LSTM with 1-of-k input; all weights from U(−0.08, 0.08), the forget bias 1; batches of 50×50,
the state carried; RMSProp with rate 2e-3 and decay 0.95, the rate times 0.97 after each pass from
the tenth; the gradient, of the loss summed over time, clipped to ±5 element by element. It trains
for as long as it may, even past 50 passes. A list is a running text to it.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from bench.learning.texts import Text
from models.arrays import AnyIds

CELLS, LAYERS = 128, 2
BATCH, LENGTH = 50, 50
RATE, ALPHA, DECAY, DECAY_AFTER = 2e-3, 0.95, 0.97, 10
CLIP = 5.0
_CHUNK = 256


class CharRNN(nn.Module):
    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.lstm = nn.LSTM(vocabulary_size, CELLS, LAYERS)
        self.output = nn.Linear(CELLS, vocabulary_size)
        with torch.no_grad():
            for weight in self.parameters():
                weight.uniform_(-0.08, 0.08)
            for layer in range(LAYERS):
                # torch's gates are, in order, input, forget, cell and output.
                getattr(self.lstm, f"bias_ih_l{layer}")[CELLS : 2 * CELLS] = 1.0

    def forward(
        self, ids: Tensor, state: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Returns the logits, [time, batch, vocabulary], and the state, from ids [time, batch]."""
        hot = nn.functional.one_hot(ids, self.vocabulary_size).float()
        hidden, state = self.lstm(hot, state)
        return self.output(hidden), state


class CharRNNLearner:
    """Args: text, to be learned; device, that trains."""

    def __init__(self, text: Text, device: torch.device) -> None:
        self._device = device
        self._network = CharRNN(text.vocabulary_size).to(device)
        self._optimizer = torch.optim.RMSprop(self._network.parameters(), RATE, alpha=ALPHA)
        # Rows of equal length, one after the other in the text; the remainder is left out.
        self._train = _rows(text.train, min(BATCH, max(1, len(text.train) // (LENGTH + 1))))
        self._held_out = _rows(text.held_out, max(1, min(64, len(text.held_out) // 1000)))
        self._state: tuple[Tensor, Tensor] | None = None
        self._number = 0
        self._per_pass = max(1, (len(self._train) - 1) // LENGTH)

    def step(self, fraction: float) -> None:
        """One step of training; the recipe has no use for the share of the time that is over."""
        passes, within = divmod(self._number, self._per_pass)
        rate = RATE * DECAY ** max(0, passes - DECAY_AFTER + 1)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        begin = within * LENGTH
        window = self._train[begin : begin + LENGTH + 1].to(self._device)
        logits, state = self._network(window[:-1], self._state)
        self._state = (state[0].detach(), state[1].detach())
        self._optimizer.zero_grad()
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), window[1:].flatten())
        (loss * (len(window) - 1)).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_value_(self._network.parameters(), CLIP)
        self._optimizer.step()
        self._number += 1

    @torch.no_grad()
    def loss(self) -> float:
        """Held-out nats per character, read as long rows, each from the zero state."""
        rows = self._held_out.to(self._device)
        inputs, targets = rows[:-1], rows[1:]
        total, state = 0.0, None
        for begin in range(0, len(inputs), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            logits, state = self._network(inputs[part], state)
            total += float(
                nn.functional.cross_entropy(
                    logits.flatten(0, 1), targets[part].flatten(), reduction="sum"
                )
            )
        return total / targets.numel() if targets.numel() else math.nan


def _rows(ids: AnyIds, rows: int) -> Tensor:
    """Returns ids as contiguous rows, each with the successor of its last id, [time, rows]."""
    length = (len(ids) - 1) // rows
    starts = np.arange(rows) * length
    places = starts + np.arange(length + 1)[:, None]
    return torch.from_numpy(np.asarray(ids)[places].astype(np.int64))

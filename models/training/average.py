"""The average of a network's weights, which is evaluated and published. Knows no text."""

import copy

import torch
from torch import Tensor

from models.config import Weights
from models.ngram_table import NGramTable
from models.training.network import CharNetwork

_EVERY, _EACH = 4, 100
"""Steps between two updates, which take the time of reading all weights; of the first steps, each
has one."""


class WeightAverage:
    """An exponential moving average (Polyak & Juditsky 1992; Izmailov et al. 2018).

    While the learning rate is high, the weights move about what they have learned: their average
    loses up to 0.05 nats less than they do (docs/log.md).

    Args:
        learning: the network that is trained.
        decay: a step; 0 is no average.

    Attributes:
        network: with the average of the weights; the one that is trained if there is none.
    """

    def __init__(self, learning: CharNetwork, decay: float) -> None:
        self._learning = learning
        self._decay = decay
        # The n-gram table is the same.
        self.network = (
            copy.deepcopy(learning, {id(learning.table): learning.table}) if decay else learning
        )

    @property
    def _is_own(self) -> bool:
        return self.network is not self._learning

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights after a step, counted from 1."""
        every = _EVERY if step > _EACH else 1
        if not self._is_own or step % every:
            return
        # At first it is of a tenth of the steps: the first weights soon stop mattering.
        decay = min(self._decay, (1 + step) / (10 + step)) ** every
        torch._foreach_lerp_(
            list(self.network.parameters()), list(self._learning.parameters()), 1 - decay
        )

    def attach(self, table: NGramTable) -> None:
        """Puts an n-gram table beside it, as it stands beside the network that is trained."""
        if self._is_own:
            self.network.attach(table)

    def load_weights(self, weights: Weights) -> None:
        """Begins with trained weights."""
        self.network.load_weights(weights)

    def state_dict(self) -> dict[str, Tensor]:
        """Its tensors; none if it is the network that is trained."""
        return self.network.state_dict() if self._is_own else {}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Continues; without tensors, as states of earlier releases have it, from the network.

        Raises:
            RuntimeError: the tensors belong to another network.
        """
        self.network.load_state_dict(tensors or self._learning.state_dict())

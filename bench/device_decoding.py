"""Decoding on a GPU as well as torch can, to compare with the server's decoder on a CPU.

All streams read a character and choose the next together, and a step of it is one CUDA graph. What
is not in it is what a server does besides: seeds of each stream, primes, top-k, sending texts.
"""

import copy

import torch
from torch import Tensor

from models.training.network import CharNetwork, State


class DeviceDecoder:
    """Streams of a network on a device, each from the zero state."""

    def __init__(
        self,
        network: CharNetwork,
        streams: int,
        device: torch.device,
        kind: torch.dtype = torch.float32,
    ) -> None:
        self._network = copy.deepcopy(network).to(device, kind).eval()
        self._device = device
        self.ids = torch.zeros(1, streams, dtype=torch.int64, device=device)
        self._state: State = self._network.zero_state(streams)
        self._graph: torch.cuda.CUDAGraph | None = None
        for _ in range(3):
            self._step()
        if device.type == "cuda":
            torch.cuda.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._step()

    @torch.no_grad()
    def _step(self) -> None:
        logits, state = self._network(self.ids, self._state)
        self.ids.copy_(self._chosen(logits[0]).unsqueeze(0))
        for own, new in zip(self._state, state, strict=True):
            own.copy_(new)

    def _chosen(self, logits: Tensor) -> Tensor:
        """Draws an id for each stream: the least whose cumulated share exceeds a number."""
        shares = torch.softmax(logits.float(), dim=-1).cumsum(dim=-1)
        numbers = torch.rand(len(shares), 1, device=self._device)
        return (shares <= numbers).sum(dim=-1).clamp(max=shares.shape[1] - 1)

    def advance(self, steps: int) -> int:
        """Writes so many characters in each stream, and waits for them; returns how many."""
        for _ in range(steps):
            if self._graph:
                self._graph.replay()
            else:
                self._step()
        self.ids.cpu()
        return steps * self.ids.shape[1]

"""The held-out text, and what a network loses on it. Knows no optimiser and no schedule."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from models.arrays import AnyIds, Ids
from models.config import GATED
from models.ngram_table import NGramTable
from models.text.corpus import Corpus
from models.text.spans import Spans
from models.training.device_table import DeviceTable
from models.training.network import CharNetwork, State, with_styles

ROWS = 64
_ROW = 1000
"""Characters of a row at least: long enough that its cold start does not matter."""

_LOGITS = 1 << 23
"""Maximum number of logits in memory, however large the vocabulary: 32 MB."""

BALANCED = 1 << 15
"""Characters on which the gates are balanced; fewer if the vocabulary is large."""

BALANCES = (0.25, 4.0)
"""Range of the factors."""

_NEWTON_STEPS = 30
_DAMPING = 1e-6
_CLOSE = 1e-3
"""Steps of this size change nothing that matters."""

_AT_ONCE = 1 << 19
"""Logits that are balanced at a time: they fit into a cache."""


class HeldOut:
    """A text that a network is judged on, in nats per character.

    It is read as up to ``ROWS`` contiguous rows, each from the zero state. That is one for each
    piece of a long held-out part, so that hardly a character follows one of another piece.

    Args:
        ids: of the text, at least 2, [characters].
        table: of the networks that will read it.
        styles: of the ids, if the networks have styles.
    """

    def __init__(
        self, ids: AnyIds, table: NGramTable | None = None, styles: Spans | None = None
    ) -> None:
        rows = max(1, min(ROWS, (len(ids) - 1) // _ROW))
        self.length = (len(ids) - 1) // rows
        flat = np.asarray(ids[: rows * self.length + 1], dtype=np.int64)
        self.inputs = torch.from_numpy(flat[:-1]).view(rows, self.length).t()
        self.targets = torch.from_numpy(flat[1:]).view(rows, self.length).t()
        self._styles: Ids | None = None
        if styles:
            # A character is read in the style of what is to be predicted.
            self._styles = styles.at(np.arange(1, len(flat))).reshape(rows, self.length).T
        self.table = table
        self._on_device: DeviceTable | None = None
        self._found = np.zeros((0, 0, 2), np.int64)
        if table:
            self._found = table.find(table.hashes(flat[:-1]))
            self._found = self._found.reshape(rows, self.length, 2).transpose(1, 0, 2)

    @classmethod
    def of(cls, corpus: Corpus, most: int, table: NGramTable | None) -> "HeldOut":
        """Returns what a corpus holds out to judge a network on, at most so many ids of it."""
        ids, styles = corpus.held_out(most)
        return cls(ids, table, styles)

    @torch.no_grad()
    def loss(self, network: CharNetwork) -> float:
        """Returns the mean cross-entropy."""
        total = torch.zeros((), dtype=torch.float64, device=_device(network))
        with _Evaluating(network):
            for hidden, logits, targets, counted in self._read(network, self.length):
                if counted is not None:
                    logits = network.mixed(hidden, logits, counted)
                total += nn.functional.cross_entropy(
                    logits.flatten(0, 1), targets.flatten(), reduction="sum"
                )
        return float(total) / self.targets.numel()

    @torch.no_grad()
    def balance(self, network: CharNetwork) -> Tensor:
        """Returns the factors of the gates that are best on the beginning of each row, [2].

        A network knows the text that it has read several times better than others, so gates that
        are learned from it trust the network too much. Two numbers from ``BALANCED`` characters
        make the loss on them too good by about 2 / (2 × ``BALANCED``) nats (Akaike 1974).
        """
        assert network.gates is not None
        device = _device(network)
        parts, targets = [], []
        with _Evaluating(network):
            characters = min(BALANCED, _LOGITS // network.config.vocabulary_size)
            steps = max(1, characters // self.targets.shape[1])
            for hidden, logits, wanted, counted in self._read(network, min(steps, self.length)):
                gates = network.gates(hidden.float())
                parts.append(torch.stack([gates[..., :1] * logits, gates[..., 1:] * counted]))
                targets.append(wanted)
        both = torch.cat(parts, dim=1).flatten(1, 2)
        start = network.balance.cpu()
        return _best_factors(both, torch.cat(targets).flatten(), start).to(device)

    def _read(
        self, network: CharNetwork, steps: int
    ) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor | None]]:
        """Yields h, the network's own logits, the ids that follow, and the table's rows."""
        device = _device(network)
        state: State | None = None
        rows = self.targets.shape[1]
        chunk = max(1, min(256, _LOGITS // (rows * network.config.vocabulary_size)))
        for begin in range(0, steps, chunk):
            part = slice(begin, min(begin + chunk, steps))
            inputs = self.inputs[part].contiguous()
            if self._styles is not None:
                size = network.config.vocabulary_size
                read = with_styles(inputs.numpy(), self._styles[part], size)
                inputs = torch.from_numpy(read)
            hidden, state = network.read(inputs.to(device), state)
            state = tuple(s.float() for s in state)
            counted = None
            if self.table:
                counted = self._expected(self.table, self._found[part], device)
            yield hidden, network.logits(hidden), self.targets[part].to(device), counted

    def _expected(self, table: NGramTable, found: Ids, device: torch.device) -> Tensor:
        """Returns what the table says, on a device."""
        if device.type == "cpu":
            return torch.from_numpy(table.log_probabilities(found))
        if self._on_device is None:
            self._on_device = DeviceTable(table, device)
        return self._on_device.log_probabilities(found)


class _Evaluating:
    """A block in which a network does not train."""

    def __init__(self, network: CharNetwork) -> None:
        self._network = network
        self._was_training = network.training

    def __enter__(self) -> None:
        self._network.eval()

    def __exit__(self, *error: object) -> None:
        self._network.train(self._was_training)


def _device(network: CharNetwork) -> torch.device:
    return next(network.parameters()).device


def _best_factors(parts: Tensor, targets: Tensor, start: Tensor | None = None) -> Tensor:
    """Returns the factors of two summands of logits that minimise the cross-entropy, [2].

    It is convex in them: Newton steps, halved where they would overshoot, find the minimum. A
    factor at the end of its range stays there while the gradient points out of it.

    Args:
        parts: [2, n, vocabulary].
        targets: [n].
        start: factors to start from, on the CPU; ones if not given.
    """
    low, high = BALANCES
    answers = parts.gather(2, targets.expand(GATED, -1).unsqueeze(2)).double().mean(dim=(1, 2))
    factors = best = torch.ones(GATED, dtype=torch.float64) if start is None else start.double()
    least = math.inf
    step = torch.zeros_like(factors)
    for _ in range(_NEWTON_STEPS):
        loss, gradient, curvature = _derivatives(parts, answers.cpu(), factors)
        if loss < least:
            best, least = factors, loss
            free = ~(((best <= low) & (gradient > 0)) | ((best >= high) & (gradient < 0)))
            # What is not free has a gradient of 0, and a row and a column of the identity.
            curvature = torch.where(free[:, None] & free, curvature, 0) + torch.diag(~free + 0.0)
            damping = _DAMPING * torch.eye(GATED, dtype=torch.float64)
            step = torch.linalg.solve_ex(curvature + damping, gradient * free).result
        else:
            step = step / 2
        factors = (best - step).clamp(low, high)
        if not step.abs().max() > _CLOSE:
            break
    return best.float() if math.isfinite(least) else torch.ones(GATED)


def _derivatives(parts: Tensor, answers: Tensor, factors: Tensor) -> tuple[float, Tensor, Tensor]:
    """Returns the cross-entropy, and its first and second derivatives by the factors.

    ``answers`` are the means of the targets' logits in each part, [2].
    """
    loss, means, second = 0.0, torch.zeros_like(answers), torch.zeros(GATED, GATED).double()
    own, counted = factors.tolist()
    count = max(1, _AT_ONCE // parts.shape[2])
    for begin in range(0, parts.shape[1], count):
        part = parts[:, begin : begin + count]
        logits = own * part[0] + counted * part[1]
        sums = logits.logsumexp(dim=1, keepdim=True)
        weighed = (logits - sums).exp_() * part
        mean = weighed.sum(dim=2).double()
        loss += float(sums.double().sum())
        means += mean.sum(dim=1).cpu()
        products = torch.stack(
            [(weighed[0] * part[0]), (weighed[0] * part[1]), weighed[1] * part[1]]
        )
        a, b, c = products.sum(dim=2).double().sum(dim=1).tolist()
        second += torch.tensor([[a, b], [b, c]]) - (mean @ mean.t()).cpu()
    n = parts.shape[1]
    return loss / n - float(factors @ answers), means / n - answers, second / n


def evaluate(network: CharNetwork, ids: AnyIds, styles: Spans | None = None) -> float:
    """Returns the mean cross-entropy over a text, in nats per character."""
    return HeldOut(ids, network.table, styles).loss(network)

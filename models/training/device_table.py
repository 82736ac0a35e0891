"""An n-gram table on a device, where its rows are read beside the network.

A row has a number for each symbol, so to read them on the processors and send them would take
longer than a step on a GPU. What stays with the processors is to find which row: a few numbers for
each position. Knows no network.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from models.arrays import AnyInts, Ids
from models.ngram_table import STEP, NGramTable
from models.training.accelerated import send
from models.training.ngram_features import NGramFeatures


class DeviceTable:
    """The rows and lists of a table; it says what ``NGramTable.log_probabilities`` says."""

    def __init__(self, table: NGramTable, device: torch.device) -> None:
        self._device = device
        self._rows = torch.from_numpy(table.rows).to(device)
        self._lists: tuple[Tensor, Tensor] | None = None
        if table.long_sizes:
            followers, boosts = table.lists
            # There are no operations with uint16.
            self._lists = (
                torch.from_numpy(followers.astype(np.int32)).to(device),
                torch.from_numpy(boosts).to(device),
            )

    def log_probabilities(self, found: AnyInts) -> Tensor:
        """Returns what follows contexts, on the device, [steps, …, vocabulary].

        Args:
            found: rows and lists, as ``NGramTable.find`` returns them, [steps, …, 2].
        """
        at = send(np.ascontiguousarray(found, np.int64), self._device)
        logs = self._rows[at[..., 0]] * torch.tensor(-STEP, dtype=torch.float32)
        if self._lists is not None:
            followers, boosts = (part[at[..., 1]] for part in self._lists)
            # An unused place is a boost of 0 for id 0, so no two numbers are added in one place.
            logs.scatter_add_(-1, followers.long(), boosts * torch.tensor(STEP, dtype=logs.dtype))
        return logs


class DeviceFeatures:
    """The n-gram features of a text; it says what ``NGramFeatures.log_probabilities`` says."""

    def __init__(self, features: NGramFeatures, device: torch.device) -> None:
        self._features = features
        self._device = device
        self._table = DeviceTable(features.table, device)

    def log_probabilities(self, positions: Ids) -> Tensor:
        """Returns what counting expects at positions, on the device, [steps, rows, vocabulary]."""
        logs = self._table.log_probabilities(self._features.found(positions))
        counted, ids, answers = self._features.own(positions)
        at = np.flatnonzero(counted) * logs.shape[-1] + ids
        own = send(answers.astype(np.float32), self._device)
        logs.view(-1).scatter_(0, send(at.astype(np.int64), self._device), own)
        return logs


def expected_on(device: torch.device, features: NGramFeatures) -> Callable[[Ids], Tensor]:
    """Returns what says, on a device, what counting expects at positions of a text."""
    if device.type == "cpu":
        return lambda positions: torch.from_numpy(features.log_probabilities(positions))
    return DeviceFeatures(features, device).log_probabilities

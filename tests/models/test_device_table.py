"""A table on a device says to the bit what it says in numpy."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from models.arrays import AnyInts, Ids
from models.config import NetworkConfig
from models.ngram_table import NGramTable
from models.training import held_out as held_out_module
from models.training.counting import count
from models.training.device_table import DeviceFeatures, DeviceTable, expected_on
from models.training.held_out import HeldOut
from models.training.ngram_features import NGramFeatures
from tests.networks import trained_like
from tests.toys import toy_table, wordy

CPU = torch.device("cpu")


def some_features() -> NGramFeatures:
    """With lists; only the first half of the text was counted."""
    return count(wordy(29, 4000), 29, 8, 500, None, 2000, lists_from=0)


def test_rows_and_lists_are_those_of_the_table() -> None:
    table = toy_table(29, 8)
    found = table.find(table.hashes(wordy(29, 600, seed=5).reshape(3, 200).T))
    assert found[..., 1].any()
    expected = table.log_probabilities(found)
    assert np.array_equal(DeviceTable(table, CPU).log_probabilities(found).numpy(), expected)


def test_a_table_without_lists_has_rows() -> None:
    table = toy_table(29, 3)
    assert not table.long_sizes
    found = table.find(table.hashes(wordy(29, 60, seed=5)))
    expected = table.log_probabilities(found)
    assert np.array_equal(DeviceTable(table, CPU).log_probabilities(found).numpy(), expected)


def test_features_are_those_of_numpy() -> None:
    """Of what was counted, of what was not, and of batches of both."""
    features = some_features()
    on_device = DeviceFeatures(features, CPU).log_probabilities
    for begin in (0, 3000, 1900):
        positions = begin + np.arange(200).reshape(2, 100).T
        expected = features.log_probabilities(positions)
        assert np.array_equal(on_device(positions).numpy(), expected)
        assert np.array_equal(expected_on(CPU, features)(positions).numpy(), expected)


def test_an_evaluation_reads_the_table_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    network = trained_like(NetworkConfig(29), orders=8)
    text = wordy(29, 700, seed=3).astype(np.uint8)
    expected = HeldOut(text, network.table).loss(network)
    read = []

    class Watched(DeviceTable):
        def log_probabilities(self, found: AnyInts) -> torch.Tensor:
            read.append(len(found))
            return super().log_probabilities(found)

    class Elsewhere(HeldOut):
        """As if the network were on a GPU."""

        def _expected(self, table: NGramTable, found: Ids, device: torch.device) -> torch.Tensor:
            del device
            elsewhere = cast(torch.device, SimpleNamespace(type="cuda"))
            return super()._expected(table, found, elsewhere)

    monkeypatch.setattr(held_out_module, "DeviceTable", lambda table, _: Watched(table, CPU))
    assert Elsewhere(text, network.table).loss(network) == expected
    assert sum(read) == 699

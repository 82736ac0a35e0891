"""Layers filled up for a GPU's kernels compute, learn and are saved as they are without."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from models.config import NetworkConfig
from models.options import NetworkKind
from models.training.kernels import SMALL, CudaCard, Padding, filled, padding_for
from models.training.network import CharNetwork

KINDS: list[NetworkKind] = ["lstm", "gru", "rnn"]

H100, RTX_4090, RTX_4080 = CudaCard(9, 0, 132), CudaCard(8, 9, 128), CudaCard(8, 9, 76)
RTX_3090, RTX_2080, A100 = CudaCard(8, 6, 82), CudaCard(7, 5, 46), CudaCard(8, 0, 108)


@pytest.mark.parametrize(
    ("card", "kind", "cells", "rows", "has"),
    [
        (H100, "lstm", 512, 104, True),
        (A100, "lstm", 1024, 128, True),
        (RTX_4090, "rnn", 512, 64, True),
        (H100, "rnn", 1024, 96, False),
        (H100, "gru", 512, 64, False),
        (H100, "lstm", 1152, 64, False),
        (H100, "lstm", 512, 136, False),
        (RTX_4080, "lstm", 512, 64, False),
        (RTX_3090, "lstm", 512, 64, False),
        (RTX_2080, "lstm", 512, 64, False),
    ],
)
def test_a_card_has_the_kernel_or_not(
    card: CudaCard, kind: NetworkKind, cells: int, rows: int, has: bool
) -> None:
    """By the rules that PyTorch chooses by."""
    assert card.keeps_weights(kind, cells, rows) is has


@pytest.mark.parametrize(
    ("hidden", "rows", "card", "gains"),
    [
        (512, 100, H100, True),
        (700, 128, H100, True),
        (SMALL, 100, H100, False),
        (512, 129, H100, False),
        (512, 100, RTX_3090, False),
        (512, 100, None, False),
    ],
)
def test_only_what_gains_the_kernel_is_filled_up(
    hidden: int, rows: int, card: CudaCard | None, gains: bool
) -> None:
    found = padding_for(NetworkConfig(65, "lstm", 2, hidden), rows, card)
    assert found == (Padding(8, 128, 128) if gains else None)


def test_without_a_gpu_there_is_no_card() -> None:
    assert CudaCard.of(torch.device("cpu")) is None


@pytest.mark.parametrize(("size", "multiple", "next_one"), [(65, 128, 128), (256, 128, 256)])
def test_sizes_are_filled_up_to_the_next_multiple(size: int, multiple: int, next_one: int) -> None:
    assert filled(size, multiple) == next_one


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("embedding", [0, 3])
def test_a_network_that_is_filled_up_says_and_learns_the_same(
    kind: NetworkKind, embedding: int
) -> None:
    """Logits, the carried state, and all gradients; of one text and of the next."""
    torch.manual_seed(1)
    config = NetworkConfig(9, kind, 2, 12, embedding)
    network = CharNetwork(config).train()
    ids = torch.randint(9, (2, 5, 3))
    outcomes: list[list[Any]] = []
    for padding in (None, Padding(4, 16, 8)):
        network.padding = padding
        network.zero_grad()
        logits, state = network(ids[0])
        more, state = network(ids[1], state)
        (logits.square().mean() + more.square().mean()).backward()
        gradients = [parameter.grad for parameter in network.parameters()]
        outcomes.append([logits, more, *state, *gradients])
    for plain, padded in zip(*outcomes, strict=True):
        torch.testing.assert_close(padded, plain)
        assert padded.shape == plain.shape


def test_what_is_saved_is_not_filled_up() -> None:
    network = CharNetwork(NetworkConfig(9, "lstm", 2, 12))
    network.padding = Padding()
    assert {k: tuple(v.shape) for k, v in network.state_dict().items()} == network.config.shapes()


def test_the_layers_themselves_see_the_multiples(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def note(values: torch.Tensor, *rest: Any) -> Any:
        hx, weights = rest[0], rest[1]
        seen.append((values.shape[1:], hx[0].shape[1:], weights[1].shape))
        return lstm(values, *rest)

    lstm = torch.lstm
    monkeypatch.setitem(CharNetwork.read.__globals__["_FUNCTIONS"], "lstm", note)
    network = CharNetwork(NetworkConfig(65, "lstm", 2, 200)).train()
    network.padding = Padding()
    network(torch.randint(65, (2, 3)))
    assert seen == [
        ((8, 128), (8, 256), (1024, 256)),
        ((8, 256), (8, 256), (1024, 256)),
    ]


def test_it_is_for_training_only() -> None:
    network = CharNetwork(NetworkConfig(9, "lstm", 1, 12)).eval()
    ids = torch.randint(9, (4, 3))
    plain = network(ids)[0]
    network.padding = replace(Padding(), rows=4)
    assert torch.equal(network(ids)[0], plain)


def test_a_cell_without_weights_stays_zero() -> None:
    """So that nothing is read from it."""
    for kind in (nn.LSTM, nn.GRU, nn.RNN):
        layer = kind(3, 2)
        weights = Padding(1, 1, 4).weights(layer, 3)
        wide = kind(3, 4)
        with torch.no_grad():
            for parameter, weight in zip(wide.parameters(), weights, strict=True):
                parameter.copy_(weight)
        values, _ = wide(torch.randn(5, 2, 3))
        assert not values[..., 2:].any()
        assert values[..., :2].all()

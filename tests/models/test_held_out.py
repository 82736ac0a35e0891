"""What is measured on held-out text is what a slow loop says, and its balance is the best."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.arrays import AnyInts
from models.config import NetworkConfig
from models.training import held_out as module
from models.training.beginning import new_network
from models.training.counting import count
from models.training.held_out import BALANCES, HeldOut, evaluate
from models.training.network import CharNetwork
from tests.toys import babble

TEXT = babble(12_000)
TRAIN, HELD = TEXT[:9_000], TEXT[9_000:]
FEATURES = count(TRAIN, 29, 6, 1500, lists_from=0)


def counted_network(seed: int = 0) -> CharNetwork:
    """One whose gates depend on what it has read."""
    config = NetworkConfig(29, "lstm", 2, 8).beside(FEATURES.table)
    network = new_network(config, seed, table=FEATURES.table)
    assert network.gates is not None
    nn.init.normal_(network.gates.weight, std=0.2)
    return network


def slow_loss(network: CharNetwork, ids: AnyInts) -> float:
    """Character by character, in one row."""
    total, state = 0.0, None
    with torch.no_grad():
        for at in range(len(ids) - 1):
            counted = None
            if network.table is not None:
                table = network.table
                found = table.find(table.hashes(ids[max(0, at - 20) : at + 1])[-1:])
                counted = torch.from_numpy(table.log_probabilities(found))[None]
            logits, state = network(torch.tensor([[int(ids[at])]]), state, counted)
            total -= float(logits[0, 0].log_softmax(0)[int(ids[at + 1])])
    return total / (len(ids) - 1)


@pytest.mark.parametrize("with_table", [False, True])
@pytest.mark.parametrize("length", [2, 3, 700, 1999])
def test_the_loss_is_that_of_a_slow_loop(with_table: bool, length: int) -> None:
    network = counted_network() if with_table else new_network(NetworkConfig(29, "gru", 1, 8), 0)
    network.eval()
    if with_table:
        network.balance.copy_(torch.tensor([0.7, 1.3]))
    ids = HELD[:length]
    assert evaluate(network, ids) == pytest.approx(slow_loss(network, ids), rel=1e-5)


def test_rows_begin_anew_and_nothing_is_left_out() -> None:
    """Of 64,000 characters and more, each row is as if it were the only text."""
    network = counted_network().eval()
    held_out = HeldOut(HELD[:2_999], FEATURES.table)
    assert held_out.inputs.shape == (1499, 2)
    # What n-grams know of the text before, rows know: it costs nothing to look up.
    first, second = (HeldOut(HELD[b : b + 1500], FEATURES.table).loss(network) for b in (0, 1499))
    assert held_out.loss(network) == pytest.approx((first + second) / 2, rel=2e-3)
    plain = new_network(NetworkConfig(29, "gru", 1, 8), 0)
    both = [evaluate(plain, HELD[b : b + 1500]) for b in (0, 1499)]
    assert evaluate(plain, HELD[:2_999]) == pytest.approx(sum(both) / 2, rel=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_measuring_leaves_a_network_as_it_was(training: bool) -> None:
    network = counted_network().train(training)
    network.layers.train(training)
    held_out = HeldOut(HELD, FEATURES.table)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(5)
    drawn = torch.get_rng_state()
    losses = {held_out.loss(network) for _ in range(2)}
    held_out.balance(network)
    assert len(losses) == 1
    assert all(part.training == training for part in network.modules())
    assert torch.equal(torch.get_rng_state(), drawn)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    # Nor if it fails.
    with pytest.raises(RuntimeError):
        held_out.loss(network.to(torch.float64))
    assert network.training == training


def test_dropout_does_not_act() -> None:
    config = NetworkConfig(29, "lstm", 2, 8, dropout=0.5)
    network = new_network(config, 0).train()
    assert evaluate(network, HELD[:500]) == evaluate(network.eval(), HELD[:500])


def losses_on_a_grid(parts: Tensor, targets: Tensor, step: float) -> dict[tuple[float, ...], float]:
    each = np.arange(BALANCES[0], BALANCES[1] + step / 2, step).tolist()
    return {
        (own, counted): float(
            nn.functional.cross_entropy(own * parts[0] + counted * parts[1], targets)
        )
        for own, counted in product(each, each)
    }


# How far the logits are from what they should be: sure of what is wrong, or of nothing.
CASES = [(1.0, 1.0), (3.0, 1.0), (0.1, 0.1), (8.0, 0.2), (0.3, 6.0), (20.0, 20.0), (0.0, 1.0)]


@pytest.mark.parametrize("scales", CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_balance_is_the_best_of_all(scales: tuple[float, float], seed: int) -> None:
    """As a fine grid over all factors that are allowed."""
    torch.manual_seed(seed)
    truth = torch.randn(600, 7) * 2
    targets = torch.multinomial(truth.softmax(1), 1)[:, 0]
    parts = torch.stack([scale * (truth + torch.randn(600, 7)) for scale in scales])
    found = module._best_factors(parts, targets)
    again = module._best_factors(parts, targets, torch.tensor([BALANCES[1], 0.5]))
    assert torch.allclose(found, again, atol=0.02 if min(scales) > 0 else 5)
    assert ((found >= BALANCES[0]) & (found <= BALANCES[1])).all()
    loss = float(nn.functional.cross_entropy(found[0] * parts[0] + found[1] * parts[1], targets))
    assert loss <= min(losses_on_a_grid(parts, targets, 0.05).values()) + 1e-4


def test_what_says_the_same_twice_is_balanced_too() -> None:
    torch.manual_seed(0)
    logits = torch.randn(500, 5)
    targets = torch.multinomial(logits.softmax(1), 1)[:, 0]
    found = module._best_factors(torch.stack([logits, logits]), targets)
    assert float(found.sum()) == pytest.approx(1, abs=0.2)
    # Nothing to learn from one that is always right, or from no opinions at all.
    for parts in (torch.zeros(2, 500, 5), torch.full((2, 500, 5), math.inf)):
        assert module._best_factors(parts, targets).isfinite().all()


def test_a_network_is_balanced_on_what_it_did_not_read() -> None:
    network = counted_network()
    held_out = HeldOut(HELD, FEATURES.table)
    before = held_out.loss(network)
    network.balance.copy_(found := held_out.balance(network))
    best = held_out.loss(network)
    assert best < before
    for own, counted in product((0.9, 1.0, 1.1), repeat=2):
        network.balance.copy_((found * torch.tensor([own, counted])).clamp(*BALANCES))
        assert held_out.loss(network) >= best - 1e-6


@pytest.mark.parametrize("vocabulary", [29, 3000, 60_000])
def test_balancing_needs_bounded_memory(vocabulary: int, monkeypatch: pytest.MonkeyPatch) -> None:
    features = count(HELD, vocabulary, 1, 5)
    config = NetworkConfig(vocabulary, "rnn", 1, 4).beside(features.table)
    network = new_network(config, 0, table=features.table)
    seen: list[int] = []

    def best(parts: Tensor, *_others: Tensor) -> Tensor:
        seen.append(parts.numel())
        return torch.ones(2)

    monkeypatch.setattr(module, "_best_factors", best)
    long = np.resize(HELD, 70_000)
    HeldOut(long, features.table).balance(network)
    assert seen[0] <= 2 * module._LOGITS
    assert seen[0] >= 2 * min(module._LOGITS, module.BALANCED * vocabulary) / 2

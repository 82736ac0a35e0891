"""A step clips, carries the state and not the gradient; the rate follows its schedule."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from models.config import NetworkConfig
from models.options import Hyperparameters, Optimizer
from models.training.beginning import new_network
from models.training.steps import WARMUP, learning_rate, make_optimizer, train_batch

SMALL = NetworkConfig(4, "lstm", 2, 12, dropout=0.3)
OPTIONS = Hyperparameters(4, 8, max_steps=12, learning_rate=0.02, evaluate_every=4)


def test_cosine_warms_up_and_falls_to_nothing() -> None:
    options = replace(OPTIONS, learning_rate=0.5, schedule="cosine")
    rates = [learning_rate(options, step / 1000, 0) for step in range(1001)]
    top = round(1000 * WARMUP)
    assert 0 < rates[0] < 0.01
    assert max(rates) == rates[top] == 0.5
    assert all(a < b for a, b in pairwise(rates[: top - 1]))
    assert all(a > b for a, b in pairwise(rates[top:]))
    assert learning_rate(options, (1 + WARMUP) / 2, 0) == pytest.approx(0.25)
    assert rates[-1] == pytest.approx(0)
    # Time may run a little over.
    assert learning_rate(options, 1.2, 0) == pytest.approx(0)


@pytest.mark.parametrize(
    ("epoch", "decays"), [(0, 0), (9.999, 0), (10, 1), (10.5, 1), (11, 2), (49.9, 40)]
)
def test_char_rnn_decays_after_the_tenth_epoch(epoch: float, decays: int) -> None:
    options = replace(OPTIONS, learning_rate=2e-3, schedule="char-rnn")
    assert learning_rate(options, 0.5, epoch) == pytest.approx(2e-3 * 0.97**decays)


def test_a_constant_rate_is_constant() -> None:
    options = replace(OPTIONS, schedule="constant")
    assert {learning_rate(options, f, e) for f in (0, 0.5, 1) for e in (0, 50)} == {0.02}


@pytest.mark.parametrize(("grad_clip", "norm"), [(0.01, 0.01), (1000.0, None), (0.0, None)])
def test_the_gradient_is_clipped_to_its_norm(grad_clip: float, norm: float | None) -> None:
    network = new_network(SMALL, 0).eval()
    before = nn.utils.parameters_to_vector(network.parameters()).detach().clone()
    inputs, targets = torch.arange(24).reshape(2, 6, 2) % 3
    options = replace(OPTIONS, grad_clip=grad_clip)
    # With plain descent at rate 1 the step is the gradient.
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    train_batch(network, optimizer, inputs, targets, None, options)
    step = (nn.utils.parameters_to_vector(network.parameters()).detach() - before).norm()
    if norm is None:
        assert step > 0.04
    else:
        assert float(step) == pytest.approx(norm, rel=1e-3)


def test_the_state_is_carried_but_not_the_gradient() -> None:
    network = new_network(replace(SMALL, dropout=0.0), 0).train()
    ids = torch.arange(24).reshape(12, 2) % 3
    frozen = torch.optim.SGD(network.parameters(), lr=0.0)
    _loss, state = train_batch(network, frozen, ids[:5], ids[1:6], None, OPTIONS)
    loss, _state = train_batch(network, frozen, ids[5:-1], ids[6:], state, OPTIONS)
    assert not any(part.requires_grad for part in state)
    logits, _end = network(ids[:-1])
    expected = nn.functional.cross_entropy(logits[5:].flatten(0, 1), ids[6:].flatten())
    torch.testing.assert_close(loss, expected.detach())


ADAM: dict[str, Any] = {"betas": (0.9, 0.99), "fused": True}


@pytest.mark.parametrize(
    ("name", "torchs"),
    [
        ("adam", partial(torch.optim.Adam, **ADAM)),
        ("adamw", partial(torch.optim.AdamW, **ADAM)),
        ("rmsprop", partial(torch.optim.RMSprop, alpha=0.95)),
    ],
)
def test_an_optimizer_is_torchs_without_its_compiler(
    name: Optimizer,
    torchs: Callable[..., torch.optim.Optimizer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whose import takes as long as that of torch."""
    options = replace(OPTIONS, optimizer=name, weight_decay=0.1)
    inputs, targets = torch.arange(24).reshape(2, 6, 2) % 3

    def trained(make: Callable[[nn.Module], torch.optim.Optimizer]) -> torch.Tensor:
        network = new_network(SMALL, 0).eval()
        optimizer = make(network)
        for _ in range(3):
            train_batch(network, optimizer, inputs, targets, None, options)
        again = make(network)
        again.load_state_dict(optimizer.state_dict())
        train_batch(network, again, inputs, targets, None, options)
        return nn.utils.parameters_to_vector(network.parameters()).detach()

    expected = trained(
        lambda network: torchs(network.parameters(), lr=options.learning_rate, weight_decay=0.1)
    )
    # What is None there cannot be imported.
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)
    assert torch.equal(trained(lambda network: make_optimizer(network, options)), expected)

"""A network beside an n-gram table: trained, put down and taken up, exported and continued from."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.config import NetworkConfig
from models.options import Hyperparameters
from models.text.corpus import Corpus
from models.text.vocab import Vocabulary
from models.training.beginning import count_features, new_network, new_trainer
from models.training.counting import count
from models.training.held_out import HeldOut, evaluate
from models.training.network import GATES_AT_FIRST, CharNetwork
from models.training.steps import train_batch
from models.training.trainer import Evaluation, Progress, Trainer, batches
from tests.toys import babble

VOCABULARY = Vocabulary("characters", sorted(map(ord, "\n .etaoinshrdlucmfwypvbgkqjxz")))
"""The line end is 0, as in ``babble``; no other name matters."""

SMALL = NetworkConfig(29, "lstm", 2, 12, dropout=0.3)
OPTIONS = Hyperparameters(
    4, 8, max_steps=12, learning_rate=0.02, evaluate_every=4, ngram_orders=5, ngram_buckets=800
)


def corpus_of(length: int) -> Corpus:
    ids = babble(length)
    return Corpus(VOCABULARY, ids[: -length // 5], ids[-length // 5 :])


CORPUS = corpus_of(6000)


def told(events: Iterator[Progress | Evaluation]) -> list[tuple[float, ...]]:
    """What people see of a run, time aside."""
    return [
        (e.step, e.train_loss) if isinstance(e, Progress) else (e.step, e.val_loss, e.best)
        for e in events
    ]


@pytest.mark.parametrize("changed", [{}, {"shuffle_lines": True}, {"ngram_characters": 2000}])
def test_a_run_put_down_anywhere_goes_on_as_if_nothing_had_happened(
    changed: dict[str, int],
) -> None:
    """To the bit, with the balance that the last evaluation found, and counts made again."""
    options = replace(OPTIONS, **changed)  # type: ignore[arg-type]
    torch.manual_seed(3)
    trainer = new_trainer(SMALL, CORPUS, options, features=count_features(CORPUS, options))
    events, saved = [], []
    for event in trainer.run():
        events += told(iter([event]))
        saved.append(trainer.state_dict())
    assert len(events) == 12 + 3
    assert not torch.equal(trainer.average.balance, torch.ones(2))
    for put_down, (tensors, rest) in enumerate(saved, 1):
        torch.manual_seed(put_down)
        features = count_features(CORPUS, options)
        assert features is not None
        network = new_network(trainer.network.config, 99, table=features.table)
        resumed = Trainer(network, CORPUS, options, features=features)
        resumed.load_state_dict(tensors, rest)
        assert torch.equal(resumed.average.balance, tensors["average.balance"])
        assert told(resumed.run()) == events[put_down:]
        for name, weight in trainer.average.export().items():
            assert np.array_equal(resumed.average.export()[name], weight), name


def test_together_they_learn_more_than_each_alone() -> None:
    corpus = corpus_of(40_000)
    options = replace(OPTIONS, batch_size=16, sequence_length=16, max_steps=150, evaluate_every=50)
    config = replace(SMALL, hidden_size=32, dropout=0.0)

    def run(options: Hyperparameters) -> tuple[list[float], float, CharNetwork]:
        trainer = new_trainer(config, corpus, options, features=count_features(corpus, options))
        events = list(trainer.run())
        last = [event for event in events if isinstance(event, Evaluation)][-1]
        losses = [event.train_loss for event in events if isinstance(event, Progress)]
        return losses, last.val_loss, trainer.average

    losses, both, network = run(options)
    assert losses[-1] < losses[10] < losses[0]
    _, alone, _ = run(replace(options, ngram_orders=0))
    assert both < alone - 0.1
    # The table only: gates of the network's own logits at 0, of the table's at 1.
    assert network.gates is not None
    nn.init.zeros_(network.gates.weight)
    with torch.no_grad():
        network.gates.bias.copy_(torch.tensor([0.0, 1.0]))
    network.balance.fill_(1.0)
    assert both < HeldOut(corpus.validation, network.table).loss(network) - 0.05


def test_nothing_is_counted_unless_it_is_asked_for() -> None:
    options = replace(OPTIONS, ngram_orders=0)
    assert count_features(CORPUS, options) is None
    trainer = new_trainer(SMALL, CORPUS, options)
    plain = new_network(SMALL, options.seed)
    assert trainer.network.config == SMALL
    assert trainer.network.table is None
    assert trainer.network.gates is None
    for name, weight in trainer.network.state_dict().items():
        assert torch.equal(weight, plain.state_dict()[name])
    tensors, _ = trainer.state_dict()
    assert not [name for name in tensors if "gates" in name or "balance" in name]


def test_a_plan_of_a_table_becomes_the_sizes_of_the_one_that_was_counted() -> None:
    features = count_features(CORPUS, OPTIONS)
    assert features is not None
    trainer = new_trainer(SMALL, CORPUS, OPTIONS, features=features)
    assert trainer.network.config == SMALL.beside(features.table)
    assert sum(features.table.sizes) <= 800
    with pytest.raises(ValueError, match="other sizes"):
        CharNetwork(SMALL, features.table)
    with pytest.raises(ValueError, match="other sizes"):
        CharNetwork(trainer.network.config)


@pytest.mark.parametrize("shuffle", [False, True])
def test_each_target_has_the_row_of_what_comes_before_it(shuffle: bool) -> None:
    """Also where lines are read in another order: the row is of the text, as it was counted."""
    options = replace(OPTIONS, shuffle_lines=shuffle)
    features, cut = count_features(CORPUS, options), batches(CORPUS, options)
    assert features is not None
    read = features.table.find(features.table.hashes(cut.ids))
    for step in (0, 3, 1000):
        _, targets = cut.batch(step)
        positions = cut.positions(step)[1:]
        rows = features.log_probabilities(positions)
        for at in np.ndindex(positions.shape):
            position = int(positions[at])
            before = read[position - 1] if position else np.zeros(2, int)
            row = features.table.log_probabilities(before[None])[0]
            row[targets[at]] = features.answers[position]
            assert (rows[at] == row).all()


def test_the_mix_is_a_sum_weighed_by_gates() -> None:
    features = count_features(CORPUS, OPTIONS)
    assert features is not None
    network = new_trainer(SMALL, CORPUS, OPTIONS, features=features).network
    assert network.gates is not None
    nn.init.normal_(network.gates.weight)
    ids = torch.randint(29, (5, 3))
    counted = torch.randn(5, 3, 29)
    network.balance.copy_(torch.tensor([0.5, 3.0]))
    network.eval()
    hidden, _ = network.read(ids)
    own = network.logits(hidden)
    gates = network.gates(hidden)
    mixed, _ = network(ids, None, counted)
    weighed = 0.5 * gates[..., :1] * own + 3.0 * gates[..., 1:] * counted
    assert torch.allclose(mixed, weighed, atol=1e-5)
    # The balance is for what it did not read; training adjusts the gates themselves.
    network.train()
    unbalanced = gates[..., :1] * own + gates[..., 1:] * counted
    assert torch.allclose(network.mixed(hidden, own, counted), unbalanced, atol=1e-5)
    assert torch.equal(network.eval()(ids)[0], own)


def test_the_network_learns_the_whole_text_beside_the_mix() -> None:
    """Half of the gradient is of its own loss: a table that is always right doesn't stop it."""
    features = count_features(CORPUS, OPTIONS)
    assert features is not None
    network = new_trainer(replace(SMALL, dropout=0.0), CORPUS, OPTIONS, features=features).network
    inputs, targets = (torch.from_numpy(ids) for ids in batches(CORPUS, OPTIONS).batch(0))
    right = torch.full((*targets.shape, 29), -30.0).scatter_(2, targets.unsqueeze(2), 0.0)
    optimizer = torch.optim.SGD(network.parameters(), 0.5)
    before = own_loss(network, inputs, targets)
    for _ in range(5):
        loss, _ = train_batch(network, optimizer, inputs, targets, None, OPTIONS, right)
    after = own_loss(network, inputs, targets)
    assert after < before - 0.01
    assert float(loss) < 0.01 < before


@torch.no_grad()
def own_loss(network: CharNetwork, inputs: Tensor, targets: Tensor) -> float:
    return float(nn.functional.cross_entropy(network(inputs)[0].flatten(0, 1), targets.flatten()))


def test_what_is_exported_says_what_was_measured() -> None:
    """With the balance in the gates: a decoder knows of none."""
    features = count_features(CORPUS, OPTIONS)
    trainer = new_trainer(SMALL, CORPUS, OPTIONS, features=features)
    *_, last = trainer.run()
    assert isinstance(last, Evaluation)
    network = trainer.average
    weights = network.export()
    assert set(weights) == {*network.config.shapes(), *network.config.table_shapes()}
    again = CharNetwork.of(network.config, weights)
    assert not again.training
    assert torch.equal(again.balance, torch.ones(2))
    assert evaluate(again, CORPUS.validation) == pytest.approx(last.val_loss, rel=1e-6)
    network.balance.fill_(1.0)
    assert not math.isclose(evaluate(network, CORPUS.validation), last.val_loss, rel_tol=1e-4)


def test_training_continues_from_a_network_with_or_without_gates() -> None:
    features = count_features(CORPUS, OPTIONS)
    first = new_trainer(SMALL, CORPUS, OPTIONS, features=features)
    list(first.run())
    weights = first.network.export()

    another = corpus_of(5000)
    table = count_features(another, OPTIONS)
    assert table is not None
    second = new_trainer(SMALL, another, replace(OPTIONS, seed=5), features=table).network
    second.load_weights(weights)
    assert second.gates is not None
    assert np.array_equal(second.gates.weight.detach(), weights["gates.weight"])
    assert second.table is table.table

    plain = {name: value for name, value in weights.items() if name in SMALL.shapes()}
    third = new_trainer(SMALL, another, replace(OPTIONS, seed=5), features=table).network
    third.load_weights(plain)
    assert third.gates is not None
    assert third.gates.bias.tolist() == list(GATES_AT_FIRST)
    assert not third.gates.weight.any()
    assert np.array_equal(third.output.weight.detach(), weights["output.weight"])

    # And without a table, from a network with one.
    fourth = new_network(SMALL, 1)
    fourth.load_weights(weights)
    assert np.array_equal(fourth.output.bias.detach(), weights["output.bias"])
    with pytest.raises(KeyError):
        third.load_weights({name: w for name, w in plain.items() if name != "output.bias"})


def test_char_rnns_start_leaves_the_gates() -> None:
    features = count_features(CORPUS, OPTIONS)
    options = replace(OPTIONS, initialisation="uniform")
    network = new_trainer(SMALL, CORPUS, options, features=features).network
    assert network.gates is not None
    assert network.gates.bias.tolist() == list(GATES_AT_FIRST)
    assert float(network.output.weight.detach().abs().max()) <= 0.08


@pytest.mark.parametrize("lists_from", [0, 1 << 30])
def test_positions_beyond_those_counted_are_looked_up(lists_from: int) -> None:
    ids = babble(30_000)
    found = count(ids, 29, 8, 3000, characters=20_000, lists_from=lists_from)
    alone = count(ids[:20_000], 29, 8, 3000, lists_from=lists_from)
    assert found.table.rows.tobytes() == alone.table.rows.tobytes()
    assert found.table.lists[1].tobytes() == alone.table.lists[1].tobytes()
    assert len(found.rows) == 20_000
    positions = np.array([[5, 19_999], [20_000, 29_999], [0, 20_007]])
    rows = found.log_probabilities(positions)
    assert rows.shape == (3, 2, 29)
    read = found.table.find(found.table.hashes(ids))
    for index in np.ndindex(3, 2):
        at = int(positions[index])
        nothing = np.zeros((1, 2), np.int64)
        looked_up = found.table.log_probabilities(read[at - 1 : at] if at else nothing)[0]
        if at < 20_000:
            looked_up[ids[at]] = found.answers[at]
        assert (rows[index] == looked_up).all()
    within = np.array([5, 19_999])
    assert (found.log_probabilities(within) == alone.log_probabilities(within)).all()

"""What is evaluated and published is an average of the weights."""

from dataclasses import replace

import torch
from torch import Tensor

from models.training.average import WeightAverage
from models.training.beginning import count_features, new_network, new_trainer
from models.training.held_out import evaluate
from models.training.trainer import Evaluation, Progress
from tests.models.test_trainer import CORPUS, OPTIONS, SMALL


def test_it_is_the_mean_of_the_last_steps() -> None:
    """At first of a tenth of the steps; from the hundredth on it is updated in every fourth."""
    network = new_network(SMALL, 0)
    average = WeightAverage(network, 0.98)
    bias, expected = network.output.bias, network.output.bias.detach().clone()
    for step in range(1, 601):
        with torch.no_grad():
            bias.fill_(float(step % 7))
        average.update(step)
        decay = min(0.98, (1 + step) / (10 + step))
        if step <= 100:
            expected = _mixed(expected, bias, decay)
        elif step % 4 == 0:
            expected = _mixed(expected, bias, decay**4)
        assert torch.allclose(average.network.output.bias, expected, rtol=1e-5)


def _mixed(expected: Tensor, bias: Tensor, decay: float) -> Tensor:
    return decay * expected + (1 - decay) * bias.detach()


def test_without_a_decay_the_weights_are_published() -> None:
    trainer = new_trainer(SMALL, CORPUS, replace(OPTIONS, ema_decay=0.0))
    list(trainer.run())
    assert trainer.average is trainer.network
    assert not any(name.startswith("average.") for name in trainer.state_dict()[0])


def test_it_is_what_an_evaluation_judges() -> None:
    trainer = new_trainer(SMALL, CORPUS, OPTIONS)
    *_, last = trainer.run()
    assert isinstance(last, Evaluation)
    assert last.val_loss == evaluate(trainer.average, CORPUS.validation)
    assert last.val_loss != evaluate(trainer.network, CORPUS.validation)


def test_a_state_of_an_earlier_release_begins_it_anew() -> None:
    trainer = new_trainer(SMALL, CORPUS, OPTIONS)
    for event in trainer.run():
        if isinstance(event, Progress) and event.step == 5:
            break
    tensors, rest = trainer.state_dict()
    old = {name: value for name, value in tensors.items() if not name.startswith("average.")}
    resumed = new_trainer(SMALL, CORPUS, OPTIONS)
    resumed.load_state_dict(old, rest)
    for name, weight in resumed.average.named_parameters():
        assert torch.equal(weight, tensors[f"network.{name}"])
    assert resumed.average is not resumed.network


def test_it_has_the_same_n_gram_table() -> None:
    """Of up to 16 MB."""
    options = replace(OPTIONS, ngram_orders=3, ngram_buckets=500)
    trainer = new_trainer(SMALL, CORPUS, options, features=count_features(CORPUS, options))
    assert trainer.network.table is not None
    assert trainer.average.table is trainer.network.table

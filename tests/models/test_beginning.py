"""A run begins with the counts, or takes them up on its way."""

import math
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch

from models.config import NetworkConfig
from models.options import Hyperparameters
from models.training import beginning
from models.training.beginning import (
    begin_features,
    count_features,
    counts_beside,
    first_trainer,
    has_features,
    new_trainer,
)
from models.training.ngram_features import NGramFeatures
from models.training.trainer import Diverged, Evaluation, FeatureCount, Progress, Trainer
from tests.models.test_ngram_features import CORPUS, OPTIONS, SMALL

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def counted() -> NGramFeatures:
    features = count_features(CORPUS, OPTIONS)
    assert features is not None
    return features


def steps(trainer: Trainer, number: int) -> list[Progress | Evaluation]:
    events = []
    for event in trainer.run():
        events.append(event)
        if trainer.step == number:
            break
    return events


def test_counting_that_takes_long_is_done_beside_training() -> None:
    long = Hyperparameters(4, 8, max_steps=9, ngram_orders=16, ngram_characters=10_000_000)
    assert counts_beside(replace(long, max_seconds=60.0))
    assert not counts_beside(replace(long, max_seconds=3600.0))
    assert not counts_beside(replace(long, max_seconds=60.0, ngram_characters=100_000))
    # What is bounded by steps only is the same each time.
    assert not counts_beside(long)


def test_a_count_is_over_at_once_or_comes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    assert begin_features(CORPUS, OPTIONS).done()
    assert begin_features(CORPUS, replace(OPTIONS, ngram_orders=0)).result() is None
    begun, go_on = threading.Event(), threading.Event()

    def slow(*_asked: object) -> NGramFeatures:
        begun.set()
        assert go_on.wait(30)
        return counted()

    monkeypatch.setattr(beginning, "count_features", slow)
    monkeypatch.setattr(beginning, "counts_beside", lambda _options: True)
    counting = begin_features(CORPUS, OPTIONS)
    assert begun.wait(30)
    assert not counting.done()
    go_on.set()
    found = counting.result(30)
    assert found is not None
    assert found.answers.tobytes() == counted().answers.tobytes()


def test_a_count_that_fails_ends_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_asked: object) -> None:
        raise MemoryError("no room for counts")

    monkeypatch.setattr(beginning, "count_features", failing)
    monkeypatch.setattr(beginning, "counts_beside", lambda _options: True)
    counting = begin_features(CORPUS, OPTIONS)
    with pytest.raises(MemoryError):
        counting.result(30)
    trainer = new_trainer(SMALL, CORPUS, OPTIONS)
    trainer.expect(counting)
    with pytest.raises(MemoryError):
        steps(trainer, 1)


def test_counts_are_taken_up_on_the_way() -> None:
    counting = FeatureCount(time.monotonic())
    torch.set_num_threads(2)
    trainer = first_trainer(SMALL, CORPUS, OPTIONS, CPU, counting)
    running = cast("Generator[Progress | Evaluation]", trainer.run())
    next(running)
    # The other half of the cores counts.
    assert torch.get_num_threads() == 1
    running.close()
    assert torch.get_num_threads() == 2
    steps(trainer, 5)
    assert trainer.network.table is None
    assert not has_features(trainer.state_dict()[0])
    before = {name: value.clone() for name, value in trainer.network.named_parameters()}
    moments = {
        i: s["exp_avg"].clone() for i, s in trainer.steps.optimizer.state_dict()["state"].items()
    }
    features = counted()
    counting.set_result(features)
    trainer._attach_counted()
    assert trainer.network.table is features.table
    assert trainer.network.config == SMALL.beside(features.table)
    # What it has learned stays, and how it learns.
    for name, value in before.items():
        assert torch.equal(trainer.network.get_parameter(name), value)
    kept = trainer.steps.optimizer.state_dict()["state"]
    assert kept.keys() == moments.keys()
    for index, moment in moments.items():
        assert torch.equal(kept[index]["exp_avg"], moment)
    events = list(trainer.run())
    assert trainer.step == OPTIONS.max_steps
    assert has_features(trainer.state_dict()[0])
    assert isinstance(events[-1], Evaluation)
    assert trainer.average.table is features.table
    assert not torch.equal(trainer.average.balance, torch.ones(2))


def test_a_run_is_resumed_before_and_after_it_took_the_counts_up() -> None:
    """From either state it goes on as the other did."""
    features = counted()
    counting = FeatureCount(time.monotonic())
    trainer = first_trainer(SMALL, CORPUS, OPTIONS, CPU, counting)
    steps(trainer, 4)
    early = trainer.state_dict()
    counting.set_result(features)
    steps(trainer, 7)
    late = trainer.state_dict()
    list(trainer.run())
    expected = trainer.network.export()
    over = FeatureCount(time.monotonic())
    over.set_result(features)
    for tensors, rest in (early, late):
        known = features if has_features(tensors) else None
        resumed = new_trainer(SMALL, CORPUS, OPTIONS, CPU, known)
        resumed.load_state_dict(tensors, rest)
        if known is None:
            resumed.expect(over)
        list(resumed.run())
        for name, weight in resumed.network.export().items():
            np.testing.assert_array_equal(weight, expected[name], name)


def test_counting_that_is_over_took_time_of_the_run() -> None:
    counting = FeatureCount(time.monotonic() - 5)
    counting.set_result(counted())
    assert first_trainer(SMALL, CORPUS, OPTIONS, CPU, counting).elapsed >= 5
    later = FeatureCount(time.monotonic() - 5)
    assert first_trainer(SMALL, CORPUS, OPTIONS, CPU, later).elapsed == 0


def test_a_network_without_features_needs_no_counts() -> None:
    options = replace(OPTIONS, ngram_orders=0)
    config = NetworkConfig(29, "lstm", 1, 8)
    trainer = first_trainer(config, CORPUS, options, CPU, begin_features(CORPUS, options))
    list(trainer.run())
    assert trainer.network.table is None


def test_a_run_that_fails_gives_the_cores_back() -> None:
    torch.set_num_threads(2)
    for _ in range(3):
        trainer = first_trainer(SMALL, CORPUS, OPTIONS, CPU, FeatureCount(time.monotonic()))
        with torch.no_grad():
            trainer.network.output.bias.fill_(math.nan)
        with pytest.raises(Diverged):
            list(trainer.run())
        assert torch.get_num_threads() == 2


def test_gates_of_another_model_are_kept_for_the_counts() -> None:
    learned = new_trainer(SMALL, CORPUS, OPTIONS, CPU, counted()).network
    assert learned.gates is not None
    torch.nn.init.normal_(learned.gates.weight)
    counting = FeatureCount(time.monotonic())
    trainer = first_trainer(SMALL, CORPUS, OPTIONS, CPU, counting)
    trainer.network.load_weights(learned.export())
    counting.set_result(counted())
    trainer._attach_counted()
    assert trainer.network.gates is not None
    assert torch.equal(trainer.network.gates.weight, learned.gates.weight)

"""Two processes train as one does with the same batch, and resume what the other began."""

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.training import trainer as trainer_module
from models.training.beginning import first_trainer, new_trainer
from models.training.counting import count
from models.training.ranks import ALONE, Group, Ranks
from models.training.trainer import Evaluation, FeatureCount, Trainer, TrainerState
from tests.together import CORPUS, STYLED, planned, second_rank

CPU = torch.device("cpu")

Saved = tuple[dict[str, Tensor], TrainerState]
Make = Callable[..., Trainer]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def two(directory: Path) -> Iterator[Ranks]:
    with second_rank(directory) as group:
        yield group


@pytest.fixture(autouse=True)
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes no evaluation come early where the machine is slow."""
    monkeypatch.setattr(trainer_module, "FIRST_EVALUATION", (100, math.inf))


@pytest.fixture
def make(directory: Path) -> Make:
    """Makes trainers, whose followers make the same."""

    def make(group: Group = ALONE, **case: Any) -> Trainer:
        (directory / "case.json").write_text(json.dumps(case))
        config, options = planned(**case)
        corpus = STYLED if config.styles else CORPUS
        return new_trainer(config, corpus, options, group=group)

    return make


def losses(trainer: Trainer, until: int = 1_000_000) -> list[float]:
    """Of the training and the evaluations, up to a step."""
    found = []
    for event in trainer.run():
        found.append(event.val_loss if isinstance(event, Evaluation) else event.train_loss)
        if event.step == until:
            break
    return found


def assert_alike(saved: Saved, expected: Saved) -> None:
    """But for the order in which sums are made."""
    tensors, rest = saved
    assert tensors.keys() == expected[0].keys()
    for name, tensor in expected[0].items():
        torch.testing.assert_close(tensors[name], tensor, rtol=1e-3, atol=1e-4, msg=name)
    assert rest["step"] == expected[1]["step"]
    assert rest["best_loss"] == pytest.approx(expected[1]["best_loss"], abs=1e-5)


def test_the_loss_is_that_of_one_process(two: Ranks, make: Make) -> None:
    alone, together = make(), make(two)
    expected = losses(alone)
    assert len(expected) == 200 + 4
    assert losses(together) == pytest.approx(expected, abs=1e-5)
    assert_alike(together.state_dict(), alone.state_dict())


@pytest.mark.parametrize(
    "case",
    [{"dropout": 0.3}, {"clip": "elements"}, {"batch_size": 1}, {"styles": ["one", "other"]}],
)
def test_dropout_clipping_and_few_rows_do_not_depend_on_the_processes(
    two: Ranks, make: Make, case: dict[str, Any]
) -> None:
    case = {"max_steps": 40, "evaluate_every": 20} | case
    # One after the other: a trainer that is made sets the random numbers of the process.
    alone = make(**case)
    expected = losses(alone)
    together = make(two, **case)
    assert losses(together) == pytest.approx(expected, abs=1e-5)
    assert_alike(together.state_dict(), alone.state_dict())


def test_one_process_resumes_what_two_began_and_the_other_way_round(two: Ranks, make: Make) -> None:
    case = {"dropout": 0.3, "max_steps": 40}
    undisturbed = make(**case)
    expected = losses(undisturbed)
    for first, second in ((two, ALONE), (ALONE, two), (two, two)):
        begun = make(first, **case)
        found = losses(begun, until=17)
        saved = begun.state_dict()
        assert saved[0]["carried.0"].shape == (2, 5, 12)
        resumed = make(second, **case)
        resumed.load_state_dict(*saved)
        assert_alike(resumed.state_dict(), saved)
        assert found + losses(resumed) == pytest.approx(expected, abs=1e-5)
        assert_alike(resumed.state_dict(), undisturbed.state_dict())


def test_counts_are_taken_up_by_all(two: Ranks, directory: Path) -> None:
    """When rank 0 has them, with the gates that it has then, and by those that begin later."""
    case: dict[str, Any] = {"max_steps": 60, "evaluate_every": 60}
    case |= {"ngram_orders": 4, "ngram_buckets": 500}
    (directory / "case.json").write_text(json.dumps(case))
    config, options = planned(**case)
    features = count(CORPUS.train, config.vocabulary_size, 4, 500, None, 3000)
    donor = new_trainer(config, CORPUS, options, CPU, features).network
    assert donor.gates
    nn.init.constant_(donor.gates.weight, 0.1)
    runs, states = [], []
    for group in (ALONE, two):
        counting = FeatureCount(time.monotonic())
        trainer = first_trainer(config, CORPUS, options, CPU, counting, group)
        trainer.network.load_weights(donor.export())
        began = losses(trainer, until=10)
        counting.set_result(features)
        began += losses(trainer, until=20)
        states.append(trainer.state_dict())
        resumed = new_trainer(config, CORPUS, options, CPU, features, group)
        resumed.load_state_dict(*states[0])
        runs.append(began + losses(resumed))
    assert runs[1] == pytest.approx(runs[0], abs=1e-5)
    assert_alike(states[1], states[0])


def test_only_the_clock_of_rank_0_counts(
    two: Ranks, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rate falls with it and the run ends by it; the other has another clock."""
    case = {"max_steps": 10_000, "max_seconds": 20.0}
    expected = []
    for group in (ALONE, two):
        monkeypatch.setattr(trainer_module, "time", _Clock())
        expected.append(losses(make(group, **case)))
    assert 30 < len(expected[0]) < 50
    assert expected[1] == pytest.approx(expected[0], abs=1e-5)


class _Clock:
    """Each look at it takes half a second."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        self.now += 0.5
        return self.now

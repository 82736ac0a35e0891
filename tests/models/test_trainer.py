"""Training learns, ends when told, and can be put down and taken up as if nothing had happened."""

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.config import NetworkConfig
from models.options import ComputeType, Hyperparameters, NetworkKind, Optimizer
from models.text.corpus import Corpus
from models.text.vocab import Vocabulary
from models.training import accelerated
from models.training import trainer as trainer_module
from models.training.beginning import new_network
from models.training.held_out import evaluate
from models.training.network import CharNetwork
from models.training.steps import learning_rate, train_batch
from models.training.trainer import Diverged, Evaluation, Progress, Trainer, train

# What follows an a or a b depends on how many there were: a table of pairs can't learn it.
PERIOD = "aaabbb "
VOCABULARY = Vocabulary("characters", sorted(map(ord, set(PERIOD))))
SMALL = NetworkConfig(len(VOCABULARY), "lstm", 2, 12, dropout=0.3)
OPTIONS = Hyperparameters(4, 8, max_steps=12, learning_rate=0.02, evaluate_every=4)


def periodic(characters: int) -> Corpus:
    ids = VOCABULARY.encode((PERIOD * characters)[:characters]).astype(np.uint8)
    return Corpus(VOCABULARY, ids[: -characters // 5], ids[-characters // 5 :])


CORPUS = periodic(600)


def need(precision: ComputeType) -> None:
    """Skips where this machine's torch has no recurrent layers in bf16."""
    if precision == "bf16":
        try:
            train_batch(
                network := CharNetwork(SMALL),
                torch.optim.SGD(network.parameters()),
                torch.zeros(3, 1, dtype=torch.int64),
                torch.zeros(3, 1, dtype=torch.int64),
                None,
                replace(OPTIONS, precision="bf16"),
            )
        except RuntimeError as error:
            pytest.skip(f"no bf16 here: {error}")


class Clock:
    """Each look at it takes a while."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.now = 1000.0

    def monotonic(self) -> float:
        self.now += self.seconds
        return self.now


def told(events: Iterator[Progress | Evaluation]) -> list[tuple[Any, ...]]:
    """What people see of a run, time aside."""
    return [
        (e.step, e.train_loss, e.learning_rate, e.epoch)
        if isinstance(e, Progress)
        else (e.step, e.val_loss, e.best)
        for e in events
    ]


def evaluations(events: Iterator[Progress | Evaluation]) -> list[Evaluation]:
    return [event for event in events if isinstance(event, Evaluation)]


@pytest.mark.parametrize(("kind", "embedding"), [("lstm", 0), ("gru", 0), ("rnn", 0), ("lstm", 4)])
def test_what_repeats_is_learned(kind: NetworkKind, embedding: int) -> None:
    network = new_network(NetworkConfig(len(VOCABULARY), kind, 2, 16, embedding), seed=0)
    *_, evaluation = evaluations(
        train(network, periodic(5000), replace(OPTIONS, max_steps=150, evaluate_every=150))
    )
    # An untrained one says ln 3 = 1.1.
    assert evaluation.val_loss < 0.03


def test_the_same_seed_gives_the_same_run() -> None:
    runs = [told(train(new_network(SMALL, 7), CORPUS, replace(OPTIONS, seed=s))) for s in (7, 7, 8)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize(
    ("kind", "optimizer", "precision"),
    [
        ("lstm", "adamw", "fp32"),
        ("lstm", "adamw", "bf16"),
        ("gru", "rmsprop", "fp32"),
        ("rnn", "adam", "fp32"),
    ],
)
def test_a_run_put_down_anywhere_goes_on_as_if_nothing_had_happened(
    kind: NetworkKind, optimizer: Optimizer, precision: ComputeType
) -> None:
    """To the bit: dropout, optimizer, carried state, schedule, evaluations."""
    need(precision)
    config = replace(SMALL, kind=kind)
    options = replace(OPTIONS, optimizer=optimizer, precision=precision)
    torch.manual_seed(3)
    network = new_network(config, 3)
    trainer = Trainer(network, CORPUS, options)
    whole = []
    saved = []
    for event in trainer.run():
        whole += told(iter([event]))
        saved.append(trainer.state_dict())
    assert len(whole) == 12 + 3

    for put_down, (tensors, rest) in enumerate(saved, 1):
        torch.manual_seed(put_down)
        another = new_network(config, 99)
        resumed = Trainer(another, CORPUS, options)
        resumed.load_state_dict(tensors, rest)
        assert told(resumed.run()) == whole[put_down:]
        for name, weight in another.state_dict().items():
            assert torch.equal(weight, network.state_dict()[name])


def test_a_saved_state_does_not_change_while_training_goes_on() -> None:
    """Neither the one given nor the one taken: it is written later, and perhaps returned to."""
    trainer = Trainer(new_network(SMALL, 0), CORPUS, OPTIONS)
    run = trainer.run()
    next(run)
    tensors, rest = trainer.state_dict()
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    next(run)
    resumed = Trainer(new_network(SMALL, 1), CORPUS, OPTIONS)
    resumed.load_state_dict(tensors, rest)
    told(resumed.run())
    assert all(torch.equal(tensors[name], tensor) for name, tensor in before.items())


def test_a_state_of_another_network_is_refused() -> None:
    trainer = Trainer(new_network(SMALL, 0), CORPUS, OPTIONS)
    next(trainer.run())
    larger = Trainer(new_network(replace(SMALL, hidden_size=13), 0), CORPUS, OPTIONS)
    with pytest.raises(RuntimeError, match="size mismatch"):
        larger.load_state_dict(*trainer.state_dict())
    with pytest.raises((KeyError, RuntimeError)):
        larger.load_state_dict({}, trainer.state_dict()[1])


def test_progress_keeps_the_loss_of_its_own_step() -> None:
    events = list(train(new_network(SMALL, 0), CORPUS, OPTIONS))
    losses = [e.train_loss for e in events if isinstance(e, Progress)]
    assert len(set(losses)) == OPTIONS.max_steps


def test_evaluations_do_not_disturb_training() -> None:
    def losses(evaluate_every: int) -> list[float]:
        options = replace(OPTIONS, evaluate_every=evaluate_every)
        run = train(new_network(SMALL, 0), CORPUS, options)
        return [event.train_loss for event in run if isinstance(event, Progress)]

    assert losses(1) == losses(1000)


def test_an_evaluation_leaves_the_network_as_it_was() -> None:
    network = new_network(SMALL, 0).train()
    evaluate(network, CORPUS.validation)
    assert network.training
    evaluate(network.eval(), CORPUS.validation)
    assert not network.training


@pytest.mark.parametrize(
    ("kind", "characters"), [("lstm", 2), ("lstm", 300), ("gru", 700), ("lstm", 2401)]
)
def test_the_validation_loss_is_what_the_plain_way_gives(
    kind: NetworkKind, characters: int
) -> None:
    network = new_network(replace(SMALL, kind=kind), 5).eval()
    ids = np.random.default_rng(1).integers(0, SMALL.vocabulary_size, characters).astype(np.uint8)
    rows = 2 if characters > 2000 else 1
    length = (characters - 1) // rows
    losses = []
    with torch.no_grad():
        for row in range(rows):
            state = None
            for position in range(row * length, (row + 1) * length):
                logits, state = network(torch.tensor([[int(ids[position])]]), state)
                losses.append(-torch.log_softmax(logits[0, 0].double(), 0)[int(ids[position + 1])])
    assert evaluate(network, ids) == pytest.approx(float(sum(losses)) / len(losses), rel=1e-5)


def test_an_evaluation_needs_bounded_memory_however_large_the_vocabulary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = CharNetwork(NetworkConfig(60_000, hidden_size=1, num_layers=1))

    class Enough(Exception):
        pass

    def read(ids: Tensor, _state: object) -> None:
        assert ids.numel() * 60_000 <= 1 << 25
        raise Enough

    monkeypatch.setattr(network, "read", read)
    with pytest.raises(Enough):
        evaluate(network, np.zeros(100_000, np.uint16))


def test_the_rate_that_is_told_is_the_one_that_was_used() -> None:
    run = train(new_network(SMALL, 0), CORPUS, OPTIONS)
    told_rates = [event.learning_rate for event in run if isinstance(event, Progress)]
    assert told_rates == [learning_rate(OPTIONS, step / 12, 0) for step in range(12)]


def test_steps_end_a_run_with_an_evaluation() -> None:
    events = list(train(new_network(SMALL, 0), CORPUS, replace(OPTIONS, evaluate_every=5)))
    assert [e.step for e in events if isinstance(e, Evaluation)] == [5, 10, 12]
    assert isinstance(events[-1], Evaluation)
    assert [e.step for e in events if isinstance(e, Progress)] == list(range(1, 13))


@pytest.mark.parametrize(("seconds", "first"), [(0.01, 100), (1, 11)])
def test_the_first_evaluation_comes_soon(
    seconds: float, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 100 steps or 12 seconds: somebody is waiting for the first text."""
    monkeypatch.setattr(trainer_module, "time", Clock(seconds))
    options = replace(OPTIONS, max_steps=150, evaluate_every=140)
    steps = [e.step for e in evaluations(train(new_network(SMALL, 0), CORPUS, options))]
    assert steps == [first, 140, 150]


def test_patience_ends_a_run_that_gets_no_better() -> None:
    noise = np.random.default_rng(2).integers(0, len(VOCABULARY), 300).astype(np.uint8)
    corpus = Corpus(VOCABULARY, CORPUS.train, noise)
    options = replace(OPTIONS, max_steps=400, evaluate_every=10, patience=3)
    found = evaluations(train(new_network(SMALL, 0), corpus, options))
    assert found[-1].step < 400
    assert [e.best for e in found[-4:]] == [True, False, False, False]
    assert min(found, key=lambda e: e.val_loss) == found[-4]


def test_seconds_end_a_run_and_carry_the_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "time", Clock(0.5))
    options = replace(OPTIONS, max_steps=10_000, max_seconds=20.0, evaluate_every=10)
    events = list(train(new_network(SMALL, 0), CORPUS, options))
    progress = [event for event in events if isinstance(event, Progress)]
    assert isinstance(events[-1], Evaluation)
    assert 20 <= progress[-1].elapsed_seconds < 21
    assert progress[-1].learning_rate < 0.01 * OPTIONS.learning_rate
    assert progress[-1].eta_seconds == 0
    assert progress[9].eta_seconds == pytest.approx(20 - progress[9].elapsed_seconds)


def test_seconds_are_counted_over_all_resumes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "time", Clock(0.5))
    options = replace(OPTIONS, max_steps=10_000, max_seconds=20.0, evaluate_every=1000)
    trainer = Trainer(new_network(SMALL, 0), CORPUS, options)
    for event in trainer.run():
        if event.step == 20:
            break
    tensors, rest = trainer.state_dict()
    # Not the time in between.
    monkeypatch.setattr(trainer_module, "time", Clock(0.5))
    trainer_module.time.now = 99_999.0  # type: ignore[attr-defined]
    resumed = Trainer(new_network(SMALL, 0), CORPUS, options)
    resumed.load_state_dict(tensors, rest)
    steps = [event.step for event in resumed.run()]
    assert steps[0] == 21
    assert 35 <= steps[-1] <= 41


def test_the_speed_is_that_of_this_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "time", Clock(2.0))
    first = next(train(new_network(SMALL, 0), CORPUS, OPTIONS))
    assert isinstance(first, Progress)
    assert first.chars_per_second == 4 * 8 / 2.0
    assert first.eta_seconds == 11 * 2.0


def test_a_loss_that_is_no_number_ends_the_run() -> None:
    options = replace(OPTIONS, learning_rate=1e30, grad_clip=0, schedule="constant")
    with pytest.raises(Diverged, match="not a number at step 4"):
        told(train(new_network(SMALL, 0), CORPUS, options))


def test_a_last_update_that_ruins_the_weights_is_noticed() -> None:
    """The loss of that step was sound; what would be published is not."""
    trainer = Trainer(new_network(SMALL, 0), CORPUS, OPTIONS)
    run = trainer.run()
    for event in run:
        if event.step == 4:
            break
    nn.init.constant_(trainer.average.output.bias, math.nan)
    with pytest.raises(Diverged):
        next(run)


@pytest.mark.parametrize("ruined", ["weight", "loss"])
def test_a_ruined_state_is_never_saved(ruined: str) -> None:
    """It would replace the good one that training goes back to."""
    trainer = Trainer(new_network(SMALL, 0), CORPUS, OPTIONS)
    next(trainer.run())
    if ruined == "weight":
        nn.init.constant_(trainer.network.output.bias, math.inf)
    else:
        trainer.smoothed = torch.tensor(math.nan)
    with pytest.raises(Diverged):
        trainer.state_dict()


def test_texts_begin_at_line_ends_in_every_fourth_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the zero state, as a sampled text does; all else goes on from the batch before."""
    steps = []

    def watched(*arguments: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        loss, after = train_batch(*arguments)
        steps.append((arguments[2], arguments[4], after))
        return loss, after

    monkeypatch.setattr(accelerated, "train_batch", watched)
    told(train(new_network(SMALL, 0), CORPUS, OPTIONS))
    begun = 0
    for number, ((_, _, left), (inputs, state, _)) in enumerate(pairwise(steps), 1):
        begins = (inputs[0] == VOCABULARY.start_id) & (number % 4 == 0)
        begun += int(begins.sum())
        for before, now in zip(left, state, strict=True):
            assert torch.equal(now[:, ~begins], before[:, ~begins])
            assert not now[:, begins].any() and before[:, begins].all()
    assert begun


def test_the_best_is_told_as_it_happens() -> None:
    found = evaluations(train(new_network(SMALL, 0), CORPUS, replace(OPTIONS, evaluate_every=1)))
    best = math.inf
    for evaluation in found:
        assert evaluation.best == (evaluation.val_loss < best)
        best = min(best, evaluation.val_loss)
    assert [e.step for e in found] == [step for step, _ in zip(count(1), found, strict=False)]

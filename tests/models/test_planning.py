"""``auto`` fits the network to the text, the machine and the time; what was asked for is kept."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from models.config import NetworkConfig
from models.options import MAX_STEPS, ComputeType, NetworkKind, TrainingOptions
from models.sizing import training_bytes
from models.text.corpus import Corpus, Scan, ScanReport
from models.text.vocab import Vocabulary
from models.training import planning
from models.training.accelerated import Compute
from models.training.batches import Batches
from models.training.beginning import new_network
from models.training.planning import (
    PROBE,
    Measure,
    Plan,
    auto_rate,
    faster_precision,
    make_plan,
    step_timer,
)
from models.training.trainer import Evaluation, train

CPU = torch.device("cpu")

LAPTOP = 5e10
"""Parameters times characters a second: what two cores do in fp32, about."""


def text_of(characters: int, distinct: int = 65) -> Scan:
    vocabulary = Vocabulary("characters", list(range(0x4E00, 0x4E00 + distinct)))
    return Scan(
        ScanReport(characters, characters, distinct, "characters", "utf-8", "lf", 1), vocabulary
    )


SHAKESPEARE = text_of(1_115_394)


def machine(speed: float, bf16: float = 0.5) -> Measure:
    """One whose steps take time in proportion to their multiplications."""

    def measure(
        config: NetworkConfig, batch_size: int, length: int, precision: ComputeType
    ) -> float:
        seconds = config.parameters() * batch_size * length / speed
        return seconds if precision == "fp32" else seconds / bf16

    return measure


def plan_for(scan: Scan = SHAKESPEARE, speed: float = LAPTOP, **options: Any) -> Plan:
    return planned(options, scan, speed)


def planned(options: dict[str, Any], scan: Scan = SHAKESPEARE, speed: float = LAPTOP) -> Plan:
    return make_plan(TrainingOptions(**options), scan, CPU, machine(speed))


def codes(plan: Plan) -> list[str]:
    return [notice["code"] for notice in plan.notices]


def hidden_sizes(plans: list[Plan]) -> list[int]:
    return [plan.config.hidden_size for plan in plans]


def test_a_faster_machine_gets_a_larger_network() -> None:
    speeds = [LAPTOP / 100, LAPTOP / 10, LAPTOP, LAPTOP * 30]
    sizes = hidden_sizes([plan_for(speed=speed, max_seconds=180.0) for speed in speeds])
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 4


def test_more_time_gets_a_larger_network() -> None:
    sizes = hidden_sizes([plan_for(max_seconds=seconds) for seconds in (10, 60, 600, 6000)])
    assert sizes == sorted(sizes)
    assert len(set(sizes)) >= 3


def test_a_smaller_text_gets_a_smaller_network() -> None:
    """It would be learned by heart, whatever the machine can do."""
    texts = [text_of(size) for size in (1000, 300_000, 1_000_000, 30_000_000)]
    plans = [plan_for(text, speed=LAPTOP * 1000) for text in texts]
    assert hidden_sizes(plans) == sorted(hidden_sizes(plans))
    assert len(set(hidden_sizes(plans))) == 4
    for text, plan in zip(texts[1:], plans[1:], strict=True):
        assert plan.config.parameters() < 3.5 * text.report.characters


def test_fewer_epochs_get_a_smaller_network() -> None:
    once, often = (plan_for(speed=LAPTOP * 1000, max_epochs=epochs) for epochs in (1, 50))
    assert once.config.hidden_size < often.config.hidden_size


def test_a_network_that_reads_a_text_often_gets_dropout() -> None:
    plans = [plan_for(hidden_size=256, max_epochs=epochs) for epochs in (1, 3, 10, 20, 100)]
    shares = [plan.config.dropout for plan in plans]
    assert shares == sorted(shares)
    assert shares[0] == 0 < shares[1]
    assert plan_for(hidden_size=256, max_epochs=100, dropout=0.0).config.dropout == 0


def test_a_list_gets_less_dropout() -> None:
    text = text_of(228_145, 27)
    names = replace(text, report=replace(text.report, preset="names"))
    asked = {"hidden_size": 128, "max_epochs": 50}
    shares = [plan_for(scan, **asked).config.dropout for scan in (text, names)]
    assert shares == [0.4, 0.3]


def test_a_cpu_takes_short_steps_at_the_rate_of_long_ones() -> None:
    training = plan_for(max_seconds=180.0, hidden_size=256).training
    assert (training.batch_size, training.sequence_length) == (32, 32)
    assert training.learning_rate == 0.011
    longer = plan_for(max_seconds=180.0, hidden_size=256, sequence_length=64).training
    assert longer.learning_rate == 0.011
    smaller = plan_for(max_seconds=180.0, hidden_size=256, batch_size=8).training
    assert smaller.learning_rate == 0.0055


def faster_when_full(times: float) -> Measure:
    """A machine that reads batches of 64 rows so many times as fast."""
    plain = machine(LAPTOP)

    def measure(
        config: NetworkConfig, batch_size: int, length: int, precision: ComputeType
    ) -> float:
        seconds = plain(config, batch_size, length, precision)
        return seconds / times if batch_size == 64 else seconds

    return measure


FEW_PASSES: dict[str, Any] = {"max_seconds": 60.0}


def fuller(times: float = 1.4, text: Scan = SHAKESPEARE, **options: Any) -> Plan:
    asked = TrainingOptions(**(FEW_PASSES | options))
    return make_plan(asked, text, CPU, faster_when_full(times), memory=8 << 30)


def test_a_text_that_is_read_a_few_times_is_read_in_fuller_batches_if_that_is_faster() -> None:
    training = fuller(hidden_size=256).training
    assert (training.batch_size, training.sequence_length) == (64, 32)
    assert training.learning_rate == pytest.approx(1.4 * 0.011)
    plain = fuller(times=1.1, hidden_size=256).training
    assert (plain.batch_size, plain.learning_rate) == (32, 0.011)


@pytest.mark.parametrize(
    "options",
    [
        {"max_seconds": 3600.0},
        {"max_seconds": None},
        {"max_steps": 1000},
        {"max_epochs": 2.0},
        {"batch_size": 32},
        {"sequence_length": 32},
        {"network": "gru"},
        {"text": text_of(3000)},
    ],
    ids=lambda options: next(iter(options)),
)
def test_another_run_keeps_the_default_batch(options: dict[str, Any]) -> None:
    assert fuller(**options).training.batch_size <= 32


def test_a_fuller_batch_must_fit_into_memory() -> None:
    config = NetworkConfig(65, hidden_size=PROBE)
    between = (training_bytes(config, 32, 32) + training_bytes(config, 64, 32)) // 2
    measure = faster_when_full(1.4)
    plan = make_plan(TrainingOptions(**FEW_PASSES), SHAKESPEARE, CPU, measure, memory=between)
    assert plan.training.batch_size == 32


def test_narrow_networks_and_cells_with_gates_take_larger_rates() -> None:
    def rate(hidden_size: int, kind: NetworkKind) -> float:
        return auto_rate(NetworkConfig(65, kind, hidden_size=hidden_size), 1024)

    assert rate(64, "lstm") == 0.03 > rate(128, "lstm") > rate(256, "lstm")
    assert rate(128, "lstm") > rate(128, "gru") > rate(128, "rnn")


def test_a_large_vocabulary_is_embedded() -> None:
    assert plan_for(text_of(5_000_000, distinct=4000)).config.embedding_size > 0
    assert plan_for(text_of(5_000_000, 4000), embedding_size=0).config.embedding_size == 0
    assert plan_for().config.embedding_size == 0


EXPLICIT = {
    "network": "gru",
    "num_layers": 3,
    "hidden_size": 100,
    "embedding_size": 10,
    "ngram_orders": 3,
    "ngram_buckets": 500,
    "dropout": 0.25,
    "batch_size": 7,
    "sequence_length": 33,
    "optimizer": "adam",
    "learning_rate": 0.004,
    "schedule": "constant",
    "grad_clip": 0.0,
    "weight_decay": 0.0,
    "ema_decay": 0.5,
    "max_steps": 1234,
    "max_seconds": 99.0,
    "validation_fraction": 0.2,
    "evaluate_every": 11,
    "patience": 3,
    "seed": 5,
}


@pytest.mark.parametrize("preset", ["auto", "char-rnn", "linux"])
def test_what_was_asked_for_is_kept(preset: str) -> None:
    """Whatever the preset; a zero is a value."""
    plan = planned({"preset": preset, **EXPLICIT})
    own: dict[str, Any] = {"precision": "fp32", "clip": "norm", "initialisation": "normal"}
    own |= {"shuffle_lines": False, "ngram_characters": 892_315}
    if preset == "char-rnn":
        own |= {"clip": "elements", "initialisation": "uniform"}
    assert plan.resolved == EXPLICIT | own
    assert plan.config.vocabulary_size == 65


def test_an_option_that_is_none_is_left_open() -> None:
    assert planned(dict.fromkeys(EXPLICIT)) == plan_for()


def test_char_rnn_is_char_rnn() -> None:
    plan = plan_for(preset="char-rnn", validation_fraction=0.05)
    assert plan.config == NetworkConfig(65, "lstm", num_layers=2, hidden_size=128)
    assert plan.config.parameters() == 240_321
    training = plan.training
    assert (training.batch_size, training.sequence_length) == (50, 50)
    assert (training.optimizer, training.learning_rate) == ("rmsprop", 2e-3)
    assert (training.schedule, training.grad_clip) == ("char-rnn", 5.0)
    assert (training.weight_decay, training.ema_decay) == (0.0, 0.0)
    assert (training.evaluate_every, training.patience) == (1000, 0)
    assert training.max_seconds is None
    # Fifty epochs of 95 %.
    assert training.max_steps == math.ceil(50 * round(1_115_394 * 0.95) / 2500)


def test_the_lines_of_a_list_are_shuffled() -> None:
    names = text_of(228_145, 27)
    names.report.preset = "names"
    assert plan_for(names).training.shuffle_lines
    assert not plan_for().training.shuffle_lines
    # One that would not fit into memory stays in its order.
    names.report.characters = 1 << 28
    assert not plan_for(names).training.shuffle_lines


def test_an_unknown_word_is_refused() -> None:
    for option in ("optimizer", "schedule", "network"):
        with pytest.raises(ValueError, match=option):
            planned({option: "other"})


@pytest.mark.parametrize(
    ("speedup", "precision"), [(0.3, "fp32"), (1.0, "fp32"), (1.05, "fp32"), (2.0, "bf16")]
)
def test_bf16_is_for_machines_that_are_faster_with_it(speedup: float, precision: str) -> None:
    plan = make_plan(TrainingOptions(), SHAKESPEARE, CPU, machine(LAPTOP, speedup))
    assert plan.training.precision == precision


def test_a_gpu_has_fp16_for_bf16() -> None:
    """Its fastest kernels take no other; and where a state is a sum, fp16 is fine enough."""
    gpu = torch.device("cuda")
    kinds: list[NetworkKind] = ["lstm", "gru", "rnn"]
    for kind in kinds:
        plan = make_plan(TrainingOptions(network=kind), SHAKESPEARE, gpu, machine(1e12, 5))
        assert plan.training.precision == "fp16"
    slow = make_plan(TrainingOptions(), SHAKESPEARE, gpu, machine(1e12, 1))
    assert slow.training.precision == "fp32"


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_precision_that_is_asked_for_is_taken(kind: NetworkKind) -> None:
    for precision in ("fp32", "bf16", "fp16"):
        options = TrainingOptions(network=kind, precision=precision)
        gpu = make_plan(options, SHAKESPEARE, torch.device("cuda"), machine(1e12))
        assert gpu.training.precision == precision
        assert "precision" not in codes(gpu)
        here = make_plan(options, SHAKESPEARE, CPU, machine(LAPTOP))
        assert here.training.precision == ("fp32" if precision == "fp16" else precision)
        assert ("precision" in codes(here)) == (precision == "fp16")


def test_a_gpu_is_measured_when_it_is_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first steps load libraries and record a graph, which takes seconds."""
    performed = []

    def perform(*given: Any) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        performed.append(given)
        return torch.zeros(()), ()

    def clock() -> float:
        return 0.0 if len(performed) >= 4 else float(len(performed))

    warm = Compute(warm_steps=4)
    monkeypatch.setattr(Compute, "on", lambda *_: warm)
    monkeypatch.setattr(Compute, "steps", lambda *_: perform)
    monkeypatch.setattr(planning, "time", SimpleNamespace(monotonic=clock))
    assert step_timer(CPU)(NetworkConfig(9, hidden_size=8), 2, 3, "fp32") == 0
    assert len(performed) == 4 + 20


def test_a_batch_that_is_shrunk_for_a_gpu_keeps_to_its_multiples() -> None:
    for characters in (2000, 9000, 30_000):
        plan = make_plan(
            TrainingOptions(), text_of(characters), torch.device("cuda"), machine(1e12)
        )
        rows = plan.training.batch_size
        assert rows % 8 == 0 or rows < 8
        assert rows * plan.training.sequence_length <= characters / 2


# When it ends


def test_each_limit_is_respected() -> None:
    assert plan_for(max_steps=17).training.max_steps == 17
    one = plan_for(max_epochs=1, batch_size=10, sequence_length=10)
    assert one.training.max_steps == math.ceil(1_115_394 * 0.95 / 100)
    timed = plan_for(max_seconds=60.0).training
    assert timed.max_seconds == 60
    # Time is what ends it, and the steps are about those that there is time for.
    config = plan_for(max_seconds=60.0).config
    step = machine(LAPTOP)(config, timed.batch_size, timed.sequence_length, "fp32")
    assert 60 <= timed.max_steps * step <= 1.5 * 60


def test_the_first_limit_ends_it() -> None:
    epoch = plan_for(max_epochs=1).training.max_steps
    assert plan_for(max_epochs=1, max_steps=10 * epoch).training.max_steps == epoch
    assert plan_for(max_epochs=10, max_steps=epoch).training.max_steps == epoch
    both = plan_for(max_steps=5, max_seconds=1e6).training
    assert (both.max_steps, both.max_seconds) == (5, 1e6)


def test_without_a_limit_there_is_one_nevertheless() -> None:
    training = plan_for().training
    assert training.max_seconds is not None
    assert training.patience > 0
    # With a limit, the schedule is to be played to its end.
    assert plan_for(max_seconds=60.0).training.patience == 0


@pytest.mark.parametrize(
    "options",
    [
        {"max_epochs": 1e300},
        {"max_steps": 10**12},
        {"max_seconds": 1e15},
        {"max_epochs": 1e300, "max_steps": 10**12, "max_seconds": 1e15},
    ],
    ids=str,
)
def test_huge_budgets_stay_within_limits(options: dict[str, Any]) -> None:
    plan = plan_for(speed=LAPTOP * 1e6, **options)
    assert plan.training.max_steps == MAX_STEPS
    assert plan.config.hidden_size <= 1024
    assert 1 <= plan.training.evaluate_every <= MAX_STEPS // 4
    assert ("steps" in codes(plan)) == (options != {"max_seconds": 1e15})


def test_no_time_at_all_is_one_step() -> None:
    plan = plan_for(speed=1.0, max_seconds=1e-3)
    assert (plan.training.max_steps, plan.training.evaluate_every) == (1, 1)
    assert plan.config.hidden_size == 64


@pytest.mark.parametrize("speed", [LAPTOP / 100, LAPTOP, LAPTOP * 100])
def test_there_are_some_forty_evaluations_but_not_all_the_time(speed: float) -> None:
    plan = plan_for(speed=speed, max_seconds=600.0)
    training = plan.training
    step = machine(speed)(plan.config, training.batch_size, training.sequence_length, "fp32")
    evaluations = 600 / (step * training.evaluate_every)
    assert 3 <= evaluations <= 120
    # Reading the held-out text is a third of the work of learning it, at half the speed in fp32.
    held_out = 0.05 * 1_000_000 / (training.batch_size * training.sequence_length)
    assert evaluations * held_out * step * 2 / 3 <= 0.06 * 600
    short = plan_for(max_seconds=20.0)
    assert 4 <= short.training.max_steps / short.training.evaluate_every <= 6


# Small texts


@pytest.mark.parametrize("characters", [100, 101, 150, 1000, 5000])
def test_a_tiny_text_fills_its_batches(characters: int) -> None:
    training = plan_for(text_of(characters)).training
    assert training.sequence_length >= 2
    assert training.batch_size * training.sequence_length <= characters * 0.95 / 2 + 1


def test_a_hundred_characters_can_be_trained_on() -> None:
    ids = (torch.arange(100) % 5).to(torch.uint8).numpy()
    scan = text_of(100, distinct=5)
    plan = plan_for(scan, max_steps=3)
    corpus = Corpus(scan.vocabulary, ids[:95], ids[95:])
    events = list(train(new_network(plan.config, 0), corpus, plan.training))
    assert isinstance(events[-1], Evaluation)
    batches = Batches(corpus.train, plan.training.batch_size, plan.training.sequence_length)
    assert batches.epoch(2) <= 1


def test_sizes_that_shrink_are_told_once() -> None:
    plan = plan_for(text_of(500), batch_size=50, sequence_length=50, max_steps=100)
    assert plan.training.batch_size * plan.training.sequence_length <= 250
    assert codes(plan).count("small-corpus") == 1
    assert "50×50 became" in plan.notices[0]["text"]
    assert "small-corpus" not in codes(plan_for(batch_size=50, sequence_length=50))


# What is told


def test_the_choice_is_told_in_words() -> None:
    notice = plan_for(preset="char-rnn", dropout=0.5).notices[-1]
    assert notice["code"] == "plan"
    assert notice["text"].startswith(
        "2×128 LSTM, 240,321 parameters, dropout 0.5, batches of 50×50, about 208,055 characters"
    )
    counted = plan_for(preset="auto", ngram_orders=5).notices[-1]["text"]
    assert "contexts of up to 5 characters counted beside it" in counted


@pytest.mark.parametrize(
    "options", [{}, EXPLICIT, {"preset": "char-rnn"}], ids=["auto", "all", "old"]
)
def test_a_plan_comes_back_from_its_json(options: dict[str, Any]) -> None:
    """A resume goes by it."""
    plan = plan_for(**options)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


# Measuring


def test_a_step_is_measured_once() -> None:
    """Planning asks again and again; each measurement takes a while."""
    measure = step_timer(CPU)
    config = NetworkConfig(5, "lstm", 1, 4)
    first = measure(config, 2, 3, "fp32")
    assert first > 0
    assert measure(replace(config, dropout=0.5), 2, 3, "fp32") == first


def test_planning_measures_what_it_plans_with() -> None:
    asked: list[tuple[int, int, int]] = []

    def watched(measure: Measure) -> Callable[[NetworkConfig, int, int, ComputeType], float]:
        def ask(
            config: NetworkConfig, batch_size: int, length: int, precision: ComputeType
        ) -> float:
            asked.append((config.hidden_size, batch_size, length))
            return measure(config, batch_size, length, precision)

        return ask

    options = TrainingOptions(hidden_size=72, batch_size=9, sequence_length=21)
    make_plan(options, SHAKESPEARE, CPU, watched(machine(LAPTOP)))
    assert set(asked) == {(72, 9, 21)}


def test_a_gru_computes_in_fp32() -> None:
    """However much faster bf16 is: its state is a sum over many characters."""
    for kind, expected in (("lstm", "bf16"), ("rnn", "bf16"), ("gru", "fp32")):
        config = NetworkConfig(65, cast("NetworkKind", kind))
        assert faster_precision(config, 32, 32, machine(LAPTOP, bf16=10)) == expected

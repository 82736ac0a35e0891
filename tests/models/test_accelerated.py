"""Steps in fp16, scaled, filled up and recorded are the steps of the plain way; faults end well."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.hooks import RemovableHandle

from bench.onednn import use_onednn
from models.arrays import Ids
from models.config import NetworkConfig
from models.options import Hyperparameters, NetworkKind, Optimizer
from models.text.corpus import Corpus
from models.text.vocab import Vocabulary
from models.training import trainer as trainer_module
from models.training.accelerated import (
    _WARM_STEPS,
    RECORDED,
    Compute,
    LossScale,
    Outcome,
    cuda_graph,
    precision_on,
    send,
    under,
)
from models.training.beginning import count_features, new_network, new_trainer
from models.training.device_table import DeviceFeatures
from models.training.kernels import CudaCard, Padding
from models.training.ngram_features import NGramFeatures
from models.training.ranks import Group
from models.training.steps import learning_rate
from models.training.trainer import Diverged, Evaluation, Progress, Trainer
from tests.toys import babble

CPU = torch.device("cpu")
VOCABULARY = Vocabulary("characters", sorted(map(ord, "\n .etaoinshrdlucmfwypvbgkqjxz")))
SMALL = NetworkConfig(29, "lstm", 2, 12, dropout=0.3)
OPTIONS = Hyperparameters(3, 8, max_steps=12, learning_rate=0.02, evaluate_every=4)
IDS = babble(6000)
CORPUS = Corpus(VOCABULARY, IDS[:5000], IDS[5000:])


@pytest.fixture(autouse=True)
def without_onednn() -> Iterator[None]:
    """Which has no layers in fp16; torch's own are slow, and good enough here."""
    use_onednn(False)
    yield
    use_onednn(True)


def again(step: Callable[[], Outcome]) -> Callable[[], Outcome]:
    """What a graph does, one by one: the same on the same tensors."""
    return step


PLAIN = Compute()
REPEATED = Compute(record=again)
HALF = Compute("fp16", Padding(4, 16, 8), is_scaled=True, record=again, check_every=100)


def trainer_of(
    compute: Compute, options: Hyperparameters = OPTIONS, config: NetworkConfig = SMALL
) -> Trainer:
    torch.manual_seed(3)
    features = count_features(CORPUS, options)
    return new_trainer(config, CORPUS, options, features=features, compute=compute)


def on_a_device(device: torch.device, features: NGramFeatures) -> Callable[[Ids], Tensor]:
    return DeviceFeatures(features, device).log_probabilities


def told(events: Iterator[Progress | Evaluation]) -> list[tuple[float, ...]]:
    return [
        (e.step, e.train_loss, e.learning_rate) if isinstance(e, Progress) else (e.step, e.val_loss)
        for e in events
    ]


@pytest.mark.parametrize("optimizer", ["adamw", "adam"])
@pytest.mark.parametrize("orders", [0, 3])
def test_recorded_steps_are_the_plain_ones_to_the_bit(
    optimizer: Optimizer, orders: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout, a carried state, texts that begin, a rate that changes, n-gram features.

    These are read on the device. Where a step is recorded, the rate is in fp32.
    """
    monkeypatch.setattr(
        trainer_module, "learning_rate", lambda *of: float(np.float32(learning_rate(*of)))
    )
    options = replace(OPTIONS, optimizer=optimizer, ngram_orders=orders, ngram_buckets=300)
    plain = trainer_of(PLAIN, options)
    expected = told(plain.run())
    monkeypatch.setattr(trainer_module, "expected_on", on_a_device)
    recorded = trainer_of(REPEATED, options)
    assert told(recorded.run()) == expected
    for name, weight in plain.network.state_dict().items():
        assert torch.equal(recorded.network.state_dict()[name], weight)
    assert recorded.steps.is_recorded
    assert not plain.steps.is_recorded


def test_a_step_is_recorded_once_for_each_shape() -> None:
    recorded = []

    def record(step: Callable[[], Outcome]) -> Callable[[], Outcome]:
        recorded.append(step)
        return step

    network = new_network(replace(SMALL, dropout=0.0), 0).train()
    steps = Compute(record=record).steps(network, OPTIONS)
    ids = torch.randint(29, (9, 3))
    for number in range(_WARM_STEPS):
        steps(ids[:-1], ids[1:], None)
        assert not recorded, number
    for _ in range(3):
        steps(ids[:-1], ids[1:], None)
    assert len(recorded) == 1
    for _ in range(_WARM_STEPS + 2):
        steps(ids[:4], ids[1:5], None)
    assert len(recorded) == 2


def test_where_recording_fails_training_goes_on_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also if it broke off in the middle of a step."""

    def fail(_step: Callable[[], Outcome]) -> Callable[[], Outcome]:
        before = [p.detach().clone() for p in trainer.network.parameters()]
        state = torch.get_rng_state()
        optimizer: Any = trainer.steps.optimizer
        optimizer.grad_scale = optimizer.found_inf = torch.ones(())
        assert trainer.steps.scale
        trainer.steps.scale.scale(torch.ones(()))
        for parameter, value in zip(trainer.network.parameters(), before, strict=True):
            parameter.grad = torch.full_like(parameter, math.nan)
            assert torch.equal(parameter, value)
        trainer.steps.scale.unscale_(optimizer)
        torch.set_rng_state(state)
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    expected = told(trainer_of(HALF).run())
    trainer = trainer_of(replace(HALF, record=fail))
    with caplog.at_level(logging.WARNING):
        assert told(trainer.run()) == expected
    assert [r for r in caplog.records if "cannot be recorded" in r.message] == caplog.records
    assert len(caplog.records) == 1
    assert not trainer.steps.is_recorded


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_fp16_learns_what_fp32_learns(kind: NetworkKind) -> None:
    options = replace(OPTIONS, batch_size=8, max_steps=150, evaluate_every=150)
    config = replace(SMALL, kind=kind, dropout=0.0)
    losses = [told(trainer_of(c, options, config).run())[-1][1] for c in (PLAIN, HALF)]
    assert losses[0] < 3
    assert losses[1] == pytest.approx(losses[0], abs=0.01)


@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop"])
def test_a_gradient_that_overflows_is_left_out(optimizer: Optimizer) -> None:
    """The scale is halved, nothing is updated, the step counts, and the next one learns again."""
    options = replace(OPTIONS, optimizer=optimizer)
    trainer = trainer_of(replace(HALF, record=None), options)
    run = trainer.run()
    for _ in range(3):
        next(run)
    scale = trainer.steps.scale
    assert scale
    overflow = make_overflow(trainer)
    factor, before = scale.get_scale(), weights_of(trainer)
    next(run)
    overflow.remove()
    assert trainer.step == 4
    assert (scale.get_scale(), int(scale.skipped)) == (factor / 2, 1)
    assert all(torch.equal(a, b) for a, b in zip(before, weights_of(trainer), strict=True))
    assert math.isfinite(float(trainer.smoothed))
    next(run)
    while trainer.step < 5:
        next(run)
    assert not any(torch.equal(a, b) for a, b in zip(before, weights_of(trainer), strict=True))
    assert int(scale.skipped) == 1


def make_overflow(trainer: Trainer) -> RemovableHandle:
    """From the next step on, until it is removed."""
    bias: Any = trainer.network.output.bias
    handle: RemovableHandle = bias.register_hook(lambda grad: grad * math.inf)
    return handle


def weights_of(trainer: Trainer) -> list[Tensor]:
    return [p.detach().clone() for p in trainer.network.parameters()]


def test_gradients_that_always_overflow_end_the_run() -> None:
    """As a loss that is no number does: the session goes back and halves the rate."""
    trainer = trainer_of(replace(HALF, check_every=10), replace(OPTIONS, max_steps=100))
    make_overflow(trainer)
    with pytest.raises(Diverged, match="did not fit into fp16 at step 20"):
        told(trainer.run())


def test_a_factor_grows_again() -> None:
    scale = LossScale(CPU)
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([weight], fused=True)
    for _ in range(2001):
        optimizer.zero_grad()
        scale.scale(weight.sum()).backward()  # type: ignore[no-untyped-call]
        scale.step(optimizer)
        scale.update()
    assert scale.get_scale() == 2.0**17
    assert not scale.is_exhausted()
    assert int(scale.skipped) == 0


@pytest.mark.parametrize("compute", [HALF, replace(HALF, record=None)])
def test_a_run_put_down_anywhere_goes_on_as_if_nothing_had_happened(compute: Compute) -> None:
    """To the bit, with the scale: on a CPU, which adds in the same order each time."""
    trainer = trainer_of(compute)
    assert trainer.steps.scale
    # Else the scale that a new trainer begins with would do.
    trainer.steps.scale.load_tensors({"factor": torch.tensor(1024.0)})
    whole, saved = [], []
    for event in trainer.run():
        whole += told(iter([event]))
        saved.append(trainer.state_dict())
    for put_down, (tensors, rest) in enumerate(saved, 1):
        assert tensors["scale.factor"] == 1024
        resumed = trainer_of(compute, replace(OPTIONS, seed=9))
        resumed.load_state_dict(tensors, rest)
        assert told(resumed.run()) == whole[put_down:]


@pytest.mark.parametrize(("first", "then"), [(HALF, PLAIN), (PLAIN, HALF)])
def test_a_job_moves_between_kinds_of_devices(first: Compute, then: Compute) -> None:
    """Its state is in fp32 and in the network's own shapes, whatever computed it."""
    config = replace(SMALL, dropout=0.0)
    trainer = trainer_of(first, OPTIONS, config)
    run = trainer.run()
    while trainer.step < 6:
        next(run)
    tensors, rest = trainer.state_dict()
    assert all(v.dtype != torch.float16 for v in tensors.values())
    resumed = trainer_of(then, replace(OPTIONS, seed=9), config)
    resumed.load_state_dict(tensors, rest)
    for name, value in under("network.", tensors).items():
        assert torch.equal(resumed.network.state_dict()[name], value)
    kept, _ = resumed.state_dict()
    for name, value in under("optimizer.", tensors).items():
        assert torch.equal(kept[f"optimizer.{name}"], value)
    undisturbed = [float(e[1]) for e in told(run)]
    moved = [float(e[1]) for e in told(resumed.run())]
    assert moved == pytest.approx(undisturbed[-len(moved) :], abs=0.02)


class Waiting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what would wait for a GPU: a number or a size that the processors want to know."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in ("_local_scalar_dense", "nonzero", "equal", "is_nonzero"):
            self.waits.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("orders", [0, 3])
def test_steps_do_not_wait_for_the_device(orders: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "expected_on", on_a_device)
    options = replace(OPTIONS, ngram_orders=orders, ngram_buckets=300)
    trainer = trainer_of(HALF, options)
    with Waiting() as watch:
        for _ in range(_WARM_STEPS + 5):
            trainer.train_step()
        assert not watch.waits
        float(trainer.smoothed)
        assert watch.waits


def test_all_of_a_step_and_of_an_evaluation_is_on_the_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Shown on one that has shapes only, where a tensor that stayed on the CPU is an error."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    device = torch.device("meta")
    options = replace(OPTIONS, ngram_orders=3, ngram_buckets=300, optimizer="rmsprop")

    def train() -> Trainer:
        features = count_features(CORPUS, options)
        compute = Compute(padding=Padding(4, 16, 8))
        trainer = new_trainer(SMALL, CORPUS, options, device, features, compute=compute)
        for _ in range(5):
            trainer.train_step()
        return trainer

    trainer = train()
    assert trainer.carried
    assert {part.device for part in (trainer.smoothed, *trainer.carried)} == {device}
    for parts in trainer.held_out._read(trainer.average, 30):
        assert {part.device for part in parts if part is not None} == {device}
    monkeypatch.setattr(trainer_module, "expected_on", lambda _, f: on_a_device(CPU, f))
    with pytest.raises(RuntimeError, match="device cpu"):
        train()


def test_a_cpu_computes_as_before() -> None:
    assert Compute.on(CPU, SMALL, OPTIONS) == Compute()
    bf16 = Compute.on(CPU, SMALL, replace(OPTIONS, precision="bf16"))
    assert bf16 == Compute("bf16")
    # A job that began on a GPU.
    assert Compute.on(CPU, SMALL, replace(OPTIONS, precision="fp16")) == Compute("fp32")


@pytest.mark.parametrize(
    ("changed", "kind", "ranks", "expected"),
    [
        ({"precision": "fp16"}, "lstm", 1, (Padding(), True, True)),
        ({"precision": "bf16"}, "lstm", 1, (Padding(), True, True)),
        ({"precision": "fp32"}, "lstm", 1, (None, False, True)),
        ({"precision": "fp16"}, "gru", 1, (None, True, True)),
        ({"precision": "fp16", "optimizer": "rmsprop"}, "lstm", 1, (Padding(), True, False)),
        ({"precision": "fp16"}, "lstm", 2, (None, True, False)),
    ],
    ids=str,
)
def test_a_gpu_computes_as_suits_it(
    changed: dict[str, Any],
    kind: NetworkKind,
    ranks: int,
    expected: tuple[Padding | None, bool, bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CudaCard, "of", lambda _: CudaCard(9, 0, 132))
    config = NetworkConfig(65, kind, 2, 512)
    group = Group()
    group.size = ranks
    options = replace(OPTIONS, batch_size=100, **changed)
    found = Compute.on(torch.device("cuda"), config, options, group)
    padding, is_scaled, is_recorded = expected
    assert (found.precision, found.padding) == (changed["precision"], padding)
    assert (found.is_scaled, found.record) == (is_scaled, cuda_graph if is_recorded else None)
    assert found.check_every == 100


def test_fp32_is_fp32() -> None:
    """And not TF32, which a GPU takes for it unless told."""
    cudnn: Any = torch.backends.cudnn
    cudnn.rnn.fp32_precision = "tf32"
    PLAIN.steps(new_network(SMALL, 0), OPTIONS)
    assert cudnn.rnn.fp32_precision == "ieee"


def test_large_networks_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CudaCard, "of", lambda _: CudaCard(9, 0, 132))
    config = NetworkConfig(65, "lstm", 3, 2048)
    assert config.parameters() > RECORDED
    assert Compute.on(torch.device("cuda"), config, OPTIONS).record is None


def test_a_precision_is_kept_where_the_device_has_it() -> None:
    gpu = torch.device("cuda")
    assert [precision_on(gpu, p) for p in ("fp32", "bf16", "fp16")] == ["fp32", "bf16", "fp16"]
    assert [precision_on(CPU, p) for p in ("fp32", "bf16", "fp16")] == ["fp32", "bf16", "fp32"]


def test_what_is_sent_is_what_arrives() -> None:
    values = np.arange(6).reshape(2, 3)
    assert np.array_equal(send(values, CPU).numpy(), values)

"""What only a GPU can show: it learns what a CPU learns, in fp16 too, without waiting.

``python -m bench.device`` runs these first.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from models.config import NetworkConfig
from models.options import Hyperparameters, NetworkKind
from models.text.corpus import Corpus
from models.text.vocab import Vocabulary
from models.training.accelerated import Compute, under
from models.training.beginning import count_features, new_trainer
from models.training.device_table import DeviceFeatures, DeviceTable
from models.training.kernels import CudaCard
from models.training.planning import auto_rate
from models.training.trainer import Evaluation, Progress, Trainer
from tests.toys import babble, toy_table, wordy

pytestmark = [
    pytest.mark.cuda,
    # Of torch, where graphs of autograd cross streams; nothing of ours can be done about it.
    pytest.mark.filterwarnings("default::UserWarning:torch"),
]

CPU, GPU = torch.device("cpu"), torch.device("cuda")
VOCABULARY = Vocabulary("characters", sorted(map(ord, "\n .etaoinshrdlucmfwypvbgkqjxz")))
IDS = babble(60_000)
CORPUS = Corpus(VOCABULARY, IDS[:54_000], IDS[54_000:])
NETWORK = NetworkConfig(29, "lstm", 2, 256)
"""Its rows, inputs and cells are filled up to 32, 128 and 256."""
OPTIONS = Hyperparameters(30, 32, max_steps=200, learning_rate=5e-3, evaluate_every=200)


def trainer_on(
    device: torch.device,
    options: Hyperparameters = OPTIONS,
    config: NetworkConfig = NETWORK,
    compute: Compute | None = None,
) -> Trainer:
    features = count_features(CORPUS, options)
    return new_trainer(config, CORPUS, options, device, features, compute=compute)


def computed(options: Hyperparameters, config: NetworkConfig = NETWORK) -> Compute:
    return Compute.on(GPU, config, options)


def losses(events: Iterator[Progress | Evaluation]) -> tuple[list[float], float]:
    """The smoothed loss after each hundredth step, and the last on the held-out text."""
    training, held_out = [], math.nan
    for event in events:
        if isinstance(event, Evaluation):
            held_out = event.val_loss
        elif event.step % 100 == 0:
            training.append(event.train_loss)
    return training, held_out


@pytest.mark.parametrize("orders", [0, 3])
def test_fp32_learns_what_a_cpu_learns(orders: int) -> None:
    """The same loss within 1e-4 after 200 steps."""
    options = replace(OPTIONS, ngram_orders=orders, ngram_buckets=800)
    config = replace(NETWORK, hidden_size=128)
    there, here = (trainer_on(d, options, config) for d in (GPU, CPU))
    (trained, judged), (expected, expected_judged) = losses(there.run()), losses(here.run())
    assert trained == pytest.approx(expected, abs=1e-4)
    assert judged == pytest.approx(expected_judged, abs=1e-4)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_fp16_learns_what_fp32_learns(kind: NetworkKind) -> None:
    """The same loss within 0.01 after 2,000 steps, in the padded and recorded way of training."""
    config = replace(NETWORK, kind=kind)
    rate = auto_rate(config, 30 * 32) / 2
    options = replace(OPTIONS, max_steps=2000, evaluate_every=2000, learning_rate=rate)
    half = replace(options, precision="fp16")
    assert computed(half).record and computed(half).is_scaled
    (trained, judged), (expected, expected_judged) = (
        losses(trainer_on(GPU, o, config).run()) for o in (half, options)
    )
    assert trained[-1] == pytest.approx(expected[-1], abs=0.01)
    assert judged == pytest.approx(expected_judged, abs=0.01)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_steps_are_recorded_and_are_what_they_are_without(
    kind: NetworkKind, precision: str
) -> None:
    options = replace(OPTIONS, max_steps=100, precision=precision)  # type: ignore[arg-type]
    config = replace(NETWORK, kind=kind)
    ways = computed(options, config), replace(computed(options, config), record=None)
    trainers = [trainer_on(GPU, options, config, way) for way in ways]
    (recorded, _), (plain, _) = (losses(trainer.run()) for trainer in trainers)
    assert trainers[0].steps.is_recorded
    assert recorded == pytest.approx(plain, abs=0.01)


def test_a_record_draws_another_mask_each_time() -> None:
    """Dropout, in a graph: with one mask for ever the losses of a batch would be equal."""
    config = replace(NETWORK, dropout=0.5)
    trainer = trainer_on(GPU, replace(OPTIONS, precision="fp16"), config)
    for _ in range(10):
        trainer.train_step()
    assert trainer.steps.is_recorded
    trainer.steps.set_rate(0.0)
    ids = torch.randint(29, (33, 30), device=GPU)
    seen = {float(trainer.steps(ids[:-1], ids[1:], None)[0]) for _ in range(8)}
    assert len(seen) == 8


@pytest.mark.parametrize("orders", [0, 3])
def test_steps_do_not_wait_for_the_gpu(orders: int) -> None:
    options = replace(OPTIONS, precision="fp16", ngram_orders=orders, ngram_buckets=800)
    trainer = trainer_on(GPU, options)
    for _ in range(10):
        trainer.train_step()
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(50):
            trainer.train_step()
    finally:
        torch.cuda.set_sync_debug_mode(before)


def test_what_is_filled_up_gets_the_fastest_kernel() -> None:
    card = CudaCard.of(GPU)
    assert card
    if not card.keeps_weights("lstm", 256, 32):
        pytest.skip(f"not on this card: {card}")
    options = replace(OPTIONS, precision="fp16")
    trainer = trainer_on(GPU, options, compute=replace(computed(options), record=None))
    trainer.train_step()
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        trainer.train_step()
        torch.cuda.synchronize()
    names = {event.key for event in seen.key_averages()}
    assert [name for name in names if "persist" in name.lower()], sorted(names)


def until(trainer: Trainer, step: int) -> Iterator[Progress | Evaluation]:
    return itertools.takewhile(lambda _: trainer.step < step, trainer.run())


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("devices", [(GPU, GPU), (GPU, CPU), (CPU, GPU)])
def test_a_job_moves_between_devices(
    devices: tuple[torch.device, torch.device], precision: str
) -> None:
    """What is taken up is what was put down, to the bit; from there it goes on alike."""
    options = replace(OPTIONS, max_steps=100, precision=precision)  # type: ignore[arg-type]
    first, then = devices
    trainer = trainer_on(first, options)
    list(until(trainer, 50))
    tensors, rest = trainer.state_dict()
    resumed = trainer_on(then, replace(options, seed=9))
    resumed.load_state_dict(tensors, rest)
    kept, _ = resumed.state_dict()
    for prefix in ("network.", "average.", "optimizer.", "carried."):
        for name, value in under(prefix, tensors).items():
            assert torch.equal(kept[prefix + name], value), prefix + name
    if first == then == GPU and precision == "fp16":
        assert torch.equal(kept["scale.factor"], tensors["scale.factor"])
    _, undisturbed = losses(trainer.run())
    _, moved = losses(resumed.run())
    assert moved == pytest.approx(undisturbed, abs=0.02)


def test_a_table_on_the_gpu_says_what_numpy_says() -> None:
    table = toy_table(29, 8)
    found = table.find(table.hashes(wordy(29, 600, seed=5).reshape(3, 200).T))
    there: Tensor = DeviceTable(table, GPU).log_probabilities(found)
    assert np.array_equal(there.cpu().numpy(), table.log_probabilities(found))
    options = replace(OPTIONS, ngram_orders=5, ngram_buckets=800)
    features = count_features(CORPUS, options)
    assert features
    positions = np.arange(400).reshape(2, 200).T
    found_there = DeviceFeatures(features, GPU).log_probabilities(positions)
    assert np.array_equal(found_there.cpu().numpy(), features.log_probabilities(positions))


def test_what_does_not_fit_into_memory_says_so() -> None:
    """And leaves the GPU to the next job."""
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(1 << 50, dtype=torch.uint8, device=GPU)
    trainer_on(GPU).train_step()

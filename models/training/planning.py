"""Decides, before step 1, what to train and how: from options, preset, text and device.

``auto`` measures this device for a moment and picks the network that will be best when the time
is up: as large as can still see enough characters. Knows nothing of jobs or files.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from models import sizing
from models.config import NetworkConfig
from models.options import MAX_STEPS, ComputeType, Hyperparameters, TrainingOptions
from models.presets import with_preset
from models.text.corpus import Scan
from models.training.accelerated import Compute, precision_on
from models.training.network import CharNetwork
from models.training.trainer import VALIDATION_LIMIT

PROBE = 256
"""Cells a layer of the network whose speed is measured where the options name none."""

_ASKED = (
    "optimizer",
    "schedule",
    "grad_clip",
    "clip",
    "weight_decay",
    "ema_decay",
    "initialisation",
    "seed",
)
"""Hyperparameters that are as asked, or have one default."""

FEW_PASSES = 12.0
"""Passes over a text, by the default batch, below which a fuller one may be better."""

_FASTER = 1.2
"""How many times as fast a fuller batch must be read: it was better where it was 1.3 times as fast
or more (docs/log.md)."""

_FULLER_RATE = 1.4
"""Factor of the rate with twice the rows: nearly the root (Krizhevsky 2014), and measured."""

MAX_SHUFFLED_CHARACTERS = 1 << 24
"""Characters of a list whose lines are put in another order in each pass: ten bytes for each."""


class TooLarge(ValueError):
    """The network does not fit into memory; the message says how much it needs."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Every value of a run, decided.

    ``notices`` say in words what was chosen or changed and why; each has a ``code`` and a
    ``text``. ``chars_per_second`` is what this device was measured to train, None if it was not.
    """

    config: NetworkConfig
    training: Hyperparameters
    validation_fraction: float
    notices: list[dict[str, str]] = field(default_factory=list)
    chars_per_second: float | None = None

    @property
    def resolved(self) -> dict[str, Any]:
        """The options as a job shows them."""
        config = asdict(self.config)
        config["network"] = config.pop("kind")
        # What styles there are stands in the option that asks for them.
        for name in ("vocabulary_size", "ngram_buckets", "ngram_long_buckets", "styles"):
            del config[name]
        return config | asdict(self.training) | {"validation_fraction": self.validation_fraction}

    def to_json(self) -> dict[str, Any]:
        """As ``from_json`` takes it; without an n-gram table as earlier releases do, too."""
        data = asdict(self)
        data["config"] = self.config.to_json()
        if not self.training.ngram_orders:
            for name in ("ngram_orders", "ngram_buckets", "ngram_characters"):
                del data["training"][name]
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Plan":
        return cls(
            NetworkConfig(**data["config"]),
            Hyperparameters(**data["training"]),
            data["validation_fraction"],
            data["notices"],
            data.get("chars_per_second"),
        )


Measure = Callable[[NetworkConfig, int, int, ComputeType], float]
"""Seconds that a training step takes: config, batch size, sequence length, precision."""


def make_plan(
    options: TrainingOptions,
    scan: Scan,
    device: torch.device,
    measure: Measure | None = None,
    memory: int | None = None,
    main_memory: int | None = None,
    ranks: int = 1,
) -> Plan:
    """Decides what ``options`` leave open.

    Args:
        options: as asked for; what is None is decided here.
        scan: of the corpus.
        device: that will train.
        measure: how long a step takes; measured on the device if not given.
        memory: bytes that training may take; unlimited if not given.
        main_memory: bytes that counting may take, which no GPU does; unlimited if not given.
        ranks: processes that train together, each on its part of a batch.

    Raises:
        TooLarge: training would take more.
    """
    measure = measure or step_timer(device, ranks)
    return _Planner(options, scan, device, measure, memory, main_memory).plan()


_OF_A_LIST = 0.35
"""Passes over a text that weigh as much as one over a list, of whose lines, in another order each
time, a network learns less by heart."""


class _Planner:
    def __init__(
        self,
        options: TrainingOptions,
        scan: Scan,
        device: torch.device,
        measure: Measure,
        memory: int | None,
        main_memory: int | None,
    ) -> None:
        self.options = with_preset(options)
        self.vocabulary_size = len(scan.vocabulary)
        self.characters = sizing.training_characters(self.options, scan.report.characters)
        self.held_out = scan.report.characters - self.characters
        self.is_list = (
            scan.report.preset == "names" and scan.report.characters <= MAX_SHUFFLED_CHARACTERS
        )
        self.device = device
        self.measure = measure
        self.memory = memory
        self.main_memory = main_memory
        self.notices: list[dict[str, str]] = []
        self.batch_size, self.sequence_length = self._batch()
        self.is_fuller = False

    def plan(self) -> Plan:
        self._check_memory(self._probe())
        precision = self._precision(self.batch_size, self.sequence_length)
        self._fill_batch(precision)
        batch_size, sequence_length = self.batch_size, self.sequence_length
        per_step = batch_size * sequence_length
        config = self._config(batch_size, sequence_length, precision)
        self._check_memory(config)
        seconds = self.measure(config, batch_size, sequence_length, precision)
        steps = self._steps(seconds, per_step)
        epochs = min(steps, self._affordable_steps(seconds)) * per_step / self.characters
        if self.options.dropout is None:
            config = replace(config, dropout=self._dropout(config, epochs))
        training = Hyperparameters(
            batch_size=batch_size,
            sequence_length=sequence_length,
            max_steps=steps,
            max_seconds=self._max_seconds(),
            precision=precision,
            shuffle_lines=self.is_list,
            **sizing.ngram_table(
                self.options,
                self.vocabulary_size,
                self.characters,
                self._memory_to_count_in(config),
                is_list=self.is_list,
            ),
            **self._asked(),
        )
        training = replace(training, **self._decided(config, training, seconds))
        self._say(
            "plan",
            f"{config.num_layers}×{config.hidden_size} {config.kind.upper()}, "
            f"{config.parameters():,} parameters, dropout {config.dropout:g}, "
            f"{_counted_in_words(training)}"
            f"batches of {batch_size}×{sequence_length}, about {per_step / seconds:,.0f} "
            f"characters a second here in {precision}: about {epochs:.1f} passes over the text",
        )
        fraction = self.options.validation_fraction
        return Plan(config, training, fraction, self.notices, per_step / seconds)

    def _say(self, code: str, text: str) -> None:
        self.notices.append({"code": code, "text": text})

    def _asked(self) -> dict[str, Any]:
        """Hyperparameters that the options name; the rest keep their defaults."""
        values = {name: getattr(self.options, name) for name in _ASKED}
        return {name: value for name, value in values.items() if value is not None}

    def _decided(
        self, config: NetworkConfig, training: Hyperparameters, seconds: float
    ) -> dict[str, Any]:
        """Hyperparameters that depend on the network, the text and the time."""
        asked, per_step = self.options, training.batch_size * training.sequence_length
        patience = asked.patience
        if patience is None:
            patience = 8 if asked.is_untimed else 0
        rate = auto_rate(config, per_step) * (_FULLER_RATE if self.is_fuller else 1)
        return {
            "learning_rate": asked.learning_rate or rate,
            "evaluate_every": asked.evaluate_every
            or self._evaluate_every(training.max_steps, seconds, per_step),
            "patience": patience,
        }

    def _check_memory(self, config: NetworkConfig) -> None:
        if self.memory is not None:
            refusal = sizing.memory_refusal(
                config, self.batch_size, self.sequence_length, self.memory
            )
            if refusal:
                raise TooLarge(f"The network {refusal}.")

    def _memory_to_count_in(self, config: NetworkConfig) -> int | None:
        """Main memory that a network leaves, which may be trained meanwhile."""
        if self.main_memory is None or self.device.type == "cuda":
            return self.main_memory
        needed = sizing.training_bytes(config, self.batch_size, self.sequence_length)
        return self.main_memory - (needed - sizing.PROCESS_BYTES)

    def _batch(self) -> tuple[int, int]:
        default, multiple = usual_batch(self.device)
        batch_size, length = sizing.batch(self.options, self.characters, default, multiple)
        asked = sizing.asked_batch(self.options, default)
        if asked != (batch_size, length):
            self._say(
                "small-corpus",
                f"the text has {self.characters:,} characters to train on: batches of "
                f"{asked[0]}×{asked[1]} became {batch_size}×{length}",
            )
        return batch_size, length

    def _fill_batch(self, precision: ComputeType) -> None:
        """Takes a fuller batch if only time ends the run, and it reads the text a few times."""
        asked, default = self.options, (self.batch_size, self.sequence_length)
        bounds = asked.batch_size, asked.sequence_length, asked.max_steps, asked.max_epochs
        if any(bounds) or asked.network not in (None, "lstm") or default != sizing.DEFAULT_BATCH:
            return
        probe, fuller = self._probe(), sizing.FULLER_BATCH
        if sizing.batch(asked, self.characters, fuller) != fuller:
            return
        if self.memory is not None and sizing.memory_refusal(probe, *fuller, self.memory):
            return
        speed = _per_step(default) / self.measure(probe, *default, precision)
        characters, work = self.characters + self.held_out, speed * probe.parameters()
        _, passes = sizing.outlook(asked, self.vocabulary_size, characters, work)
        if passes > FEW_PASSES:
            return
        if _per_step(fuller) / self.measure(probe, *fuller, precision) >= _FASTER * speed:
            self.batch_size, self.sequence_length = fuller
            self.is_fuller = True

    def _precision(self, batch_size: int, length: int) -> ComputeType:
        asked = self.options.precision
        if asked is None:
            half = half_on(self.device)
            return faster_precision(self._probe(), batch_size, length, self.measure, half)
        possible = precision_on(self.device, asked)
        if possible != asked:
            self._say("precision", f"{asked} is for GPUs: this job is trained in {possible}")
        return possible

    def _probe(self) -> NetworkConfig:
        """The network that is measured: of the size asked for, else of one that stands for all."""
        return sizing.network(self.options, self.vocabulary_size, self.options.hidden_size or PROBE)

    def _config(self, batch_size: int, length: int, precision: ComputeType) -> NetworkConfig:
        """The largest size that reads enough characters in the time there is."""
        probe = self._probe()
        speed = batch_size * length / self.measure(probe, batch_size, length, precision)
        return sizing.largest_network(
            self.options,
            self.vocabulary_size,
            self.characters,
            batch_size * length,
            speed * probe.parameters(),
        )

    def _max_seconds(self) -> float | None:
        asked = self.options
        return sizing.time_budget(asked) if asked.is_untimed else asked.max_seconds

    def _affordable_steps(self, seconds: float) -> float:
        limit = self._max_seconds()
        return math.inf if limit is None else limit / seconds

    def _steps(self, seconds: float, per_step: int) -> int:
        """The total of steps; time may end the run before, and then the schedule follows time."""
        asked: list[float] = []
        if self.options.max_steps is not None:
            asked.append(self.options.max_steps)
        if self.options.max_epochs is not None:
            asked.append(self.options.max_epochs * self.characters / per_step)
        if asked and min(asked) > MAX_STEPS:
            self._say("steps", f"more than {MAX_STEPS:,} steps asked for: that many it will be")
        if not asked:
            if self.options.max_seconds is None:
                asked.append(sizing.MAX_AUTO_EPOCHS * self.characters / per_step)
            # A measurement of a moment may be wrong by a quarter; time is what ends the run.
            asked.append(1.25 * self._affordable_steps(seconds))
        return max(1, math.ceil(min(*asked, MAX_STEPS)))

    def _evaluate_every(self, steps: int, seconds: float, per_step: int) -> int:
        """About forty evaluations, none sooner than 5 s after the one before.

        Nor may they take more than a twentieth of the time. To read without learning is a third
        of the work of learning, and half as fast in fp32.
        """
        total = min(steps, self._affordable_steps(seconds))
        read_steps = min(self.held_out, VALIDATION_LIMIT) / per_step * 2 / 3
        return max(1, min(int(max(total / 40, 5 / seconds, 20 * read_steps)), steps // 4))

    def _dropout(self, config: NetworkConfig, epochs: float) -> float:
        """More for a large network that sees a small text often.

        Measured at 2×256 on tinyshakespeare, and on lists of names: docs/log.md.
        """
        pressure = epochs * min(1.0, config.parameters() / self.characters)
        if self.is_list:
            pressure *= _OF_A_LIST
        for limit, dropout in ((1.5, 0.0), (4, 0.1), (12, 0.2), (25, 0.3), (50, 0.4)):
            if pressure <= limit:
                return dropout
        return 0.5


def _per_step(shape: tuple[int, int]) -> int:
    rows, length = shape
    return rows * length


def usual_batch(device: torch.device) -> tuple[tuple[int, int], int]:
    """Returns the default batch on a device, and what a smaller batch size is a multiple of."""
    if device.type == "cuda":
        return sizing.WIDE_BATCH, sizing.WIDE_MULTIPLE
    return sizing.DEFAULT_BATCH, 1


def _counted_in_words(training: Hyperparameters) -> str:
    orders = training.ngram_orders
    return f"contexts of up to {orders} characters counted beside it, " if orders else ""


def auto_rate(config: NetworkConfig, per_step: int) -> float:
    """The learning rate of AdamW: the narrower the network and the fuller the batch, the larger.

    Measured at 128 and 256 cells, of each kind, and at 1024 and 2048 characters a step, which take
    the same (docs/log.md).
    """
    fullness = min(1.0, math.sqrt(per_step / 1024))
    kind = {"lstm": 1.0, "gru": 0.5, "rnn": 0.35}[config.kind]
    return min(0.03, 2.816 / config.hidden_size) * fullness * kind


def half_on(device: torch.device) -> ComputeType:
    """The 16 bits that a device is fast with: a GPU's fastest kernels take fp16 only."""
    return "fp16" if device.type == "cuda" else "bf16"


def faster_precision(
    config: NetworkConfig,
    batch_size: int,
    sequence_length: int,
    measure: Measure,
    half: ComputeType = "bf16",
) -> ComputeType:
    """16 bits where this device is faster with them: measured, not looked up.

    Not bf16 for a GRU, whose state would be rounded at each character and is a sum over many: the
    validation loss, in fp32, was 6.9 where the training loss, in bf16, was 1.6. fp16, which has
    three more bits, ends at the loss of fp32 (docs/log.md).
    """
    if config.kind == "gru" and half == "bf16":
        return "fp32"
    short, full = (measure(config, batch_size, sequence_length, p) for p in (half, "fp32"))
    return half if short < 0.9 * full else "fp32"


def step_timer(device: torch.device, ranks: int = 1) -> Measure:
    """A ``Measure`` that runs a few real steps, and remembers what it measured.

    Of several ranks one measures its part of a batch, without what they exchange.
    """
    known: dict[tuple[NetworkConfig, int, int, ComputeType], float] = {}

    def measure(
        config: NetworkConfig, batch_size: int, length: int, precision: ComputeType
    ) -> float:
        key = (replace(config, dropout=0.0), batch_size, length, precision)
        if key not in known:
            own_rows = math.ceil(batch_size / ranks)
            known[key] = _time_step(config, own_rows, length, precision, device)
        return known[key]

    return measure


def _time_step(
    config: NetworkConfig,
    batch_size: int,
    length: int,
    precision: ComputeType,
    device: torch.device,
    budget: float = 0.6,
) -> float:
    """Seconds of the fastest of a few steps: others on the machine only ever slow one down."""
    network = CharNetwork(config).to(device).train()
    options = Hyperparameters(batch_size, length, max_steps=1, precision=precision)
    compute = Compute.on(device, config, options)
    steps = compute.steps(network, options)
    ids = torch.randint(config.vocabulary_size, (length, batch_size), device=device)
    best = math.inf
    for _ in range(compute.warm_steps):
        steps(ids, ids, None)
    began = time.monotonic()
    for _ in range(20):
        start = time.monotonic()
        loss, _state = steps(ids, ids, None)
        float(loss)
        best = min(best, time.monotonic() - start)
        if time.monotonic() - began > budget and best < math.inf:
            break
    return best

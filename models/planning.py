"""What to train and how, decided before step 1: presets, and ``auto``.

``auto`` measures this device for a moment and picks the network that will be best when the time
is up: as large as can still see enough characters. Knows nothing of jobs or files.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, get_args

import torch

from models.config import NetworkConfig
from models.corpus import Scan
from models.network import CharNetwork
from models.training import (
    VALIDATION_LIMIT,
    Optimizer,
    Precision,
    Schedule,
    TrainingOptions,
    make_optimizer,
    train_batch,
)

PRESETS: dict[str, dict[str, Any]] = {
    "auto": {},
    # train.lua of char-rnn; it clips each gradient's elements, here the norm is clipped.
    "char-rnn": {
        "network": "lstm",
        "num_layers": 2,
        "hidden_size": 128,
        "embedding_size": 0,
        "dropout": 0.0,
        "batch_size": 50,
        "sequence_length": 50,
        "optimizer": "rmsprop",
        "learning_rate": 2e-3,
        "schedule": "char-rnn",
        "grad_clip": 5.0,
        "weight_decay": 0.0,
        "max_epochs": 50,
        "evaluate_every": 1000,
        "patience": 0,
    },
}

HIDDEN_SIZES = (64, 96, 128, 192, 256, 384, 512, 768, 1024)

DEFAULT_SECONDS = 1800.0
"""Time that ``auto`` plans with where nobody says how long."""

MAX_AUTO_EPOCHS = 60.0
"""Passes over the text beyond which ``auto`` does not go: early stopping ends it before."""

CHARACTERS_PER_PARAMETER = 6.0
"""Characters that a network should read for each of its parameters.

At 180 s on tinyshakespeare, the largest size that gets there ended best (docs/log.md).
"""

PARAMETERS_PER_CHARACTER = 3.5
"""Parameters that a text can feed at most, as in the essay: 3.5 M for 1 MB, with dropout."""

EMBEDDING_FROM = 1000
"""Vocabulary size from which ``auto`` embeds: 1-of-k input costs time for each symbol."""

MAX_STEPS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """Every value of a run, decided.

    ``notices`` say in words what was chosen or changed and why; each has a ``code`` and a
    ``text``.
    """

    config: NetworkConfig
    training: TrainingOptions
    validation_fraction: float
    notices: list[dict[str, str]] = field(default_factory=list)

    @property
    def resolved(self) -> dict[str, Any]:
        """The options as a job shows them."""
        config = asdict(self.config)
        config["network"] = config.pop("kind")
        del config["vocabulary_size"]
        return config | asdict(self.training) | {"validation_fraction": self.validation_fraction}

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Plan":
        return cls(
            NetworkConfig(**data["config"]),
            TrainingOptions(**data["training"]),
            data["validation_fraction"],
            data["notices"],
        )


Measure = Callable[[NetworkConfig, int, int, Precision], float]
"""Seconds that a training step takes: config, batch size, sequence length, precision."""


def make_plan(
    options: dict[str, Any],
    scan: Scan,
    device: torch.device,
    measure: Measure | None = None,
) -> Plan:
    """Decides what ``options`` leave open.

    Args:
        options: of ``POST /train``, checked; what is absent is decided here.
        scan: of the corpus.
        device: that will train.
        measure: how long a step takes; measured on the device if not given.
    """
    return _Planner(options, scan, device, measure or step_timer(device)).plan()


class _Planner:
    def __init__(
        self, options: dict[str, Any], scan: Scan, device: torch.device, measure: Measure
    ) -> None:
        preset = options.get("preset") or "auto"
        given = {k: v for k, v in options.items() if v is not None}
        self.options = PRESETS[preset] | given
        self.vocabulary_size = len(scan.vocabulary)
        self.fraction: float = self.options.get("validation_fraction", 0.05)
        self.characters = max(2, round(scan.report.characters * (1 - self.fraction)))
        self.held_out = scan.report.characters - self.characters
        self.device = device
        self.measure = measure
        self.notices: list[dict[str, str]] = []
        self.batch_size, self.sequence_length = self._batch()

    def plan(self) -> Plan:
        batch_size, sequence_length = self.batch_size, self.sequence_length
        precision = self._precision(batch_size, sequence_length)
        config = self._config(batch_size, sequence_length, precision)
        seconds = self.measure(config, batch_size, sequence_length, precision)
        per_step = batch_size * sequence_length
        steps = self._steps(seconds, per_step)
        epochs = min(steps, self._affordable_steps(seconds)) * per_step / self.characters
        if "dropout" not in self.options:
            config = replace(config, dropout=self._dropout(config, epochs))
        rate = self.options.get("learning_rate") or min(0.02, 2.048 / config.hidden_size)
        training = TrainingOptions(
            batch_size=batch_size,
            sequence_length=sequence_length,
            max_steps=steps,
            max_seconds=self._max_seconds(),
            optimizer=self._one_of("optimizer", Optimizer, "adamw"),
            learning_rate=rate,
            schedule=self._one_of("schedule", Schedule, "cosine"),
            grad_clip=self.options.get("grad_clip", 5.0),
            weight_decay=self.options.get("weight_decay", 0.01),
            evaluate_every=self.options.get("evaluate_every")
            or self._evaluate_every(steps, seconds, per_step),
            patience=self.options.get("patience", 8 if self._untimed() else 0),
            seed=self.options.get("seed", 0),
            precision=precision,
        )
        self._say(
            "plan",
            f"{config.num_layers}×{config.hidden_size} {config.kind.upper()}, "
            f"{config.parameters():,} parameters, dropout {config.dropout:g}, "
            f"batches of {batch_size}×{sequence_length}, about {per_step / seconds:,.0f} "
            f"characters a second here in {precision}: about {epochs:.1f} passes over the text",
        )
        return Plan(config, training, self.fraction, self.notices)

    def _say(self, code: str, text: str) -> None:
        self.notices.append({"code": code, "text": text})

    def _one_of(self, name: str, kind: Any, default: str) -> Any:
        value = self.options.get(name, default)
        if value not in get_args(kind):
            raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}")
        return value

    def _batch(self) -> tuple[int, int]:
        """Batch size and sequence length, shrunk so that a small text still fills a batch."""
        wide = self.device.type == "cuda"
        batch_size: int = self.options.get("batch_size", 64 if wide else 32)
        length: int = self.options.get("sequence_length", 128 if wide else 64)
        if batch_size * length <= self.characters // 2:
            return batch_size, length
        small_length = max(2, min(length, self.characters // 8))
        small_batch = max(1, min(batch_size, self.characters // (2 * small_length)))
        if "batch_size" in self.options or "sequence_length" in self.options:
            self._say(
                "small-corpus",
                f"the text has {self.characters:,} characters to train on: batches of "
                f"{batch_size}×{length} became {small_batch}×{small_length}",
            )
        return small_batch, small_length

    def _precision(self, batch_size: int, length: int) -> Precision:
        """bf16 where this device is faster with it: measured, not looked up."""
        probe = self._sized(self.options.get("hidden_size", 256))
        full = self.measure(probe, batch_size, length, "fp32")
        half = self.measure(probe, batch_size, length, "bf16")
        return "bf16" if half < 0.9 * full else "fp32"

    def _sized(self, hidden_size: int) -> NetworkConfig:
        embed = min(256, hidden_size) if self.vocabulary_size >= EMBEDDING_FROM else 0
        return NetworkConfig(
            vocabulary_size=self.vocabulary_size,
            kind=self.options.get("network", "lstm"),
            num_layers=self.options.get("num_layers", 2),
            hidden_size=hidden_size,
            embedding_size=self.options.get("embedding_size", embed),
            dropout=self.options.get("dropout", 0.0),
        )

    def _config(self, batch_size: int, length: int, precision: Precision) -> NetworkConfig:
        """The largest size that reads enough characters in the time there is."""
        if "hidden_size" in self.options:
            return self._sized(self.options["hidden_size"])
        probe = self._sized(256)
        # Time grows with the multiplications, which are one a parameter.
        speed = batch_size * length / self.measure(probe, batch_size, length, precision)
        work = speed * probe.parameters()
        best = self._sized(HIDDEN_SIZES[0])
        for hidden_size in HIDDEN_SIZES[1:]:
            config = self._sized(hidden_size)
            parameters = config.parameters()
            read = min(self._budget() * work / parameters, self._asked_characters())
            if parameters > PARAMETERS_PER_CHARACTER * self.characters:
                break
            if read < CHARACTERS_PER_PARAMETER * parameters:
                break
            best = config
        return best

    def _untimed(self) -> bool:
        return not any(k in self.options for k in ("max_seconds", "max_steps", "max_epochs"))

    def _budget(self) -> float:
        seconds: float = self.options.get("max_seconds", DEFAULT_SECONDS)
        return seconds

    def _max_seconds(self) -> float | None:
        return self._budget() if self._untimed() else self.options.get("max_seconds")

    def _asked_characters(self) -> float:
        """Characters after which the options end the run, time aside."""
        asked = self.options.get("max_epochs", MAX_AUTO_EPOCHS) * self.characters
        if "max_steps" in self.options:
            per_step = self.batch_size * self.sequence_length
            asked = min(asked, self.options["max_steps"] * per_step)
        return float(asked)

    def _affordable_steps(self, seconds: float) -> float:
        limit = self._max_seconds()
        return math.inf if limit is None else limit / seconds

    def _steps(self, seconds: float, per_step: int) -> int:
        """The total of steps; time may end the run before, and then the schedule follows time."""
        asked: list[float] = []
        if "max_steps" in self.options:
            asked.append(self.options["max_steps"])
        if "max_epochs" in self.options:
            asked.append(self.options["max_epochs"] * self.characters / per_step)
        if asked and min(asked) > MAX_STEPS:
            self._say("steps", f"more than {MAX_STEPS:,} steps asked for: that many it will be")
        if not asked:
            if "max_seconds" not in self.options:
                asked.append(MAX_AUTO_EPOCHS * self.characters / per_step)
            # A measurement of a moment may be wrong by a quarter; time is what ends the run.
            asked.append(1.25 * self._affordable_steps(seconds))
        return max(1, math.ceil(min(*asked, MAX_STEPS)))

    def _evaluate_every(self, steps: int, seconds: float, per_step: int) -> int:
        """About forty evaluations, none sooner than 5 s after the one before.

        Nor may they take more than a twentieth of the time. To read without learning is a third
        of the work of learning.
        """
        total = min(steps, self._affordable_steps(seconds))
        read_steps = min(self.held_out, VALIDATION_LIMIT) / per_step / 3
        return max(1, min(int(max(total / 40, 5 / seconds, 20 * read_steps)), steps // 4))

    def _dropout(self, config: NetworkConfig, epochs: float) -> float:
        """More for a large network that sees a small text often.

        Measured at 2×256 on tinyshakespeare: docs/log.md.
        """
        pressure = epochs * min(1.0, config.parameters() / self.characters)
        for limit, dropout in ((1.5, 0.0), (8, 0.1), (15, 0.2), (25, 0.3), (50, 0.4)):
            if pressure <= limit:
                return dropout
        return 0.5


def step_timer(device: torch.device) -> Measure:
    """A ``Measure`` that runs a few real steps, and remembers what it measured."""
    known: dict[tuple[NetworkConfig, int, int, Precision], float] = {}

    def measure(config: NetworkConfig, batch_size: int, length: int, precision: Precision) -> float:
        key = (replace(config, dropout=0.0), batch_size, length, precision)
        if key not in known:
            known[key] = _time_step(config, batch_size, length, precision, device)
        return known[key]

    return measure


def _time_step(
    config: NetworkConfig,
    batch_size: int,
    length: int,
    precision: Precision,
    device: torch.device,
    budget: float = 0.6,
) -> float:
    """Seconds of the fastest of a few steps: others on the machine only ever slow one down."""
    network = CharNetwork(config).to(device).train()
    options = TrainingOptions(batch_size, length, max_steps=1, precision=precision)
    optimizer = make_optimizer(network, options)
    ids = torch.randint(config.vocabulary_size, (length, batch_size), device=device)
    best = math.inf
    began = time.monotonic()
    for _ in range(20):
        start = time.monotonic()
        loss, _state = train_batch(network, optimizer, ids, ids, None, options)
        float(loss)
        best = min(best, time.monotonic() - start)
        if time.monotonic() - began > budget and best < math.inf:
            break
    return best

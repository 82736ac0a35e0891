"""The options of a training, as asked for and as decided, with their defaults and bounds.

The HTTP schema, the terminal's options, the presets, the planner and the sizes are all made from
these. Knows neither torch nor numpy, so the server and the terminal read it too, and no job.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import UnionType
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from models.styles import TextPart, parse_parts

NetworkKind = Literal["lstm", "gru", "rnn"]
PresetName = Literal[
    "auto",
    "char-rnn",
    "paul-graham",
    "shakespeare",
    "wikipedia",
    "latex",
    "linux",
    "names",
    "warpeace",
]
Optimizer = Literal["adamw", "adam", "rmsprop"]
Schedule = Literal["cosine", "char-rnn", "constant"]
Clip = Literal["norm", "elements"]
Initialisation = Literal["normal", "uniform"]
ComputeType = Literal["fp32", "bf16", "fp16"]

_MAX_NUMBER = 1e100
MAX_STEPS = 1_000_000_000
MAX_SAMPLE_STEPS = 1000
MAX_SNAPSHOTS = 100
MAX_NGRAM_ORDERS = 16
MAX_BUCKETS = 1 << 22

EACH_FILE = "true"
"""In place of the parts of a text: each file that it is made of is one."""

MAX_PARTS_TEXT = 1 << 14
"""Most characters that say which parts a text has."""

MAX_DEVICES = 64

MAX_COUNTED = 1 << 24
"""Most characters that are counted for the n-gram features."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """From ``at_least``, or above ``above``, up to ``at_most``; of a text, its characters."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None


def _option(default: Any, help_text: str, **bounds: float) -> Any:
    return field(default=default, metadata={"help": help_text, "bounds": Bounds(**bounds)})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """How to train, as asked for. What is None is decided by the preset, the text and the device.

    The metadata of a field has its ``help`` and its ``bounds``; a field without metadata is not
    offered to clients.

    Raises:
        ValueError: a word is not one of an option's.
    """

    preset: PresetName = _option("auto", "Options of one of the essay's experiments.")
    network: NetworkKind | None = _option(None, "Kind of recurrent layer.")
    num_layers: int | None = _option(None, "Stacked layers.", at_least=1, at_most=8)
    hidden_size: int | None = _option(None, "Cells of each layer.", at_least=8, at_most=4096)
    embedding_size: int | None = _option(
        None, "Size of the character embedding; 0 is 1-of-k input.", at_least=0, at_most=1024
    )
    ngram_orders: int | None = _option(
        None,
        "Longest context of the n-gram features, which are counted; 0 is the network only.",
        at_least=0,
        at_most=MAX_NGRAM_ORDERS,
    )
    ngram_buckets: int | None = _option(
        None,
        "Maximum number of rows in the n-gram table; a row has one byte per symbol. There may be "
        "up to four times as many lists of followers. 0 disables the table.",
        at_least=0,
        at_most=MAX_BUCKETS,
    )
    dropout: float | None = _option(
        None, "Dropout between layers and before the output.", at_least=0, at_most=0.9
    )
    batch_size: int | None = _option(None, "Sequences in a batch.", at_least=1, at_most=4096)
    sequence_length: int | None = _option(
        None, "Characters that gradients flow back through.", at_least=2, at_most=2048
    )
    optimizer: Optimizer | None = _option(None, "Optimizer.")
    learning_rate: float | None = _option(None, "Highest learning rate.", at_least=1e-6, at_most=1)
    schedule: Schedule | None = _option(None, "Learning rate schedule.")
    precision: ComputeType | None = _option(
        None, "Numbers that products are computed with; what is learned is in fp32."
    )
    grad_clip: float | None = _option(
        None, "Bound of the gradient; 0 is off.", at_least=0, at_most=1000
    )
    weight_decay: float | None = _option(None, "Weight decay.", at_least=0, at_most=1)
    ema_decay: float | None = _option(
        None,
        "Decay of the exponential moving average of the weights, a step; the average is what is "
        "evaluated and published. 0 publishes the weights themselves.",
        at_least=0,
        at_most=0.9999,
    )
    max_epochs: float | None = _option(
        None, "Passes over the text that end the job.", above=0, at_most=1_000_000
    )
    max_steps: int | None = _option(None, "Steps that end the job.", at_least=1, at_most=MAX_STEPS)
    max_seconds: float | None = _option(
        None, "Training time that ends the job, over all resumes.", above=0, at_most=366 * 86400.0
    )
    validation_fraction: float = _option(
        0.05, "Share of the text, its end, that is held out.", at_least=0.01, at_most=0.5
    )
    evaluate_every: int | None = _option(
        None, "Steps between evaluations.", at_least=1, at_most=MAX_STEPS
    )
    patience: int | None = _option(
        None,
        "Evaluations without a better loss that end the job; 0 is off.",
        at_least=0,
        at_most=1_000_000,
    )
    tokens: Literal["characters", "bytes", "auto"] = _option(
        "auto", "What a symbol is; auto is characters."
    )
    styles: str | None = _option(
        None,
        "Tells several texts apart: true if each file is one, or the parts of the text in their "
        "order, as in austen:717584,lovecraft:448612 (bytes). sample then takes a style.",
        at_most=MAX_PARTS_TEXT,
    )
    sample_at: tuple[int, ...] = _option(
        (100, 300, 500, 700, 1200, 2000),
        "Steps after which a sample is drawn, with commas between; besides, one at step 0 and one "
        "at the end.",
        at_most=MAX_SAMPLE_STEPS,
    )
    sample_every: int | None = _option(
        None, "Steps between further samples.", at_least=1, at_most=MAX_STEPS
    )
    sample_prime: str = _option("", "Text that each sample continues.", at_most=1000)
    sample_temperature: float = _option(1.0, "Temperature of the samples.")
    keep_snapshots: tuple[int, ...] | None = _option(
        None, "Steps that are published as name:step-N.", at_most=MAX_SNAPSHOTS
    )
    init_from: str | None = _option(None, "Model to continue from; its vocabulary must match.")
    seed: int = _option(0, "Random seed.", at_least=0, at_most=(1 << 63) - 1)
    devices: int | Literal["all"] = _option(
        1, f"Devices that share each batch: 1 to {MAX_DEVICES}, or all that the worker has."
    )
    clip: Clip | None = None
    initialisation: Initialisation | None = None

    def __post_init__(self) -> None:
        for name, words in _WORDS.items():
            if getattr(self, name) not in (None, *words):
                raise ValueError(f"{name} must be one of {', '.join(words)}")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The options in a JSON object; others in it, of another release, are left out.

        Raises:
            ValueError: a value is not one that the option can have.
        """
        hints = get_type_hints(cls)
        found: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
            if name in hints
        }
        for name, value in found.items():
            if not _is_a(value, hints[name]):
                raise ValueError(f"{name} is not a value that it can have")
        return cls(**found)

    def to_json(self) -> dict[str, Any]:
        """Those that are not None."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value is not None
        }

    @property
    def symbols(self) -> Literal["characters", "bytes"]:
        return "bytes" if self.tokens == "bytes" else "characters"

    @property
    def parts(self) -> list[TextPart]:
        """The parts of the text, if it is of several styles.

        Raises:
            ValueError: what is asked for is none.
        """
        return parse_parts(self.styles) if self.styles else []

    @property
    def is_untimed(self) -> bool:
        """Whether no option ends the run."""
        return self.max_seconds is None and self.max_steps is None and self.max_epochs is None


def _is_a(value: Any, hint: Any) -> bool:
    """Whether a value is of the type of an option, and a number safe to compute with."""
    kind, parts = get_origin(hint), get_args(hint)
    if kind in (UnionType, Union):
        return any(_is_a(value, part) for part in parts)
    if kind is Literal:
        return isinstance(value, str) and value in parts
    if kind is tuple:
        return isinstance(value, tuple) and all(type(part) is int for part in value)
    if type(value) not in ((int, float) if hint is float else (hint,)):
        return False
    return not isinstance(value, int | float) or abs(value) <= _MAX_NUMBER


_WORDS: dict[str, tuple[str, ...]] = {
    "preset": get_args(PresetName),
    "network": get_args(NetworkKind),
    "optimizer": get_args(Optimizer),
    "schedule": get_args(Schedule),
    "precision": get_args(ComputeType),
    "clip": get_args(Clip),
    "initialisation": get_args(Initialisation),
}


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """How to train, every value decided.

    ``max_seconds`` counts training time over all resumes; the schedule is over when steps or
    seconds are used up, whichever comes first. ``grad_clip`` bounds the gradient's norm, or each
    of its elements, of a loss summed over time as char-rnn's is; 0 is off. ``patience`` is in
    evaluations without a better loss, 0 is off. ``shuffle_lines`` is for a list. ``ngram_orders``
    and ``ngram_buckets`` limit the n-gram table, 0 is none; ``ngram_characters`` of the text, its
    first, are counted for it, 0 is as many as may be. With ``ema_decay``, 0 is off, an average of
    the weights is evaluated and published.
    """

    batch_size: int
    sequence_length: int
    max_steps: int
    max_seconds: float | None = None
    optimizer: Optimizer = "adamw"
    learning_rate: float = 0.01
    schedule: Schedule = "cosine"
    grad_clip: float = 5.0
    clip: Clip = "norm"
    weight_decay: float = 0.1
    ema_decay: float = 0.998
    initialisation: Initialisation = "normal"
    evaluate_every: int = 500
    patience: int = 0
    seed: int = 0
    precision: ComputeType = "fp32"
    shuffle_lines: bool = False
    ngram_orders: int = 0
    ngram_buckets: int = 0
    ngram_characters: int = 0

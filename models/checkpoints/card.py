"""A checkpoint's card and history: where the model comes from and how good it is.

Knows one file at a time, no layout of a directory.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Required, TypedDict, cast

from models.config import NetworkConfig
from models.files import CheckpointError, parse_object, read_bounded
from models.text.novelty import MemorisationFigures
from models.text.vocab import Tokens
from models.units import bits

MAX_CARD = 256 << 10
_MAX_NUMBER = 1e12


class CorpusFacts(TypedDict, total=False):
    """The corpus that a model was trained on; ``characters`` counts bytes in a bytes model."""

    id: str
    bytes: int
    characters: int
    distinct: int
    tokens: Tokens
    lines: int


class BaselineFigures(TypedDict):
    """The n-gram model's loss on the validation text, in nats and bits per character."""

    ngram_order: int
    val_loss: float
    bpc: float


class PrecisionLosses(TypedDict):
    """Validation losses at the two precisions; ``fast`` is None for a network without it."""

    exact: float | None
    fast: float | None


class Card(TypedDict, total=False):
    """A checkpoint's description of itself. Any part may be missing, and there may be others.

    ``ngram`` is the digest of the n-gram model that ``baseline`` is about; ``options`` are the
    job's, resolved. Losses are in nats per character.
    """

    job_id: str
    created_at: str
    device: str
    step: int
    val_loss: float | None
    bpc: float | None
    options: Mapping[str, object]
    corpus: CorpusFacts
    precision: PrecisionLosses
    baseline: BaselineFigures | None
    ngram: str
    memorisation: MemorisationFigures
    pretrained: bool


class HistoryPoint(TypedDict, total=False):
    """A line of the history: the losses at a step or, if there is a ``text``, a sample."""

    step: Required[int]
    train_loss: float | None
    val_loss: float | None
    temperature: float | None
    text: str


def read_card(directory: Path) -> Card:
    return parse_card(read_bounded(directory / "card.json", MAX_CARD))


def parse_card(content: bytes) -> Card:
    """Parses an untrusted card; other parts than a card's are kept.

    Raises:
        CheckpointError: a part of a card has another type than ``Card`` says.
    """
    card = parse_object(content, "card.json")
    for part in _PARTS:
        values = card if part == "" else card.get(part)
        if not isinstance(values, dict | None):
            raise CheckpointError(f"card.json: {part} is not an object")
        _check_part(part, values or {})
    if not isinstance(card.get("pretrained", False), bool):
        raise CheckpointError("card.json: pretrained is neither true nor false")
    if card.get("precision") and not card["precision"].keys() >= {"exact", "fast"}:
        raise CheckpointError("card.json: precision lacks exact or fast")
    return cast(Card, card)


def parse_point(line: bytes) -> HistoryPoint:
    """Parses a line of an untrusted history.

    Raises:
        CheckpointError: a part of it has another type than ``HistoryPoint`` says.
    """
    point = parse_object(line, "history.jsonl")
    numbers = all(_is_number(point.get(n)) for n in ("train_loss", "val_loss", "temperature"))
    step = point.get("step")
    if type(step) is not int or not _is_number(step) or not numbers:
        raise CheckpointError("history.jsonl: a figure is not a number")
    if not isinstance(point.get("text", ""), str):
        raise CheckpointError("history.jsonl: a sample is not text")
    return cast(HistoryPoint, point)


_PARTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "": (("bpc", "step", "val_loss"), ("created_at", "device", "job_id", "ngram")),
    "baseline": (("bpc", "ngram_order", "val_loss"), ()),
    "corpus": (("bytes", "characters", "distinct", "lines"), ("id", "tokens")),
    "memorisation": (tuple(MemorisationFigures.__annotations__), ()),
    "options": ((), ()),
    "precision": (("exact", "fast"), ()),
}
"""The objects in a card, "" being the card, with the names of their numbers and texts."""


def _check_part(part: str, values: dict[str, Any]) -> None:
    numbers, lines = _PARTS[part]
    for name in numbers:
        if not _is_number(values.get(name)):
            raise CheckpointError(f"card.json: {f'{part} {name}'.strip()} is not a number")
    for name in lines:
        if not _is_line(values.get(name)):
            raise CheckpointError(f"card.json: {f'{part} {name}'.strip()} is not a line of text")


def _is_number(value: Any) -> bool:
    """Whether a value is a number that is safe in any arithmetic, or None."""
    if isinstance(value, bool):
        return False
    return value is None or (isinstance(value, int | float) and abs(value) <= _MAX_NUMBER)


def _is_line(value: Any) -> bool:
    """Whether a value is text that a terminal can show on one line, or None."""
    return value is None or (isinstance(value, str) and value.isprintable())


def readme(config: NetworkConfig, tokens: Tokens, card: Card) -> str:
    """Returns the model card for people. Its wording is part of the digest: do not change it."""
    corpus = card.get("corpus") or {}
    loss = card.get("val_loss")
    lines = [
        "# Model card",
        "",
        f"A character-level {config.kind.upper()} of {config.num_layers} layers of "
        f"{config.hidden_size} cells ({config.parameters():,} parameters) over "
        f"{config.vocabulary_size} {tokens}.",
        "",
        f"- corpus: sha256 {corpus.get('id')}, {corpus.get('characters')} characters",
        f"- trained: {card.get('step')} steps by job {card.get('job_id')}, "
        f"{card.get('created_at')}",
        f"- device: {card.get('device')}",
    ]
    if loss is not None:
        lines.append(f"- validation loss: {loss:.4f} nats per character ({bits(loss):.4f} bits)")
    lines += _comparisons(card)
    options = "".join(f"- {k}: {v}\n" for k, v in sorted((card.get("options") or {}).items()))
    return "\n".join(lines) + "\n\n## Options\n\n" + options


def _figure(value: float | None) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _comparisons(card: Card) -> Iterator[str]:
    """Yields lines that compare the model with its baseline and its corpus."""
    baseline, found = card.get("baseline"), card.get("memorisation")
    if baseline is not None:
        yield (
            f"- n-gram baseline on the same text: {_figure(baseline.get('val_loss'))} nats per "
            f"character (order {baseline.get('ngram_order')})"
        )
    if found is not None:
        yield (
            f"- of {found.get('characters')} characters that it wrote, the longest run that the "
            f"corpus has word for word: {found.get('longest')}"
        )
        lines, names = found.get("novel_line_share"), found.get("novel_name_share")
        for novel, share in (("lines", lines), ("names", names)):
            if isinstance(share, float):
                yield f"- novel {novel}: {share:.1%}"

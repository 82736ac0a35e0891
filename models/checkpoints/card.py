"""A checkpoint's card: where the model comes from and how good it is.

Knows one file, no layout of a directory.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypedDict, cast

from models.config import NetworkConfig
from models.files import CheckpointError, parse_object
from models.text.novelty import MemorisationFigures
from models.text.vocab import Tokens
from models.units import bits

MAX_CARD = 256 << 10
_MAX_NUMBER = 1e12
_MAX_LINE = 256
"""Most characters of a line of text."""

_YEARS = range(1970, 3000)
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


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


def parse_card(content: bytes) -> Card:
    """Parses an untrusted card; other parts than a card's are kept.

    A date may be any line of text, as earlier releases took it: see ``check_date`` and ``date``.

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


def date(card: Card) -> datetime | None:
    """Returns when the checkpoint was made; None if the card has no such date."""
    text = card.get("created_at") or ""
    try:
        moment = datetime.fromisoformat(text) if _DATE.fullmatch(text) else None
        # An offset may lead out of the years that can be computed with.
        return moment if moment and moment.year in _YEARS and moment.timestamp() >= 0 else None
    except (OverflowError, ValueError):
        return None


def created_at(card: Card) -> str | None:
    """Returns the card's date as it stands there; None if it has none."""
    return card.get("created_at") if date(card) else None


def check_date(card: Card) -> None:
    """Raises CheckpointError if the card has a date that is none."""
    if card.get("created_at") is not None and date(card) is None:
        raise CheckpointError(
            "card.json: created_at is not a date such as 2026-01-31T12:00:00Z "
            f"from {_YEARS[0]} to {_YEARS[-1]}"
        )


def is_number(value: Any) -> bool:
    """Whether a value is a number that is safe in any arithmetic, or None."""
    if isinstance(value, bool):
        return False
    return value is None or (isinstance(value, int | float) and abs(value) <= _MAX_NUMBER)


def _is_whole(value: Any) -> bool:
    return is_number(value) and (value is None or value == int(value))


def _is_line(value: Any) -> bool:
    """Whether a value is text that a terminal can show on one line, or None."""
    if value is None:
        return True
    return isinstance(value, str) and value.isprintable() and len(value) <= _MAX_LINE


_KINDS: dict[str, Callable[[Any], bool]] = {
    "a number": is_number,
    "a whole number": _is_whole,
    "a line of text": _is_line,
}

_PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "": {
        "a number": ("bpc", "val_loss"),
        "a whole number": ("step",),
        "a line of text": ("created_at", "device", "job_id", "ngram"),
    },
    "baseline": {"a number": ("bpc", "val_loss"), "a whole number": ("ngram_order",)},
    "corpus": {
        "a whole number": ("bytes", "characters", "distinct", "lines"),
        "a line of text": ("id", "tokens"),
    },
    "memorisation": {"a number": tuple(MemorisationFigures.__annotations__)},
    "options": {},
    "precision": {"a number": ("exact", "fast")},
}
"""The objects in a card, "" being the card, with the names of their values by kind."""


def _check_part(part: str, values: dict[str, Any]) -> None:
    for kind, names in _PARTS[part].items():
        for name in names:
            if not _KINDS[kind](values.get(name)):
                raise CheckpointError(f"card.json: {f'{part} {name}'.strip()} is not {kind}")


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

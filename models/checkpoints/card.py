"""A checkpoint's card: where the model comes from and how good it is.

Knows one file, no layout of a directory.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypedDict, cast

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
    job's, resolved. Losses are in nats per character. ``held_out`` are the style and the bytes of
    each part of ``validation.txt``, if the network learned several texts.
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
    held_out: list[list[str | int]]
    pretrained: bool


def parse_card(content: bytes) -> Card:
    """Parses an untrusted card, without the parts that are of another type than ``Card`` says.

    Other parts than a card's are kept. A model is of use without its card, and earlier releases
    imported what no longer passes ``check_card``.

    Raises:
        CheckpointError: it is no JSON object.
    """
    card = parse_object(content, "card.json")
    while fault := next(_faults(card), None):
        del fault.inside[fault.name]
    return cast(Card, card)


def check_card(content: bytes) -> None:
    """Checks a card that somebody brings.

    Raises:
        CheckpointError: a part of it has another type than ``Card`` says, or its date is none.
    """
    for fault in _faults(parse_object(content, "card.json")):
        raise CheckpointError(f"card.json: {fault.words}")


def date(card: Card) -> datetime | None:
    """Returns when the checkpoint was made; None if the card does not say."""
    text = card.get("created_at")
    return _moment(text) if text else None


def _moment(text: str) -> datetime | None:
    """Returns the moment that RFC 3339 text means; None for other text and for other years."""
    try:
        moment = datetime.fromisoformat(text) if _DATE.fullmatch(text) else None
        # An offset may lead out of the years that can be computed with.
        return moment if moment and moment.year in _YEARS and moment.timestamp() >= 0 else None
    except (OverflowError, ValueError):
        return None


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


def _is_date(value: Any) -> bool:
    return value is None or (isinstance(value, str) and _moment(value) is not None)


_KINDS: dict[str, Callable[[Any], bool]] = {
    "a number": is_number,
    "a whole number": _is_whole,
    "a line of text": _is_line,
    f"a date such as 2026-01-31T12:00:00Z from {_YEARS[0]} to {_YEARS[-1]}": _is_date,
}
_NUMBER, _WHOLE, _LINE, _MOMENT = _KINDS

_PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "": {
        _NUMBER: ("bpc", "val_loss"),
        _WHOLE: ("step",),
        _LINE: ("device", "job_id", "ngram"),
        _MOMENT: ("created_at",),
    },
    "baseline": {_NUMBER: ("bpc", "val_loss"), _WHOLE: ("ngram_order",)},
    "corpus": {
        _WHOLE: ("bytes", "characters", "distinct", "lines"),
        _LINE: ("id", "tokens"),
    },
    "memorisation": {_NUMBER: tuple(MemorisationFigures.__annotations__)},
    "options": {},
    "precision": {_NUMBER: ("exact", "fast")},
}
"""The objects in a card, "" being the card, with the names of their values by kind."""


class _Fault(NamedTuple):
    """What is wrong with a value: the object that has it, its name there, and words."""

    inside: dict[str, Any]
    name: str
    words: str


def _faults(card: dict[str, Any]) -> Iterator[_Fault]:
    for part, kinds in _PARTS.items():
        values = card if part == "" else card.get(part)
        if not isinstance(values, dict | None):
            yield _Fault(card, part, f"{part} is not an object")
            continue
        for kind, names in kinds.items():
            for name in names:
                if values and not _KINDS[kind](values.get(name)):
                    yield _Fault(values, name, f"{part} {name} is not {kind}".lstrip())
    if not isinstance(card.get("pretrained", False), bool):
        yield _Fault(card, "pretrained", "pretrained is neither true nor false")
    if card.get("precision") and not card["precision"].keys() >= {"exact", "fast"}:
        yield _Fault(card, "precision", "precision lacks exact or fast")


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
        *_table(config, tokens),
        *([f"- styles: {', '.join(config.styles)}"] if config.styles else []),
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


def _table(config: NetworkConfig, tokens: Tokens) -> Iterator[str]:
    """Yields a line about the n-gram table, if there is one."""
    if config.ngram_buckets:
        buckets = sum(map(sum, config.table_sizes))
        yield (
            f"- n-gram table beside it: {buckets:,} buckets for contexts of up to "
            f"{config.ngram_orders} {tokens} ({config.table_bytes() / 1e6:.1f} MB)"
        )


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

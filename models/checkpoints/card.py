"""A checkpoint's card: where the model comes from and how good it is. Knows no file layout."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.config import NetworkConfig
from models.files import CheckpointError, parse_object, read_bounded
from models.text.vocab import Tokens
from models.units import bits

MAX_CARD = 256 << 10
_MAX_NUMBER = 1e12


def read_card(directory: Path) -> dict[str, Any]:
    return parse_card(read_bounded(directory / "card.json", MAX_CARD))


def parse_card(content: bytes) -> dict[str, Any]:
    """A card whose well-known parts are what their names say; it may have others."""
    card = parse_object(content, "card.json")
    parts: dict[str, dict[str, Any]] = {"": card}
    for name in ("baseline", "corpus", "options", "precision"):
        part = card.get(name)
        if not isinstance(part, dict | None):
            raise CheckpointError(f"card.json: {name} is not an object")
        parts[name] = part or {}
    for part, name in _NUMBERS:
        if not is_number(parts[part].get(name)):
            raise CheckpointError(f"card.json: {f'{part} {name}'.strip()} is no number")
    for name in _LINES:
        if not _is_line(card.get(name)):
            raise CheckpointError(f"card.json: {name} is no line of text")
    if not isinstance(card.get("pretrained", False), bool):
        raise CheckpointError("card.json: pretrained is neither true nor false")
    if card.get("precision") and not parts["precision"].keys() >= {"exact", "fast"}:
        raise CheckpointError("card.json: precision lacks exact or fast")
    return card


_NUMBERS = (
    ("", "bpc"),
    ("", "step"),
    ("", "val_loss"),
    ("baseline", "bpc"),
    ("baseline", "ngram_order"),
    ("baseline", "val_loss"),
    ("precision", "exact"),
    ("precision", "fast"),
)
_LINES = ("created_at", "device", "job_id", "ngram")


def is_number(value: Any) -> bool:
    """A number that any arithmetic can be done with, or none."""
    if isinstance(value, bool):
        return False
    return value is None or (isinstance(value, int | float) and abs(value) <= _MAX_NUMBER)


def _is_line(value: Any) -> bool:
    """A text that a terminal can show in a line, or none."""
    return value is None or (isinstance(value, str) and value.isprintable())


def readme(config: NetworkConfig, tokens: Tokens, card: dict[str, Any]) -> str:
    """The model card, for people."""
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


def _figure(value: Any) -> Any:
    return f"{value:.4f}" if isinstance(value, float) else value


def _comparisons(card: dict[str, Any]) -> Iterator[str]:
    """What the model is beside counting, and beside its corpus. A card may hold anything."""
    baseline, found = card.get("baseline"), card.get("memorisation")
    if isinstance(baseline, dict):
        yield (
            f"- n-gram baseline on the same text: {_figure(baseline.get('val_loss'))} nats per "
            f"character (order {baseline.get('ngram_order')})"
        )
    if isinstance(found, dict):
        yield (
            f"- of {found.get('characters')} characters that it wrote, the longest run that the "
            f"corpus has word for word: {found.get('longest')}"
        )
        for name in ("lines", "names"):
            share = found.get(f"novel_{name.removesuffix('s')}_share")
            if isinstance(share, float):
                yield f"- novel {name}: {share:.1%}"

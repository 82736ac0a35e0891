"""A model as one HTML file that writes by itself: the page, the engine and the weights.

The file opens from a disk. Its content security policy lets it run its own two scripts, and load
nothing from anywhere. What comes from a model, such as its card and its symbols, is text: escaped
where it stands in HTML, and ``<`` is escaped where it stands in JSON. Knows no client.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from models.checkpoints.card import Card, is_number
from models.checkpoints.format import Checkpoint
from models.decoding.graph import Precision
from models.inside.cells import Findings
from models.portable import pack
from models.units import bits

SOURCES = Path(__file__).parents[1] / "static" / "portable"

ENGINE = ("packed", "draws", "naming", "table", "network", "writing", "worker")
"""The modules of the engine, each after those that it needs."""

_MODULE_WORDS = re.compile(r"^(import .*?;\n|export )", re.MULTILINE | re.DOTALL)
_INDENTATION = re.compile(r"^ +", re.MULTILINE)
_COMMENTS = re.compile(r"^(//[^\n]*|/\*.*?\*/)\n", re.MULTILINE | re.DOTALL)
_PLACE = re.compile(r"\{\{(\w+)\}\}")
_LONGEST = 1000
"""Most characters of what a card says in words."""


_PRECISIONS: dict[Precision, str] = {
    "fast": (
        "Weights are rounded. On text like its own, nearly all probabilities differ from the "
        "server's by less than 0.001, so in time a text with the same seed becomes another one."
    ),
    "exact": (
        "Weights are rounded, but finely. On text like its own, probabilities differ from the "
        "server's by less than 0.0001."
    ),
}


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What a page says besides its checkpoint.

    Attributes:
        model: its name and tag.
        digest: of the checkpoint.
        version: of this release.
        findings: about the model's cells; None if they have not been searched.
        in_japanese: says a title of these in Japanese.
    """

    model: str
    digest: str
    version: str
    findings: Findings | None = None
    in_japanese: Callable[[str], str] = str


def portable_page(checkpoint: Checkpoint, facts: PageFacts, precision: Precision = "fast") -> bytes:
    """Returns a model as a page.

    Args:
        checkpoint: of the model.
        facts: to be told.
        precision: how finely its weights are rounded.

    Raises:
        ValueError: it is too large; the message says so of a format.
    """
    packed = pack(checkpoint, precision)
    about = {"model": facts.model, "digest": facts.digest, "cells": _cells(facts)}
    style, script = _source("page.css"), _source("page.js")
    parts = {
        "policy": (
            f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; "
            "worker-src blob:; img-src data:; base-uri 'none'; form-action 'none'"
        ),
        "version": html.escape(facts.version),
        "title": html.escape(facts.model),
        "lead": html.escape(_lead(checkpoint)),
        "about": _definitions(_facts(checkpoint, facts, precision)),
        "style": style,
        "engine": engine(),
        "page": script,
        "model": _json(packed.header | about),
        "weights": packed.text,
    }
    # In one pass: what is put in is not looked at again.
    return _PLACE.sub(lambda place: parts[place[1]], _source("page.html")).encode()


@cache
def _source(name: str) -> str:
    # A quarter of it is indentation and comments, which the smallest files feel.
    return _COMMENTS.sub("", _INDENTATION.sub("", (SOURCES / name).read_text("utf-8")))


@cache
def engine() -> str:
    """Returns the engine as one classic script: a worker from a file may not load modules."""
    modules = (_source(f"engine/{name}.js") for name in ENGINE)
    return "\n".join(_MODULE_WORDS.sub("", module) for module in modules)


def _digest(source: str) -> str:
    digest = hashlib.sha256(source.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _json(value: object) -> str:
    # No "</script>" and no "<!--" of a vocabulary ends or changes the element that it stands in.
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _cells(facts: PageFacts) -> list[dict[str, Any]]:
    """Returns the cell that tracks each thing best."""
    hypotheses = facts.findings["hypotheses"] if facts.findings else []
    return [
        {
            "title": one["title"],
            "japanese": facts.in_japanese(one["title"]),
            "layer": cell["layer"],
            "cell": cell["cell"],
        }
        for one in hypotheses
        for cell in one["cells"][:1]
    ]


def _lead(checkpoint: Checkpoint) -> str:
    config = checkpoint.config
    layers = "1 layer" if config.num_layers == 1 else f"{config.num_layers} layers"
    table = " and an n-gram table" if config.ngram_buckets else ""
    return (
        f"A character-level {config.kind.upper()} of {layers} of {config.hidden_size} cells{table}."
    )


def _definitions(pairs: Iterator[tuple[str, str]]) -> str:
    """Returns pairs as a list in HTML."""
    return "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in pairs)


def _facts(
    checkpoint: Checkpoint, facts: PageFacts, precision: Precision
) -> Iterator[tuple[str, str]]:
    """Yields what is known about a model, for people."""
    card, config = checkpoint.card, checkpoint.config
    loss = card.get("val_loss")
    if isinstance(loss, float | int):
        yield "Loss", f"{loss:.3f} nats per character, {bits(loss):.3f} bits, on held-out text"
    tokens = checkpoint.vocabulary.tokens
    yield (
        "Parameters",
        f"{config.parameters():,}; {config.vocabulary_size:,} distinct {tokens}",
    )
    if read := _text(card, "provenance") or _corpus(card, tokens):
        yield "Has read", read
    made = _text(card, "created_at")[:10]
    yield "Made", f"{made}, this file with charloom {facts.version}".removeprefix(", ")
    if licence := _text(card, "licence"):
        yield "Licence", licence
    if count := len(checkpoint.lines):
        yield (
            "The list",
            f"{count:,} lines, as hashes: this file can tell whether a name is one of them, and "
            "has none of them.",
        )
    yield "Precision", _PRECISIONS[precision]
    yield "Checkpoint", facts.digest


def _text(card: Card, name: str) -> str:
    """Returns what a card says under a name that may hold anything."""
    said = card.get(name)
    return said[:_LONGEST] if isinstance(said, str) else ""


def _corpus(card: Card, tokens: str) -> str:
    count = (card.get("corpus") or {}).get("characters")
    return f"{count:,} {tokens}" if count is not None and is_number(count) else ""

"""A checkpoint as a directory of files, written whole and read without trust.

    config.json        the network's sizes (models.config.NetworkConfig)
    vocab.json         its symbols (models.text.vocab.Vocabulary)
    model.safetensors  fp32 weights, named as in NetworkConfig.shapes(), and the n-gram table
    card.json          where the model comes from and how good it is (models.checkpoints.card)
    README.md          the same for people: the model card
    history.jsonl      losses and samples over the steps
    validation.txt     up to 100 kB of held-out text (raw bytes for a bytes model)
    lines.u64          hashes of the lines of a corpus that is a list
                       (models.text.novelty.line_hashes), little-endian, increasing; else empty
    manifest.json      the sha256 and size of each file above

The digest is the sha256 of the manifest, so a directory's name identifies its contents.

Reading trusts nothing: the manifest must match (but for the README of one that somebody brings,
which is for people and may have been edited), sizes are bounded, shapes are compared with the
config before a weight is read, weights must be finite, each key of the n-gram table must stand
where it is looked up, and files are read, not memory-mapped
(truncating a mapped file kills the process). Knows no name and no tag.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse_safetensors
from safetensors.numpy import save_file as save_safetensors

from models.arrays import Hashes
from models.checkpoints.card import MAX_CARD, Card, parse_card, readme
from models.checkpoints.history import (
    MAX_HISTORY,
    MAX_LINE,
    HistoryPoint,
    read_history,
    thinned,
)
from models.config import NetworkConfig, Weights
from models.files import (
    CheckpointError,
    parse_object,
    read_bounded,
    read_tensor_header,
    sync_directory,
)
from models.ngram_table import (
    NGRAM_FOLLOWERS,
    NGRAM_KEYS,
    NGramTable,
    id_type,
)
from models.text.vocab import Vocabulary

VALIDATION_BYTES = 100_000
MANIFEST = "manifest.json"
FILES = (
    "config.json",
    "vocab.json",
    "model.safetensors",
    "card.json",
    "README.md",
    "history.jsonl",
    "validation.txt",
    "lines.u64",
)

MAX_LINES = 1 << 21
"""Maximum number of line hashes in a checkpoint: 16 MiB."""

MAX_JSON = 2 << 20
"""Most bytes of a manifest or a vocabulary, which has up to 65,536 symbols."""

_MAX_HEADER = 1 << 16
_LIMITS = {
    "config.json": 1 << 16,
    "vocab.json": MAX_JSON,
    "card.json": MAX_CARD,
    # It repeats the card's options.
    "README.md": 4 * MAX_CARD,
    "history.jsonl": MAX_HISTORY,
    "validation.txt": VALIDATION_BYTES,
    "lines.u64": 8 * MAX_LINES,
    MANIFEST: MAX_JSON,
}
"""Most bytes of each file but the weights, whose size follows from the config."""

WEIGHTS = "model.safetensors"
LINES = "lines.u64"
_WIDER = 10
"""Bytes that a bucket of an n-gram table may have had more: keys had 64 bits, each id 16."""

_BLOCK = 1 << 20


class ManifestEntry(TypedDict):
    sha256: str
    bytes: int


def no_lines() -> Hashes:
    return np.empty(0, dtype="<u8")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model in memory. ``weights`` are named as in ``config.shapes()`` and ``table_shapes()``.

    ``lines`` are the hashes of the corpus's lines, increasing; empty unless the corpus is a list.
    """

    config: NetworkConfig
    vocabulary: Vocabulary
    weights: Weights
    card: Card
    history: list[HistoryPoint]
    validation: bytes
    lines: Hashes = field(default_factory=no_lines)


def write(directory: Path, checkpoint: Checkpoint) -> str:
    """Writes a checkpoint's files durably into a directory and returns the digest.

    Raises:
        CheckpointError: a file would be larger than ``read`` accepts.
    """
    history = [_json(line, indent=None) for line in thinned(checkpoint.history)]
    if any(len(line) > MAX_LINE for line in history):
        raise CheckpointError("history.jsonl would have too long a line")
    contents = {
        "config.json": _json({"format": 1, **checkpoint.config.to_json()}),
        "vocab.json": _json(checkpoint.vocabulary.to_json()),
        "card.json": _json(checkpoint.card),
        "README.md": readme(
            checkpoint.config, checkpoint.vocabulary.tokens, checkpoint.card
        ).encode(),
        "history.jsonl": b"".join(history),
        "validation.txt": _validation(checkpoint),
        "lines.u64": checkpoint.lines.astype("<u8").tobytes(),
    }
    for name, data in contents.items():
        if len(data) > _LIMITS[name]:
            raise CheckpointError(f"{name} would be too large: {len(data)} bytes")
        (directory / name).write_bytes(data)
    # Straight from the arrays: a copy of the weights may be gigabytes.
    weights = {k: np.ascontiguousarray(v) for k, v in checkpoint.weights.items()}
    save_safetensors(weights, directory / WEIGHTS)
    manifest = {name: _sealed(directory / name) for name in FILES}
    (directory / MANIFEST).write_bytes(_json(manifest))
    digest = _sealed(directory / MANIFEST)["sha256"]
    sync_directory(directory)
    return digest


def _sealed(path: Path) -> ManifestEntry:
    """Makes a file durable, and returns what the manifest says of it."""
    found = hashlib.sha256()
    with path.open("rb+") as file:
        while block := file.read(_BLOCK):
            found.update(block)
        os.fsync(file.fileno())
        return {"sha256": found.hexdigest(), "bytes": file.tell()}


def _validation(checkpoint: Checkpoint) -> bytes:
    data = checkpoint.validation[:VALIDATION_BYTES]
    if checkpoint.vocabulary.tokens == "bytes":
        return data
    # Without a partial character at the end.
    return data.decode("utf-8", "ignore").encode()


def most_bytes(name: str, config: NetworkConfig | None = None) -> int:
    """Returns the maximum size of a file in bytes; that of the weights follows from the config."""
    if name == WEIGHTS:
        assert config
        return config.weight_bytes() + _MAX_HEADER + _WIDER * sum(map(sum, config.table_sizes))
    return _LIMITS[name]


def _json(value: object, indent: int | None = 1) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False) + "\n").encode()


def read(directory: Path) -> Checkpoint:
    """Reads a checkpoint directory without trusting it.

    Raises:
        CheckpointError: it is damaged; the message says how.
    """
    manifest = read_bounded(directory / MANIFEST, MAX_JSON)
    if hashlib.sha256(manifest).hexdigest() != directory.name:
        raise CheckpointError("the manifest does not match the digest")
    words = read_bounded(directory / "README.md", _LIMITS["README.md"])
    _compare("README.md", words, parse_object(manifest, MANIFEST))
    return assemble(lambda name, limit: read_bounded(directory / name, limit))


def assemble(read_file: Callable[[str, int], bytes]) -> Checkpoint:
    """Assembles a checkpoint from the bytes of its files, none of which is trusted.

    README.md is not read: it is made from the card when the checkpoint is written.

    Args:
        read_file: returns the bytes of a file, given its name and maximum size; raises
            CheckpointError if the file is larger or missing.

    Raises:
        CheckpointError: a file is damaged; the message says how.
    """
    manifest = parse_object(read_file(MANIFEST, MAX_JSON), MANIFEST)
    config = parse_config(read_file("config.json", _LIMITS["config.json"]))

    def checked(name: str) -> bytes:
        data = read_file(name, most_bytes(name, config))
        _compare(name, data, manifest)
        return data

    checked("config.json")
    vocabulary = read_vocabulary(checked("vocab.json"), config)
    validation = checked("validation.txt")
    _check_validation(validation, vocabulary)
    card = parse_card(checked("card.json"))
    history = read_history(io.BytesIO(checked("history.jsonl")))
    lines = _read_lines(checked("lines.u64"))
    # Last, and only once all else is sound: it may be gigabytes.
    config, weights = _read_weights(checked(WEIGHTS), config)
    return Checkpoint(config, vocabulary, weights, card, history, validation, lines)


def _compare(name: str, data: bytes, manifest: dict[str, Any]) -> None:
    stated = manifest.get(name)
    if not isinstance(stated, dict) or stated.get("sha256") != hashlib.sha256(data).hexdigest():
        raise CheckpointError(f"{name} is damaged: its sha256 does not match the manifest")


def read_vocabulary(data: bytes, config: NetworkConfig) -> Vocabulary:
    try:
        vocabulary = Vocabulary.from_json(parse_object(data, "vocab.json"))
    except ValueError as error:
        raise CheckpointError(f"vocab.json: {error}") from None
    if len(vocabulary) != config.vocabulary_size:
        raise CheckpointError("vocab.json and config.json disagree about the vocabulary's size")
    return vocabulary


def _read_lines(data: bytes) -> Hashes:
    if len(data) % 8:
        raise CheckpointError("lines.u64 is truncated")
    lines = np.frombuffer(data, dtype="<u8")
    # They are looked up by binary search, which needs them in order.
    if not (lines[1:] > lines[:-1]).all():
        raise CheckpointError("the hashes in lines.u64 are not in increasing order")
    return lines


def _read_weights(data: bytes, config: NetworkConfig) -> tuple[NetworkConfig, Weights]:
    """Reads weights, once the header declares the shapes that follow from the config.

    Also returns the config, with other sizes if the table is one of before.
    """
    header = read_tensor_header(data, WEIGHTS, _MAX_HEADER)
    narrow = _declared(config, "I32", id_type(config.vocabulary_size).itemsize)
    wide = _declared(config, "I64", 2)
    if header.tensors not in (narrow, wide):
        raise CheckpointError(
            "model.safetensors does not contain the weights that config.json describes"
        )
    try:
        weights: Weights = parse_safetensors(data)
    except SafetensorError as error:
        raise CheckpointError(f"model.safetensors: {error}") from None
    if not all(np.isfinite(weights[name]).all() for name in config.shapes()):
        raise CheckpointError("a weight is not finite")
    table = NGramTable.in_weights(*config.table_sizes, weights)
    if table is not None and header.tensors == wide:
        table = table.placed_anew()
        weights |= table.tensors()
        config = config.beside(table)
    if table is not None and not table.is_sound():
        raise CheckpointError("model.safetensors has an n-gram table with keys out of place")
    return config, weights


def _declared(config: NetworkConfig, keys: str, id_bytes: int) -> dict[str, tuple[str, list[int]]]:
    """Returns the types and shapes of a checkpoint's tensors."""
    tensors = {name: ("F32", list(shape)) for name, shape in config.shapes().items()}
    of_table = {NGRAM_KEYS: keys, NGRAM_FOLLOWERS: f"U{8 * id_bytes}"}
    for name, shape in config.table_shapes().items():
        tensors[name] = (of_table.get(name, "U8"), list(shape))
    return tensors


def _check_validation(data: bytes, vocabulary: Vocabulary) -> None:
    try:
        if vocabulary.tokens == "characters":
            vocabulary.encode(data.decode())
            return
        known = bool((vocabulary.lookup(np.frombuffer(data, dtype=np.uint8)) >= 0).all())
    except ValueError:
        known = False
    if not known:
        raise CheckpointError("validation.txt is not text in the model's vocabulary")


def parse_config(content: bytes) -> NetworkConfig:
    """Raises CheckpointError."""
    data = parse_object(content, "config.json")
    if data.pop("format", None) != 1:
        raise CheckpointError("config.json has a format that this version does not read")
    try:
        return NetworkConfig(**data)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"config.json: {error}") from None

"""A checkpoint as a directory of files, written whole and read without trust.

    config.json        the network's sizes (models.config.NetworkConfig)
    vocab.json         its symbols (models.text.vocab.Vocabulary)
    model.safetensors  fp32 weights, named as in NetworkConfig.shapes()
    card.json          where the model comes from and how good it is (models.checkpoints.card)
    README.md          the same for people: the model card
    history.jsonl      losses and samples over the steps
    validation.txt     up to 100 kB of held-out text (raw bytes for a bytes model)
    lines.u64          hashes of the lines of a corpus that is a list
                       (models.text.novelty.line_hashes), little-endian, increasing; else empty
    manifest.json      the sha256 and size of each file above

The digest is the sha256 of the manifest, so a directory's name identifies its contents.

Reading trusts nothing: the manifest must match, sizes are bounded, shapes are compared with the
config before a weight is read, weights must be finite, and files are read, not memory-mapped
(truncating a mapped file kills the process). Knows no name and no tag.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypedDict

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse_safetensors
from safetensors.numpy import save as to_safetensors

from models.arrays import Hashes
from models.checkpoints.card import MAX_CARD, Card, HistoryPoint, parse_card, parse_point, readme
from models.config import NetworkConfig, Weights
from models.files import (
    CheckpointError,
    parse_object,
    read_bounded,
    read_tensor_header,
    sync_directory,
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

MAX_JSON = 8 << 20
MAX_HISTORY = 64 << 20
_MAX_HEADER = 1 << 20


class ManifestEntry(TypedDict):
    sha256: str
    bytes: int


def no_lines() -> Hashes:
    return np.empty(0, dtype="<u8")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model in memory. ``weights`` are fp32, named as in ``config.shapes()``.

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
    contents = {
        "config.json": _json({"format": 1, **asdict(checkpoint.config)}),
        "vocab.json": _json(checkpoint.vocabulary.to_json()),
        "model.safetensors": to_safetensors(
            {k: np.ascontiguousarray(v) for k, v in checkpoint.weights.items()}
        ),
        "card.json": _json(checkpoint.card),
        "README.md": readme(
            checkpoint.config, checkpoint.vocabulary.tokens, checkpoint.card
        ).encode(),
        "history.jsonl": b"".join(_json(line, indent=None) for line in checkpoint.history),
        "validation.txt": _validation(checkpoint),
        "lines.u64": checkpoint.lines.astype("<u8").tobytes(),
    }
    for name, data in contents.items():
        if len(data) > _limit(name, checkpoint.config):
            raise CheckpointError(f"{name} would be too large: {len(data)} bytes")
    manifest: dict[str, ManifestEntry] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in contents.items()
    }
    contents[MANIFEST] = _json(manifest)
    for name, data in contents.items():
        with (directory / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    sync_directory(directory)
    return hashlib.sha256(contents[MANIFEST]).hexdigest()


def _validation(checkpoint: Checkpoint) -> bytes:
    data = checkpoint.validation[:VALIDATION_BYTES]
    if checkpoint.vocabulary.tokens == "bytes":
        return data
    # Without a partial character at the end.
    return data.decode("utf-8", "ignore").encode()


def _limit(name: str, config: NetworkConfig) -> int:
    """Returns the maximum size of a file in bytes."""
    if name == "model.safetensors":
        return 4 * config.parameters() + _MAX_HEADER
    limits = {
        "card.json": MAX_CARD,
        "history.jsonl": MAX_HISTORY,
        "validation.txt": VALIDATION_BYTES,
        "lines.u64": 8 * MAX_LINES,
    }
    return limits.get(name, MAX_JSON)


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
    return assemble(lambda name, limit: read_bounded(directory / name, limit))


def assemble(read_file: Callable[[str, int], bytes]) -> Checkpoint:
    """Assembles a checkpoint from the bytes of its files, none of which is trusted.

    Args:
        read_file: returns the bytes of a file, given its name and maximum size; raises
            CheckpointError if the file is larger or missing.

    Raises:
        CheckpointError: a file is damaged; the message says how.
    """
    manifest = parse_object(read_file(MANIFEST, MAX_JSON), MANIFEST)
    config = _parse_config(read_file("config.json", MAX_JSON))
    contents = {}
    for name in FILES:
        data = read_file(name, _limit(name, config))
        stated = manifest.get(name)
        digest = hashlib.sha256(data).hexdigest()
        if not isinstance(stated, dict) or stated.get("sha256") != digest:
            raise CheckpointError(f"{name} is damaged: its sha256 does not match the manifest")
        contents[name] = data
    vocabulary = read_vocabulary(contents["vocab.json"], config)
    _check_validation(contents["validation.txt"], vocabulary)
    return Checkpoint(
        config,
        vocabulary,
        _read_weights(contents["model.safetensors"], config),
        parse_card(contents["card.json"]),
        [parse_point(line) for line in contents["history.jsonl"].splitlines()],
        contents["validation.txt"],
        _read_lines(contents["lines.u64"]),
    )


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


def _read_weights(data: bytes, config: NetworkConfig) -> Weights:
    """Reads weights, once the header declares the shapes that follow from the config."""
    header = read_tensor_header(data, "model.safetensors", _MAX_HEADER)
    if header.tensors != {name: ("F32", list(shape)) for name, shape in config.shapes().items()}:
        raise CheckpointError(
            "model.safetensors does not contain the weights that config.json describes"
        )
    try:
        weights: Weights = parse_safetensors(data)
    except SafetensorError as error:
        raise CheckpointError(f"model.safetensors: {error}") from None
    if not all(np.isfinite(weight).all() for weight in weights.values()):
        raise CheckpointError("a weight is not finite")
    return weights


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


def read_config(directory: Path) -> NetworkConfig:
    return _parse_config(read_bounded(directory / "config.json", MAX_JSON))


def _parse_config(content: bytes) -> NetworkConfig:
    data = parse_object(content, "config.json")
    if data.pop("format", None) != 1:
        raise CheckpointError("config.json has a format that this version does not read")
    try:
        return NetworkConfig(**data)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"config.json: {error}") from None

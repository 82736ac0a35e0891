"""A checkpoint on disk, and the registry of models made of them.

A checkpoint is an immutable directory ``<root>/<name>/<digest>/``:

    config.json        the network's sizes (models.config.NetworkConfig)
    vocab.json         its symbols (models.vocab.Vocabulary)
    model.safetensors  fp32 weights, named as NetworkConfig.shapes() says
    card.json          where it comes from and how good it is
    README.md          the same for people: the model card
    history.jsonl      losses and samples over the steps
    validation.txt     up to 100 kB of text it was not trained on (raw bytes in byte mode)
    lines.u64          hashes of the corpus's lines where it is a list (models.novelty.line_hashes),
                       little-endian and increasing; else empty
    manifest.json      the sha256 and size of each file above

The digest is the sha256 of the manifest, so a directory's name says what is in it. A tag is a
file ``<root>/<name>/tags/<tag>`` that holds a digest and, on a second line, the one before, which
is kept in case the new one is damaged; a tag moves by renaming a new file onto it.
A checkpoint is written in a directory beside, synced, and renamed into place: it is there whole
or not at all.

The n-gram model that a checkpoint is compared with (models.ngram) is a file of its own,
``<root>/<name>/ngrams/<sha256>``, which the card names: checkpoints of one job share it. What the
card of ``latest`` names is the model ``name:ngram``.

Reading trusts nothing: the manifest must match, sizes are bounded, shapes are compared with the
config before a weight is read, weights must be finite, and files are read rather than mapped
(a truncated mapped file kills the process). Knows no torch, no Redis and no HTTP.
"""

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as parse_safetensors
from safetensors.numpy import save as to_safetensors

from models.config import NetworkConfig, Weights
from models.files import (
    CheckpointError,
    open_file,
    parse_object,
    read_bounded,
    sync_directory,
    write_durably,
)
from models.vocab import Vocabulary

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
TAG = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_JOB = re.compile(r"[0-9a-f]{22}", re.ASCII)

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
NGRAM = "ngram"
"""In place of a tag: the n-gram model of a name. In a card: the file of that model."""

MAX_NGRAM = (16 << 20) + (64 << 10)
"""Bytes of an n-gram model's file."""

MAX_LINES = 1 << 21
"""Hashes of lines that a checkpoint may carry: 16 MiB."""

_MAX_JSON = 8 << 20
_MAX_CARD = 256 << 10
_MAX_NUMBER = 1e12
_MAX_HISTORY = 64 << 20
_MAX_HEADER = 1 << 20
_ABANDONED = 3600.0
"""Seconds after which a checkpoint half written belongs to a process that is no more."""

Lines = NDArray[np.uint64]


def no_lines() -> Lines:
    return np.empty(0, dtype="<u8")


class UnknownModel(LookupError):
    """No such model, or no such tag of it."""


class NoNGram(UnknownModel):
    """The model has no n-gram model to sample."""


class NotANetwork(UnknownModel):
    """An n-gram model was named where it takes a network."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One model, in memory. ``weights`` are fp32, by the names of ``config.shapes()``.

    ``lines`` are increasing hashes of the corpus's lines; none unless it is a list.
    """

    config: NetworkConfig
    vocabulary: Vocabulary
    weights: Weights
    card: dict[str, Any]
    history: list[dict[str, Any]]
    validation: bytes
    lines: Lines = field(default_factory=no_lines)


@dataclass(frozen=True, slots=True)
class Entry:
    """A published checkpoint as listings show it, weights unread."""

    name: str
    tag: str
    digest: str
    tags: list[str]
    config: NetworkConfig
    card: dict[str, Any]


def split_reference(reference: str) -> tuple[str, str]:
    """``name[:tag]`` to name and tag (``latest`` if none).

    Raises:
        ValueError: it is not such a reference.
    """
    name, colon, tag = reference.partition(":")
    if not colon:
        tag = "latest"
    if not NAME.fullmatch(name) or not TAG.fullmatch(tag):
        raise ValueError(
            "a model is name or name:tag, of lower-case letters, digits, '_' and '-' "
            "(in a tag also '.'), 63 at most, starting with a letter or digit"
        )
    return name, tag


class Registry:
    """The models below one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def publish(
        self, name: str, tag: str, checkpoint: Checkpoint, *, keep_before: bool = False
    ) -> str:
        """Writes a checkpoint and points the tag at it.

        What the tag named before goes, unless another tag names it; the one before stays. With
        ``keep_before`` it is given a tag of its own, as ``keep_latest`` does.

        Returns:
            The digest.

        Raises:
            ValueError: the name or tag is none.
            CheckpointError: a part of it is larger than ``read`` takes.
        """
        check_tag(name, tag)
        home = self.root / name
        staged = home / f".stage-{secrets.token_hex(8)}"
        with self._changing():
            (home / "tags").mkdir(parents=True, exist_ok=True)
            sync_directory(self.root)
            _sweep(home)
            staged.mkdir()
        try:
            digest = _write(staged, checkpoint)
            with self._changing():
                if not (home / digest).exists():
                    staged.rename(home / digest)
                    sync_directory(home)
                named = self._read_tag_file(name, tag)
                if keep_before and named and named[0] != digest:
                    self._keep(name, named[0])
                before = [one for one in named if one != digest]
                self._write_tag(name, tag, digest, *before[:1])
                self._prune(name)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        return digest

    def tag(self, name: str, tag: str, digest: str) -> None:
        """Points a tag at a checkpoint that is there.

        Raises:
            ValueError: the name or tag is none.
            CheckpointError: the checkpoint is gone.
        """
        check_tag(name, tag)
        with self._changing():
            self._directory(name, digest)
            self._write_tag(name, tag, digest)

    def publish_ngram(self, name: str, data: bytes) -> str:
        """Keeps an n-gram model for the checkpoints of a name, and returns its digest.

        It goes with the last checkpoint whose card names it.

        Raises:
            ValueError: the name is none.
        """
        split_reference(name)
        directory = self.root / name / "ngrams"
        digest = hashlib.sha256(data).hexdigest()
        with self._changing():
            directory.mkdir(parents=True, exist_ok=True)
            sync_directory(self.root / name)
            write_durably(directory / digest, data)
        return digest

    def ngram(self, name: str) -> tuple[str, str]:
        """Digests of the n-gram model of a name, and of the checkpoint whose symbols it has.

        Raises:
            UnknownModel: there is no such name, or it has no n-gram model.
        """
        latest = self.entry(name)
        digest = latest.card.get(NGRAM)
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            raise NoNGram(name)
        if not (self.root / name / "ngrams" / digest).is_file():
            raise NoNGram(name)
        return digest, latest.digest

    def ngram_bytes(self, name: str, digest: str) -> bytes:
        """An n-gram model's file. Raises CheckpointError: it is damaged."""
        data = read_bounded(self.root / name / "ngrams" / digest, MAX_NGRAM)
        if hashlib.sha256(data).hexdigest() != digest:
            raise CheckpointError("the n-gram model does not match its digest")
        return data

    def keep_latest(self, name: str, besides: str) -> None:
        """What ``latest`` names stays, whoever takes its place: under the id of its job.

        Args:
            name: the model's.
            besides: the id of a job; what is of it need not stay.
        """
        with self._changing():
            digest = self._read_tag(name, "latest")
            if digest and self._job_of(name, digest) != besides:
                self._keep(name, digest)

    def _keep(self, name: str, digest: str) -> None:
        """Gives a checkpoint the tag of its job, or part of its digest where that is taken."""
        tag = self._job_of(name, digest)
        if not _JOB.fullmatch(tag) or self._read_tag(name, tag) not in (None, digest):
            tag = digest[:22]
        self._write_tag(name, tag, digest)

    def _job_of(self, name: str, digest: str) -> str:
        """The id of the job that made a checkpoint; nothing where it names none."""
        try:
            return str(_read_card(self._directory(name, digest)).get("job_id") or "")
        except CheckpointError:
            return ""

    def delete(self, reference: str) -> None:
        """Removes a tag, or every tag of a name alone, and what no tag names then.

        Raises:
            ValueError: it is not a reference.
            UnknownModel: nothing has that name or tag.
        """
        name, tag = split_reference(reference)
        home = self.root / name
        with self._changing():
            tags = [tag] if ":" in reference else self._tags(name)
            if not any(self._read_tag(name, t) for t in tags):
                raise UnknownModel(reference)
            for t in tags:
                (home / "tags" / t).unlink(missing_ok=True)
            sync_directory(home / "tags")
            self._prune(name)
            # A job may be writing its next checkpoint there.
            if not self._tags(name) and not any(home.glob(".stage-*")):
                doomed = self.root / f".gone-{secrets.token_hex(8)}"
                home.rename(doomed)
                sync_directory(self.root)
                shutil.rmtree(doomed, ignore_errors=True)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One change at a time, in all processes.

        Nobody may prune what was just renamed in and has no tag yet, or remove a home that
        somebody is about to publish in.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".changing").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def resolve(self, reference: str) -> tuple[str, str, str]:
        """Name, tag and digest of a reference.

        Raises:
            ValueError: it is not a reference.
            UnknownModel: nothing has that name or tag, or it is an n-gram model.
        """
        name, tag = split_reference(reference)
        if tag == NGRAM:
            raise NotANetwork(reference)
        digest = self._read_tag(name, tag)
        if digest is None:
            raise UnknownModel(f"{name}:{tag}")
        return name, tag, digest

    def before(self, reference: str) -> str | None:
        """Digest of what a tag named before it named what it does; None if that is not known.

        Raises:
            ValueError: it is not a reference.
        """
        return next(iter(self._read_tag_file(*split_reference(reference))[1:]), None)

    def load(self, name: str, digest: str) -> Checkpoint:
        """Reads and checks a checkpoint.

        Raises:
            CheckpointError: it is damaged.
        """
        return read(self._directory(name, digest))

    @contextmanager
    def opened(self, name: str, digest: str) -> Iterator[dict[str, IO[bytes]]]:
        """A checkpoint's files by name, which stay readable even if it is deleted meanwhile.

        Raises:
            CheckpointError: it is damaged, as far as sizes tell.
        """
        directory = self._directory(name, digest)
        manifest = parse_object(read_bounded(directory / MANIFEST, _MAX_JSON), MANIFEST)
        with ExitStack() as held:
            files = {}
            for file in FILES:
                stated = manifest.get(file)
                files[file] = held.enter_context(open_file(directory / file))
                size = os.fstat(files[file].fileno()).st_size
                if not isinstance(stated, dict) or stated.get("bytes") != size:
                    raise CheckpointError(f"{file} is damaged: it is not as long as it was")
            files[MANIFEST] = held.enter_context(open_file(directory / MANIFEST))
            yield files

    def vocabulary(self, name: str, digest: str) -> Vocabulary:
        """A checkpoint's symbols, without its weights.

        Raises:
            CheckpointError: it is damaged.
        """
        directory = self._directory(name, digest)
        data = read_bounded(directory / "vocab.json", _MAX_JSON)
        return _read_vocabulary(data, _read_config(directory))

    def entry(self, reference: str) -> Entry:
        """A model without its weights.

        Raises:
            UnknownModel: nothing has that name or tag.
            CheckpointError: it is damaged.
        """
        name, tag, digest = self.resolve(reference)
        directory = self._directory(name, digest)
        tags = sorted(t for t in self._tags(name) if self._read_tag(name, t) == digest)
        return Entry(name, tag, digest, tags, _read_config(directory), _read_card(directory))

    def history(self, reference: str) -> list[dict[str, Any]]:
        """Losses and samples over the steps, oldest first.

        Raises:
            UnknownModel: nothing has that name or tag.
            CheckpointError: it is damaged.
        """
        name, _tag, digest = self.resolve(reference)
        data = read_bounded(self._directory(name, digest) / "history.jsonl", _MAX_HISTORY)
        return [_parse_point(line) for line in data.splitlines()]

    def entries(self) -> Iterator[Entry]:
        """Every sound model and tag, in the order of ``references``; damaged ones are left out."""
        for reference in self.references():
            try:
                yield self.entry(reference)
            except (UnknownModel, CheckpointError):
                continue

    def references(self) -> Iterator[str]:
        """``name:tag`` of every model, by name, ``latest`` first."""
        for name in self.names():
            for tag in sorted(self._tags(name), key=lambda t: (t != "latest", t)):
                yield f"{name}:{tag}"

    def names(self) -> list[str]:
        if not self.root.is_dir():
            return []
        found = (p.name for p in self.root.iterdir() if NAME.fullmatch(p.name))
        return sorted(name for name in found if self._tags(name))

    def _tags(self, name: str) -> list[str]:
        directory = self.root / name / "tags"
        if not directory.is_dir():
            return []
        return [p.name for p in directory.iterdir() if TAG.fullmatch(p.name)]

    def _directory(self, name: str, digest: str) -> Path:
        directory = self.root / name / digest
        if not NAME.fullmatch(name) or not DIGEST.fullmatch(digest) or not directory.is_dir():
            raise CheckpointError("the checkpoint is gone")
        return directory

    def _read_tag(self, name: str, tag: str) -> str | None:
        return next(iter(self._read_tag_file(name, tag)), None)

    def _read_tag_file(self, name: str, tag: str) -> list[str]:
        """The digest that a tag names, and the one before."""
        try:
            digests = (self.root / name / "tags" / tag).read_text("ascii").split()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, UnicodeDecodeError):
            return []
        return digests[:2] if all(map(DIGEST.fullmatch, digests)) else []

    def _write_tag(self, name: str, tag: str, *digests: str) -> None:
        write_durably(self.root / name / "tags" / tag, "\n".join(digests).encode("ascii"))

    def _prune(self, name: str) -> None:
        """Removes what no tag names, be it as the one before."""
        named = {digest for tag in self._tags(name) for digest in self._read_tag_file(name, tag)}
        for path in (self.root / name).iterdir():
            if DIGEST.fullmatch(path.name) and path.name not in named:
                # Renamed first: a reader finds the directory whole or gone, never half deleted.
                doomed = path.with_name(f".gone-{secrets.token_hex(8)}")
                path.rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)
        self._prune_ngrams(name, named)

    def _prune_ngrams(self, name: str, checkpoints: set[str]) -> None:
        """Removes n-gram models that no checkpoint names, and that no job is about to name."""
        home = self.root / name
        if not (home / "ngrams").is_dir():
            return
        named = set()
        for digest in checkpoints:
            with suppress(CheckpointError):
                named.add(_read_card(home / digest).get(NGRAM))
        for path in (home / "ngrams").iterdir():
            if path.name not in named and path.stat().st_mtime < time.time() - _ABANDONED:
                path.unlink(missing_ok=True)


def check_tag(name: str, tag: str) -> None:
    """Raises ValueError: a checkpoint can't have that name or tag."""
    split_reference(f"{name}:{tag}")
    if tag == NGRAM:
        raise ValueError(f"the tag {NGRAM} is the n-gram model's: choose another")


def _sweep(home: Path) -> None:
    """Removes what a killed process left half written or half deleted; under the lock."""
    for path in home.glob(".gone-*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in home.glob(".stage-*"):
        # Others write there without the lock.
        with suppress(FileNotFoundError):
            if max(p.stat().st_mtime for p in (path, *path.iterdir())) < time.time() - _ABANDONED:
                shutil.rmtree(path, ignore_errors=True)


def _write(directory: Path, checkpoint: Checkpoint) -> str:
    contents = {
        "config.json": _json({"format": 1, **asdict(checkpoint.config)}),
        "vocab.json": _json(checkpoint.vocabulary.to_json()),
        "model.safetensors": to_safetensors(
            {k: np.ascontiguousarray(v) for k, v in checkpoint.weights.items()}
        ),
        "card.json": _json(checkpoint.card),
        "README.md": _readme(checkpoint).encode(),
        "history.jsonl": b"".join(_json(line, indent=None) for line in checkpoint.history),
        "validation.txt": _validation(checkpoint),
        "lines.u64": checkpoint.lines.astype("<u8").tobytes(),
    }
    for name, data in contents.items():
        if len(data) > _limit(name, checkpoint.config):
            raise CheckpointError(f"{name} would be too large: {len(data)} bytes")
    manifest = {
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
    # Not half a character at the end.
    return data.decode("utf-8", "ignore").encode()


def _limit(name: str, config: NetworkConfig) -> int:
    """Bytes that a file may have."""
    if name == "model.safetensors":
        return 4 * config.parameters() + _MAX_HEADER
    limits = {
        "card.json": _MAX_CARD,
        "history.jsonl": _MAX_HISTORY,
        "validation.txt": VALIDATION_BYTES,
        "lines.u64": 8 * MAX_LINES,
    }
    return limits.get(name, _MAX_JSON)


def _json(value: Any, indent: int | None = 1) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False) + "\n").encode()


def read(directory: Path) -> Checkpoint:
    """Reads a checkpoint directory, trusting nothing in it.

    Raises:
        CheckpointError: saying what is wrong.
    """
    manifest = read_bounded(directory / MANIFEST, _MAX_JSON)
    if hashlib.sha256(manifest).hexdigest() != directory.name:
        raise CheckpointError("the manifest does not match the digest")
    return assemble(lambda name, limit: read_bounded(directory / name, limit))


def assemble(read_file: Callable[[str, int], bytes]) -> Checkpoint:
    """A checkpoint of its files' bytes, none of which is trusted.

    Args:
        read_file: gives the bytes of a file, by name, or raises CheckpointError if it has more
            than so many.

    Raises:
        CheckpointError: saying what is wrong.
    """
    manifest = parse_object(read_file(MANIFEST, _MAX_JSON), MANIFEST)
    config = _parse_config(read_file("config.json", _MAX_JSON))
    contents = {}
    for name in FILES:
        data = read_file(name, _limit(name, config))
        stated = manifest.get(name)
        digest = hashlib.sha256(data).hexdigest()
        if not isinstance(stated, dict) or stated.get("sha256") != digest:
            raise CheckpointError(f"{name} is damaged: its sha256 does not match the manifest")
        contents[name] = data
    vocabulary = _read_vocabulary(contents["vocab.json"], config)
    _check_validation(contents["validation.txt"], vocabulary)
    return Checkpoint(
        config,
        vocabulary,
        _read_weights(contents["model.safetensors"], config),
        _parse_card(contents["card.json"]),
        [_parse_point(line) for line in contents["history.jsonl"].splitlines()],
        contents["validation.txt"],
        _read_lines(contents["lines.u64"]),
    )


def _read_vocabulary(data: bytes, config: NetworkConfig) -> Vocabulary:
    try:
        vocabulary = Vocabulary.from_json(parse_object(data, "vocab.json"))
    except ValueError as error:
        raise CheckpointError(f"vocab.json: {error}") from None
    if len(vocabulary) != config.vocabulary_size:
        raise CheckpointError("vocab.json and config.json disagree about the vocabulary's size")
    return vocabulary


def _read_lines(data: bytes) -> Lines:
    if len(data) % 8:
        raise CheckpointError("lines.u64 is truncated")
    lines = np.frombuffer(data, dtype="<u8")
    # They are looked up by halves, which finds nothing where they are in no order.
    if not (lines[1:] > lines[:-1]).all():
        raise CheckpointError("the hashes in lines.u64 do not increase")
    return lines


def _read_weights(data: bytes, config: NetworkConfig) -> Weights:
    """Weights of the shapes that the config says; the header is compared before they are read."""
    if len(data) < 8:
        raise CheckpointError("model.safetensors is truncated")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(_MAX_HEADER, len(data) - 8):
        raise CheckpointError("model.safetensors has no sound header")
    header = parse_object(data[8 : 8 + length], "model.safetensors")
    header.pop("__metadata__", None)
    declared = {
        name: (entry.get("shape"), entry.get("dtype"))
        for name, entry in header.items()
        if isinstance(entry, dict)
    }
    if declared != {name: (list(shape), "F32") for name, shape in config.shapes().items()}:
        raise CheckpointError("model.safetensors does not hold the weights that config.json says")
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
        raise CheckpointError("validation.txt is no text in the model's vocabulary")


def _read_config(directory: Path) -> NetworkConfig:
    return _parse_config(read_bounded(directory / "config.json", _MAX_JSON))


def _parse_config(content: bytes) -> NetworkConfig:
    data = parse_object(content, "config.json")
    if data.pop("format", None) != 1:
        raise CheckpointError("config.json is of a format that this version doesn't read")
    try:
        return NetworkConfig(**data)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"config.json: {error}") from None


def _read_card(directory: Path) -> dict[str, Any]:
    return _parse_card(read_bounded(directory / "card.json", _MAX_CARD))


def _parse_card(content: bytes) -> dict[str, Any]:
    """A card whose well-known parts are what their names say; it may have others."""
    card = parse_object(content, "card.json")
    parts: dict[str, dict[str, Any]] = {"": card}
    for name in ("baseline", "corpus", "options", "precision"):
        part = card.get(name)
        if not isinstance(part, dict | None):
            raise CheckpointError(f"card.json: {name} is not an object")
        parts[name] = part or {}
    for part, name in _NUMBERS:
        if not _is_number(parts[part].get(name)):
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
_LINES = ("created_at", "device", "job_id", NGRAM)


def _is_number(value: Any) -> bool:
    """A number that any arithmetic can be done with, or none."""
    if isinstance(value, bool):
        return False
    return value is None or (isinstance(value, int | float) and abs(value) <= _MAX_NUMBER)


def _is_line(value: Any) -> bool:
    """A text that a terminal can show in a line, or none."""
    return value is None or (isinstance(value, str) and value.isprintable())


def _parse_point(line: bytes) -> dict[str, Any]:
    point = parse_object(line, "history.jsonl")
    numbers = all(_is_number(point.get(n)) for n in ("train_loss", "val_loss", "temperature"))
    step = point.get("step")
    if type(step) is not int or not _is_number(step) or not numbers:
        raise CheckpointError("history.jsonl: a figure is no number")
    if not isinstance(point.get("text", ""), str):
        raise CheckpointError("history.jsonl: a sample is no text")
    return point


def _readme(checkpoint: Checkpoint) -> str:
    """The model card."""
    config, card = checkpoint.config, checkpoint.card
    corpus = card.get("corpus") or {}
    loss = card.get("val_loss")
    lines = [
        "# Model card",
        "",
        f"A character-level {config.kind.upper()} of {config.num_layers} layers of "
        f"{config.hidden_size} cells ({config.parameters():,} parameters) over "
        f"{config.vocabulary_size} {checkpoint.vocabulary.tokens}.",
        "",
        f"- corpus: sha256 {corpus.get('id')}, {corpus.get('characters')} characters",
        f"- trained: {card.get('step')} steps by job {card.get('job_id')}, "
        f"{card.get('created_at')}",
        f"- device: {card.get('device')}",
    ]
    if loss is not None:
        lines.append(
            f"- validation loss: {loss:.4f} nats per character ({loss / np.log(2):.4f} bits)"
        )
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

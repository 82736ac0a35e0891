"""One stored checkpoint: its parts read one by one, each compared with the manifest.

Who needs all of it reads it with ``models.checkpoints.format.read``. Knows no name and no tag.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from models.checkpoints.card import MAX_CARD, Card, parse_card
from models.checkpoints.format import (
    FILES,
    LINES,
    MANIFEST,
    MAX_JSON,
    WEIGHTS,
    parse_config,
    read_vocabulary,
)
from models.checkpoints.history import HistoryPoint, read_history
from models.config import NetworkConfig
from models.files import CheckpointError, open_file, parse_object, read_bounded
from models.places import is_directory
from models.text.vocab import Vocabulary

_MOST_KNOWN = 10_000

Signature = tuple[tuple[int, int] | None, ...]
"""Sizes and times of a checkpoint's files: while they are the same, so is the checkpoint."""


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """The checkpoint in a directory, whose name is its digest."""

    directory: Path

    @property
    def is_there(self) -> bool:
        return is_directory(self.directory)

    def signature(self) -> Signature:
        return tuple(map(_signature, (self.directory / file for file in (MANIFEST, *FILES))))

    def examine(self) -> tuple[NetworkConfig, Card, bool]:
        """Reads what describes the checkpoint, and whether it has the lines of a list.

        Raises:
            CheckpointError: that is damaged.
        """
        manifest = self._manifest()
        config = parse_config(self._read(manifest, "config.json", MAX_JSON))
        card = parse_card(self._read(manifest, "card.json", MAX_CARD))
        lines = manifest.get(LINES)
        return config, card, isinstance(lines, dict) and bool(lines.get("bytes"))

    def check(self) -> None:
        """Reads everything but the weights, of which it compares the size.

        Raises:
            CheckpointError: it is damaged.
        """
        manifest = self._manifest()
        for name in FILES:
            with open_file(self.directory / name) as file:
                if name == WEIGHTS:
                    _check_size(file, manifest, name)
                else:
                    _check(file, manifest, name)
        self.examine()

    def card(self) -> Card:
        """Raises CheckpointError."""
        return parse_card(self._read(self._manifest(), "card.json", MAX_CARD))

    def vocabulary(self) -> Vocabulary:
        """Raises CheckpointError."""
        manifest = self._manifest()
        config = parse_config(self._read(manifest, "config.json", MAX_JSON))
        return read_vocabulary(self._read(manifest, "vocab.json", MAX_JSON), config)

    def history(self) -> list[HistoryPoint]:
        """The losses, then the samples, over the steps, oldest first, thinned.

        Raises:
            CheckpointError: it is damaged.
        """
        with open_file(self.directory / "history.jsonl") as file:
            _check(file, self._manifest(), "history.jsonl")
            return read_history(file)

    @contextmanager
    def opened(self) -> Iterator[dict[str, IO[bytes]]]:
        """Opens the files, by name; they stay readable even if the checkpoint is deleted meanwhile.

        Raises:
            CheckpointError: one is missing or damaged.
        """
        manifest = self._manifest()
        with ExitStack() as held:
            files = {}
            for name in FILES:
                files[name] = held.enter_context(open_file(self.directory / name))
                _check(files[name], manifest, name)
            files[MANIFEST] = held.enter_context(open_file(self.directory / MANIFEST))
            yield files

    def _manifest(self) -> dict[str, Any]:
        data = read_bounded(self.directory / MANIFEST, MAX_JSON)
        if hashlib.sha256(data).hexdigest() != self.directory.name:
            raise CheckpointError("the manifest does not match the digest")
        return parse_object(data, MANIFEST)

    def _read(self, manifest: dict[str, Any], name: str, limit: int) -> bytes:
        data = read_bounded(self.directory / name, limit)
        _compare(hashlib.sha256(data).hexdigest(), manifest, name)
        return data


class Soundness:
    """What this process found out about checkpoints, so that it need not look at each use.

    ``damaged`` are the directories of those that cannot be used.
    """

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Signature, str | None]] = {}

    @property
    def damaged(self) -> set[Path]:
        known = list(self._known.items())
        return {path for path, (_, damage) in known if damage and is_directory(path)}

    def damage(self, stored: StoredCheckpoint) -> str | None:
        """Says what is wrong with a checkpoint: damage that was noted, else what shows at once."""
        signature = stored.signature()
        known = self._known.get(stored.directory)
        if known is None or known[0] != signature:
            try:
                stored.check()
                damage = None
            except CheckpointError as error:
                damage = str(error)
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            known = self._known[stored.directory] = (signature, damage)
        return known[1]

    def first(self, directories: Iterable[Path]) -> tuple[str | None, list[str]]:
        """The digest of the first sound checkpoint, and what is wrong with those before it."""
        wrong: list[str] = []
        for directory in directories:
            damage = self.damage(StoredCheckpoint(directory))
            if damage is None:
                return directory.name, wrong
            wrong.append(damage)
        return None, wrong

    @contextmanager
    def noting(self, stored: StoredCheckpoint) -> Iterator[None]:
        """Notes the damage that reading a checkpoint finds in the block, and raises it."""
        signature = stored.signature()
        try:
            yield
        except CheckpointError as error:
            if stored.is_there:
                self._known[stored.directory] = (signature, str(error))
            raise


def _signature(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _check(file: IO[bytes], manifest: dict[str, Any], name: str) -> None:
    _check_size(file, manifest, name)
    # mypy knows only files that can be read into a buffer, which these can.
    _compare(hashlib.file_digest(file, "sha256").hexdigest(), manifest, name)  # type: ignore[arg-type]
    file.seek(0)


def _check_size(file: IO[bytes], manifest: dict[str, Any], name: str) -> None:
    stated = manifest.get(name)
    size = file.seek(0, 2)
    file.seek(0)
    if not isinstance(stated, dict) or stated.get("bytes") != size:
        raise CheckpointError(f"{name} is damaged: its size is not the one in the manifest")


def _compare(digest: str, manifest: dict[str, Any], name: str) -> None:
    stated = manifest.get(name)
    if not isinstance(stated, dict) or stated.get("sha256") != digest:
        raise CheckpointError(f"{name} is damaged: its sha256 does not match the manifest")

"""Converts a text file to ids: scans it, encodes it to disk, splits it for training.

Reads the file in blocks, never as a whole, so only the disk limits its size. Knows no upload and no
job.
"""

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from models.arrays import AnyIds, Ids
from models.config import MAX_VOCABULARY
from models.text.cleaning import (
    MIN_CHARACTERS,
    Cleaner,
    CorpusError,
    about_markup,
    about_raw_bytes,
    blocks,
    refuse_at_once,
    refuse_controls,
    symbols,
)
from models.text.doctor import Examination, InvisibleSymbol, RareSymbol
from models.text.vocab import Tokens, Vocabulary


@dataclass(slots=True)
class ScanReport:
    """The results of scanning a corpus. ``characters`` counts bytes if ``tokens`` is bytes.

    ``rare`` are the symbols seen fewer than ``RARE`` times, rarest first, at most ``MAX_RARE``.
    ``invisible`` are those that nobody sees in the text, most frequent first.
    ``duplicate_line_share`` is the share of lines that occur earlier in the text, not counting
    empty ones; None without lines. ``preset`` is the one that suits the text.
    """

    bytes: int
    characters: int
    distinct: int
    tokens: Tokens
    encoding: str
    line_ends: Literal["lf", "crlf", "cr", "mixed", "none"]
    lines: int
    normalised: list[str] = field(default_factory=list)
    rare: list[RareSymbol] = field(default_factory=list)
    unprintable: list[str] = field(default_factory=list)
    invisible: list[InvisibleSymbol] = field(default_factory=list)
    duplicate_line_share: float | None = None
    preset: str = "auto"
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Scan:
    report: ScanReport
    vocabulary: Vocabulary


def scan(path: Path, tokens: Tokens = "characters") -> Scan:
    """Reads a text once and describes it.

    Raises:
        CorpusError: it is too small or too uniform, has too many distinct characters, or is not
            UTF-8 although ``tokens`` is characters.
    """
    size = path.stat().st_size
    if size == 0:
        raise CorpusError(f"the text is empty: send at least {MIN_CHARACTERS} characters")
    if tokens == "characters":
        with path.open("rb") as file:
            refuse_at_once(file)
    cleaner = Cleaner()
    found = Examination(tokens)
    for block in blocks(path, tokens, cleaner):
        found.read(symbols(block), block)
    if found.is_binary:
        refuse_controls(path)
    present, total = found.present, found.total
    unit = "bytes" if tokens == "bytes" else "characters"
    if total < MIN_CHARACTERS:
        counted = unit[:-1] if total == 1 else unit
        raise CorpusError(f"the text has {total} {counted}: send at least {MIN_CHARACTERS}")
    if len(present) < 2:
        raise CorpusError(
            f"the text repeats one {unit[:-1]}, so there is nothing to learn: send a text with at "
            "least 2 distinct ones"
        )
    if len(present) > MAX_VOCABULARY:
        raise CorpusError(
            f"the text has {len(present)} distinct characters, more than {MAX_VOCABULARY}: "
            "it was probably read with the wrong encoding. Pass tokens=bytes to train on its bytes"
        )
    vocabulary = Vocabulary(tokens, present.tolist())
    newlines = int(found.counts[0x0A])
    duplicates = found.duplicate_line_share()
    report = ScanReport(
        bytes=size,
        characters=total,
        distinct=len(present),
        tokens=tokens,
        encoding="bytes" if tokens == "bytes" else "ascii" if present[-1] < 128 else "utf-8",
        line_ends=cleaner.line_ends() if tokens == "characters" else "lf" if newlines else "none",
        lines=newlines,
        normalised=cleaner.normalised(),
        rare=found.rare(vocabulary),
        unprintable=found.unprintable(),
        invisible=found.invisible(),
        duplicate_line_share=duplicates,
        preset="names" if found.is_list else "auto",
        warnings=[
            *(about_raw_bytes(path) if tokens == "bytes" else []),
            *about_markup(path),
            *found.warnings(duplicates),
        ],
    )
    return Scan(report, vocabulary)


def encode(path: Path, vocabulary: Vocabulary, target: Path) -> None:
    """Writes a text's ids to ``target``: little-endian unsigned integers without a header.

    Their type is ``id_type(vocabulary)``. The file is written next to the target, then renamed.

    Raises:
        CorpusError: a symbol of the text is not in the vocabulary.
    """
    staged = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    dtype = id_type(vocabulary)
    try:
        with staged.open("wb") as file:
            for block in blocks(path, vocabulary.tokens, Cleaner()):
                ids = vocabulary.lookup(symbols(block))
                if (ids < 0).any():
                    raise CorpusError("the vocabulary belongs to another text")
                file.write(ids.astype(dtype).tobytes())
            file.flush()
            os.fsync(file.fileno())
        staged.replace(target)
    finally:
        staged.unlink(missing_ok=True)


def id_type(vocabulary: Vocabulary) -> np.dtype[Any]:
    return np.dtype("u1") if len(vocabulary) <= 256 else np.dtype("<u2")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Encoded ids, memory-mapped, split into a training part and the tail for validation.

    ``train`` and ``validation`` are views of one array, shape [characters].
    """

    vocabulary: Vocabulary
    train: AnyIds
    validation: AnyIds

    @classmethod
    def open(
        cls,
        path: Path,
        vocabulary: Vocabulary,
        validation_fraction: float,
        *,
        shuffle_lines: bool = False,
    ) -> "Corpus":
        """Opens an encoded text and splits it.

        Args:
            path: of the ids.
            vocabulary: of the ids.
            validation_fraction: share of the characters to hold out.
            shuffle_lines: for a list, whose order does not matter: arranges its lines in a fixed
                random order before the tail is split off. Most lists are sorted, so otherwise the
                tail would differ from the rest.
        """
        ids: AnyIds = np.memmap(path, dtype=id_type(vocabulary), mode="r")
        # Both parts need a character and its successor.
        held = min(max(2, round(len(ids) * validation_fraction)), len(ids) - 2)
        if shuffle_lines:
            lines = ListLines(ids, vocabulary.start_id)
            ids = lines.arranged(0)
            ends = np.flatnonzero(ids == vocabulary.start_id) + 1
            whole = np.abs(ends - (len(ids) - held))
            cut = int(ends[np.argmin(whole)])
            if 2 <= cut <= len(ids) - 2:
                held = len(ids) - cut
        return cls(vocabulary, ids[: len(ids) - held], ids[len(ids) - held :])


def read_ids(path: Path, vocabulary: Vocabulary) -> AnyIds:
    """Returns an encoded text in memory: where a mapped file is truncated, the process dies."""
    ids: AnyIds = np.fromfile(path, dtype=id_type(vocabulary))
    return ids


class ListLines:
    """The lines of a list, for arranging them in random orders.

    Args:
        ids: shape [characters].
        newline: id of the line end; it is appended to a last line without one.
    """

    def __init__(self, ids: AnyIds, newline: int) -> None:
        if ids[-1] != newline:
            ids = np.append(ids, ids.dtype.type(newline))
        self.ids = np.asarray(ids)
        ends = np.flatnonzero(self.ids == newline) + 1
        self._starts = np.concatenate(([0], ends[:-1]))
        self._lengths = ends - self._starts

    def places(self, number: int) -> Ids:
        """Returns where each id stands with all lines in an order that depends only on its number.

        Shape [characters].
        """
        order = np.random.default_rng(number).permutation(len(self._starts))
        lengths = self._lengths[order]
        begins = np.cumsum(lengths) - lengths
        places: Ids = np.repeat(self._starts[order] - begins, lengths)
        places += np.arange(len(places))
        return places

    def arranged(self, number: int) -> AnyIds:
        """Returns the ids with all lines in that order."""
        arranged: AnyIds = self.ids[self.places(number)]
        return arranged

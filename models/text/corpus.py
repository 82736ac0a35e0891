"""Converts a text file to ids: scans it, encodes it to disk, splits it for training.

Reads the file in blocks, never as a whole, so only the disk limits its size. Knows no upload and no
job.
"""

import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import numpy as np

from models.arrays import AnyIds, Ids
from models.config import MAX_VOCABULARY
from models.styles import TextPart, distinct
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
from models.text.spans import Spans
from models.text.vocab import Tokens, Vocabulary

PIECE = 4096
"""Characters of a piece of a long held-out part."""


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


class WrongParts(CorpusError):
    """The parts that a text is said to have are not its own; the message is a sentence's end."""

    code = "wrong_parts"


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


def spans_of(path: Path, tokens: Tokens, parts: Sequence[TextPart]) -> Spans:
    """Returns where the parts of a text end once it is encoded, and each one's style.

    Raises:
        WrongParts: the text does not have these, or one is too small; as a sentence's end.
        NotUtf8: it is not UTF-8 text.
    """
    size, told = path.stat().st_size, sum(part.bytes for part in parts)
    if size != told:
        raise WrongParts(f"must have parts of {size:,} bytes together, as the text has")
    ends = list(accumulate(part.bytes for part in parts))
    begins = [0, *ends[:-1]]
    if tokens == "characters":
        _check_lines_begin(path, begins)
    lengths = [_symbols_in(path, tokens, *part) for part in zip(begins, ends, strict=True)]
    if min(lengths) < MIN_CHARACTERS:
        number = lengths.index(min(lengths)) + 1
        raise WrongParts(
            f"must have parts of at least {MIN_CHARACTERS} characters: number {number} has "
            f"{min(lengths)}"
        )
    styles = distinct(parts)
    return Spans.of(lengths, [styles.index(part.style) for part in parts])


def _symbols_in(path: Path, tokens: Tokens, begin: int, end: int) -> int:
    """Returns the number of symbols in a part of a text, in bytes. Raises NotUtf8."""
    if tokens == "bytes":
        return end - begin
    return sum(map(len, Cleaner().blocks(path, begin, end)))


def _check_lines_begin(path: Path, begins: Sequence[int]) -> None:
    """Raises WrongParts for a part whose first character may belong to the one before."""
    with path.open("rb") as file:
        for begin in begins:
            file.seek(max(0, begin - 1))
            if begin and file.read(1) != b"\n":
                raise WrongParts("must have parts that begin a line of the text")


def id_type(vocabulary: Vocabulary) -> np.dtype[Any]:
    return np.dtype("u1") if len(vocabulary) <= 256 else np.dtype("<u2")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Encoded ids, memory-mapped, split into a training part and the tail for validation.

    ``train`` and ``validation`` are views of one array, shape [characters]. Of a corpus of several
    texts both are in memory, with the tail of each text in the latter, and ``styles`` and
    ``validation_styles`` say which text each id is of.
    """

    vocabulary: Vocabulary
    train: AnyIds
    validation: AnyIds
    styles: Spans | None = None
    validation_styles: Spans | None = None

    @classmethod
    def open(
        cls,
        path: Path,
        vocabulary: Vocabulary,
        validation_fraction: float,
        *,
        shuffle_lines: bool = False,
        styles: Spans | None = None,
    ) -> "Corpus":
        """Opens an encoded text and splits it.

        Args:
            path: of the ids.
            vocabulary: of the ids.
            validation_fraction: share of the characters to hold out.
            shuffle_lines: for a list, whose order does not matter: arranges its lines in a fixed
                random order before the tail is split off. Most lists are sorted, so otherwise the
                tail would differ from the rest.
            styles: of its ids, if it is of several texts. Each is split by itself.

        Raises:
            CorpusError: the styles are those of another text.
        """
        ids: AnyIds = np.memmap(path, dtype=id_type(vocabulary), mode="r")
        if styles is not None and styles.ends[-1] != len(ids):
            raise CorpusError("the styles belong to another text")
        if styles is None:
            cut = _Cut.of(ids, vocabulary, validation_fraction, shuffle_lines=shuffle_lines)
            return cls(vocabulary, cut.train, cut.held)
        cuts = [
            _Cut.of(ids[begin:end], vocabulary, validation_fraction, shuffle_lines=shuffle_lines)
            for begin, end in zip(styles.begins.tolist(), styles.ends.tolist(), strict=True)
        ]
        train, held = ([getattr(cut, name) for cut in cuts] for name in ("train", "held"))
        return cls(
            vocabulary,
            np.concatenate(train),
            np.concatenate(held),
            Spans.of(map(len, train), styles.styles),
            Spans.of(map(len, held), styles.styles),
        )

    def held_out(self, most: int) -> tuple[AnyIds, Spans | None]:
        """Returns what to judge a network on: the held-out part, or, if it is longer than ``most``
        ids, pieces of all of it; and their styles.

        Of several texts it is as much of each one's as its share.
        """
        return self._shares(most, _pieces)

    def beginning(self, most: int) -> tuple[AnyIds, Spans | None]:
        """Returns the beginning of the held-out part, at most so many ids, and their styles.

        Of several texts it is the beginning of each one's.
        """
        return self._shares(most, lambda ids, share: ids[:share])

    def _shares(
        self, most: int, part: Callable[[AnyIds, int], AnyIds]
    ) -> tuple[AnyIds, Spans | None]:
        styles = self.validation_styles
        if len(self.validation) <= most:
            return self.validation, styles
        if styles is None:
            return part(self.validation, most), None
        bounds = zip(styles.begins.tolist(), styles.ends.tolist(), strict=True)
        parts = [
            part(self.validation[begin:end], (end - begin) * most // len(self.validation))
            for begin, end in bounds
        ]
        return np.concatenate(parts), Spans.of(map(len, parts), styles.styles)


def _pieces(ids: AnyIds, most: int) -> AnyIds:
    """Returns pieces at equal distances, ``most`` ids together; their number must be larger.

    A long text is often made of many files, and its beginning says little of the rest.
    """
    count = max(1, most // PIECE)
    length = most // count
    begins = np.linspace(0, len(ids) - length, count).astype(np.int64)
    return np.concatenate([ids[begin : begin + length] for begin in begins.tolist()])


@dataclass(frozen=True, slots=True)
class _Cut:
    """The ids of a text, split."""

    train: AnyIds
    held: AnyIds

    @classmethod
    def of(
        cls, ids: AnyIds, vocabulary: Vocabulary, validation_fraction: float, *, shuffle_lines: bool
    ) -> "_Cut":
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
        return cls(ids[: len(ids) - held], ids[len(ids) - held :])


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

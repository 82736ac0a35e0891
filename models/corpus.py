"""A text file made into ids: scanned, cleaned, encoded to disk, cut into batches.

Reads the file in blocks and never holds it whole, so its size is bounded by the disk alone.
Knows nothing of uploads or jobs.
"""

import codecs
import os
import re
import secrets
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.config import MAX_VOCABULARY
from models.vocab import Tokens, Vocabulary, compose, name_character

MIN_CHARACTERS = 100
_BLOCK = 1 << 20
_CODE_POINTS = 0x110000

AnyIds = NDArray[np.unsignedinteger[Any]]


class CorpusError(ValueError):
    """A text that nothing can be trained on; the message says why and what to do."""


class NotUtf8(CorpusError):
    """Bytes that are not UTF-8; ``offset`` is the first one's, counted from 0."""

    def __init__(self, offset: int, guess: str) -> None:
        self.offset = offset
        super().__init__(
            f"the text is not UTF-8: the byte at offset {offset} does not fit ({guess}). "
            "Convert it to UTF-8, or train on its bytes as they are with tokens=bytes"
        )


@dataclass(slots=True)
class Report:
    """What a scan of a corpus found. ``characters`` counts bytes where ``tokens`` is bytes.

    ``rare`` are the symbols seen fewer than ``RARE`` times, the rarest first, at most
    ``MAX_RARE`` of them. ``duplicate_line_share`` is that of the lines that stand earlier in the
    text too, empty ones aside; None without lines. ``preset`` is the one that suits the text.
    """

    bytes: int
    characters: int
    distinct: int
    tokens: Tokens
    encoding: str
    line_ends: Literal["lf", "crlf", "cr", "mixed", "none"]
    lines: int
    normalised: list[str] = field(default_factory=list)
    rare: list[dict[str, Any]] = field(default_factory=list)
    unprintable: list[str] = field(default_factory=list)
    duplicate_line_share: float | None = None
    preset: str = "auto"
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class Scan:
    report: Report
    vocabulary: Vocabulary


class _Cleaner:
    """Bytes to clean text, block by block; remembers what it changed.

    Drops a byte order mark, makes CRLF and CR into LF, applies NFC. A block's end is held back
    to the last place where what follows cannot change what stands before.
    """

    def __init__(self) -> None:
        self.bom = False
        self.crlf = 0
        self.cr = 0
        self.lf = 0
        self.nfc = False

    def blocks(self, path: Path) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")("strict")
        offset = 0
        held = ""
        with path.open("rb") as file:
            first = True
            while True:
                data = file.read(_BLOCK)
                pending = len(decoder.getstate()[0])
                try:
                    text = decoder.decode(data, final=not data)
                except UnicodeDecodeError as error:
                    at = offset - pending + error.start
                    raise NotUtf8(at, guess_encoding(path, at)) from None
                offset += len(data)
                if first and text:
                    first = False
                    if text.startswith("\ufeff"):
                        self.bom = True
                        text = text[1:]
                text = held + text
                if not data:
                    if text:
                        yield self._clean(text)
                    return
                cut = _safe_cut(text)
                held = text[cut:]
                if cut:
                    yield self._clean(text[:cut])

    def _clean(self, text: str) -> str:
        if "\r" in text:
            crlf = text.count("\r\n")
            self.crlf += crlf
            self.cr += text.count("\r") - crlf
            self.lf += text.count("\n") - crlf
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        else:
            self.lf += text.count("\n")
        composed = compose(text)
        self.nfc = self.nfc or composed != text
        return composed

    def line_ends(self) -> Literal["lf", "crlf", "cr", "mixed", "none"]:
        kinds: list[Literal["lf", "crlf", "cr"]] = []
        if self.lf:
            kinds.append("lf")
        if self.crlf:
            kinds.append("crlf")
        if self.cr:
            kinds.append("cr")
        return kinds[0] if len(kinds) == 1 else "mixed" if kinds else "none"

    def normalised(self) -> list[str]:
        changes = []
        if self.bom:
            changes.append("byte order mark dropped")
        if self.crlf:
            changes.append(f"{self.crlf} CRLF line ends made LF")
        if self.cr:
            changes.append(f"{self.cr} CR line ends made LF")
        if self.nfc:
            changes.append("Unicode composed (NFC)")
        return changes


# Characters that never compose with what stands before them, the common ones.
_BOUNDARY = re.compile(r"[\x00-\x7f\u3400-\u4dbf\u4e00-\u9fff]")
# Letters that do, beside the combining marks: the later jamo of a Hangul syllable, a Kirat Rai
# vowel.
_JOINING = re.compile(r"[\u1160-\u11ff\U00016d67]")


def _safe_cut(text: str) -> int:
    """Where a block may be cut so that normalising its halves is normalising the whole."""
    indexes = range(len(text) - 1, max(0, len(text) - 4096) - 1, -1)
    for separates in (_BOUNDARY.match, _separates):
        for index in indexes:
            if text[max(0, index - 1) : index + 1] != "\r\n" and separates(text[index]):
                return index
    # 4096 marks or vowels in a row are no text: cut anywhere, so that memory stays bounded.
    return len(text) if len(text) >= 4096 else 0


def _separates(character: str) -> bool:
    return unicodedata.category(character)[0] != "M" and not _JOINING.match(character)


def guess_encoding(path: Path, offset: int) -> str:
    """In words, what the bytes around an offset seem to be."""
    with path.open("rb") as file:
        head = file.read(4096)
        file.seek(max(0, offset - 2048))
        near = file.read(4096)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "it starts like UTF-16"
    if head.count(0) > len(head) // 3:
        return "it looks like UTF-16 without a byte order mark, or like a binary file"
    control = sum(b < 9 or 13 < b < 32 for b in head + near)
    if control * 20 > len(head) + len(near):
        return "it looks like a binary file"
    if any(b >= 0x80 for b in near[: min(offset, 2048)]):
        return "what stands before it is UTF-8: the file seems damaged or cut off there"
    if any(0x80 <= b < 0xA0 for b in near):
        return "it looks like Windows-1252"
    return "it looks like Latin-1"


def scan(path: Path, tokens: Tokens = "characters") -> Scan:
    """Reads a text once and says what it is.

    Raises:
        CorpusError: it is too small, too uniform, has too many distinct characters, or is not
            UTF-8 where characters are asked for.
    """
    size = path.stat().st_size
    if size == 0:
        raise CorpusError(f"the text is empty: send at least {MIN_CHARACTERS} characters")
    counts = np.zeros(256 if tokens == "bytes" else _CODE_POINTS, dtype=np.int64)
    cleaner = _Cleaner()
    for symbols in _symbols(path, tokens, cleaner):
        block = np.bincount(symbols)
        counts[: len(block)] += block
    present = np.flatnonzero(counts)
    total = int(counts.sum())
    unit = "bytes" if tokens == "bytes" else "characters"
    if total < MIN_CHARACTERS:
        raise CorpusError(f"the text has {total} {unit}: send at least {MIN_CHARACTERS}")
    if len(present) < 2:
        raise CorpusError(
            f"the text repeats one {unit[:-1]}: nothing to learn. Send one with at least 2 distinct"
        )
    if len(present) > MAX_VOCABULARY:
        raise CorpusError(
            f"the text has {len(present)} distinct characters, more than {MAX_VOCABULARY}: "
            "its encoding was probably read wrongly. Train on its bytes with tokens=bytes"
        )
    newlines = int(counts[0x0A])
    report = Report(
        bytes=size,
        characters=total,
        distinct=len(present),
        tokens=tokens,
        encoding="bytes" if tokens == "bytes" else "ascii" if present[-1] < 128 else "utf-8",
        line_ends=cleaner.line_ends() if tokens == "characters" else "lf" if newlines else "none",
        lines=newlines,
        normalised=cleaner.normalised(),
    )
    if tokens == "characters":
        odd = [chr(p) for p in present.tolist() if unicodedata.category(chr(p)) in ("Cc", "Co")]
        report.unprintable = [name_character(c) for c in odd if c not in "\n\t"]
    if report.unprintable:
        report.warnings.append("it holds control characters: " + ", ".join(report.unprintable[:10]))
    return Scan(report, Vocabulary(tokens, present.tolist()))


def _symbols(path: Path, tokens: Tokens, cleaner: _Cleaner) -> Iterator[AnyIds]:
    """A file's code points or bytes, in blocks."""
    if tokens == "bytes":
        with path.open("rb") as file:
            while data := file.read(_BLOCK):
                yield np.frombuffer(data, dtype=np.uint8)
    else:
        for text in cleaner.blocks(path):
            yield np.frombuffer(text.encode("utf-32-le"), dtype="<u4")


def encode(path: Path, vocabulary: Vocabulary, target: Path) -> None:
    """Writes a text's ids to ``target``: one little-endian unsigned integer each, no header.

    The width is ``id_type(vocabulary)``. Written beside the target and renamed onto it.

    Raises:
        CorpusError: the text holds what the vocabulary does not.
    """
    staged = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    dtype = id_type(vocabulary)
    try:
        with staged.open("wb") as file:
            for symbols in _symbols(path, vocabulary.tokens, _Cleaner()):
                ids = vocabulary.lookup(symbols)
                if (ids < 0).any():
                    raise CorpusError("the vocabulary is of another text")
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
    """Encoded ids, memory-mapped, cut into a training part and the tail for validation.

    ``train`` and ``validation`` are views of one array, shape [characters].
    """

    vocabulary: Vocabulary
    train: AnyIds
    validation: AnyIds

    @classmethod
    def open(cls, path: Path, vocabulary: Vocabulary, validation_fraction: float) -> "Corpus":
        ids = np.memmap(path, dtype=id_type(vocabulary), mode="r")
        # Both parts need a character and its successor.
        held = min(max(2, round(len(ids) * validation_fraction)), len(ids) - 2)
        return cls(vocabulary, ids[: len(ids) - held], ids[len(ids) - held :])


class Batches:
    """Endless contiguous batches: row b goes on at step t + 1 where it stopped at step t.

    The text is a ring and the rows start at equal distances on it, so the carried state always
    belongs to what comes next; row b reads on into where row b + 1 began. A batch is a pure
    function of its step: there is no position to save.

    Args:
        ids: shape [characters].
        batch_size, sequence_length: the shape of a batch.
    """

    def __init__(self, ids: AnyIds, batch_size: int, sequence_length: int) -> None:
        self.ids = ids
        self.sequence_length = sequence_length
        self.starts = np.arange(batch_size) * len(ids) // batch_size
        self.characters = batch_size * sequence_length

    def batch(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Inputs and targets of a step (counted from 0), each [time, batch]."""
        length = self.sequence_length
        total = len(self.ids)
        window = np.empty((len(self.starts), length + 1), dtype=np.int64)
        for row, start in enumerate(self.starts):
            begin = (int(start) + step * length) % total
            end = begin + length + 1
            if end <= total:
                window[row] = self.ids[begin:end]
            else:
                window[row] = self.ids.take(np.arange(begin, end), mode="wrap")
        columns = np.ascontiguousarray(window.T)
        return columns[:-1], columns[1:]

    def epoch(self, step: int) -> float:
        """Passes over the text after a number of steps."""
        return step * self.characters / len(self.ids)

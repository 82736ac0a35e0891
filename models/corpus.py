"""A text file made into ids: scanned, cleaned, encoded to disk, cut into batches.

Reads the file in blocks and never holds it whole, so its size is bounded by the disk alone.
Knows nothing of uploads or jobs.
"""

import codecs
import os
import re
import secrets
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.arrays import AnyIds
from models.config import MAX_VOCABULARY
from models.doctor import Examination
from models.vocab import Tokens, Vocabulary, compose

MIN_CHARACTERS = 100
_BLOCK = 1 << 20


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


def cleaned(path: Path) -> str:
    """A text as it is trained on, all of it at once.

    Raises:
        NotUtf8: it is none.
    """
    return "".join(_Cleaner().blocks(path))


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
    cleaner = _Cleaner()
    found = Examination(tokens)
    for block in _blocks(path, tokens, cleaner):
        found.read(_symbols(block), block)
    present, total = found.present, found.total
    unit = "bytes" if tokens == "bytes" else "characters"
    if total < MIN_CHARACTERS:
        counted = unit[:-1] if total == 1 else unit
        raise CorpusError(f"the text has {total} {counted}: send at least {MIN_CHARACTERS}")
    if len(present) < 2:
        raise CorpusError(
            f"the text repeats one {unit[:-1]}: nothing to learn. Send one with at least 2 distinct"
        )
    if len(present) > MAX_VOCABULARY:
        raise CorpusError(
            f"the text has {len(present)} distinct characters, more than {MAX_VOCABULARY}: "
            "its encoding was probably read wrongly. Train on its bytes with tokens=bytes"
        )
    vocabulary = Vocabulary(tokens, present.tolist())
    newlines = int(found.counts[0x0A])
    duplicates = found.duplicate_line_share()
    report = Report(
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
        duplicate_line_share=duplicates,
        preset="names" if found.is_list else "auto",
        warnings=found.warnings(duplicates),
    )
    return Scan(report, vocabulary)


def _blocks(path: Path, tokens: Tokens, cleaner: _Cleaner) -> Iterator[str | bytes]:
    """A file as clean text, or as the bytes that it is."""
    if tokens == "characters":
        yield from cleaner.blocks(path)
    else:
        with path.open("rb") as file:
            while data := file.read(_BLOCK):
                yield data


def _symbols(block: str | bytes) -> AnyIds:
    """Code points or bytes."""
    if isinstance(block, str):
        if not block.isascii():
            return np.frombuffer(block.encode("utf-32-le"), dtype="<u4")
        block = block.encode("ascii")
    return np.frombuffer(block, dtype=np.uint8)


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
            for block in _blocks(path, vocabulary.tokens, _Cleaner()):
                ids = vocabulary.lookup(_symbols(block))
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
    def open(
        cls,
        path: Path,
        vocabulary: Vocabulary,
        validation_fraction: float,
        *,
        shuffle_lines: bool = False,
    ) -> "Corpus":
        """The parts of an encoded text.

        Args:
            path: of the ids.
            vocabulary: that they are of.
            validation_fraction: of the characters.
            shuffle_lines: for a list, whose order is of no interest: lines are taken in a random
                order, always the same, before the tail is cut off, so that it is like the rest.
                Most lists are sorted, and their last lines are like each other alone.
        """
        ids: AnyIds = np.memmap(path, dtype=id_type(vocabulary), mode="r")
        # Both parts need a character and its successor.
        held = min(max(2, round(len(ids) * validation_fraction)), len(ids) - 2)
        if shuffle_lines:
            lines = Lines(ids, vocabulary.start_id)
            ids = lines.arranged(0)
            ends = np.flatnonzero(ids == vocabulary.start_id) + 1
            whole = np.abs(ends - (len(ids) - held))
            cut = int(ends[np.argmin(whole)])
            if 2 <= cut <= len(ids) - 2:
                held = len(ids) - cut
        return cls(vocabulary, ids[: len(ids) - held], ids[len(ids) - held :])


class Lines:
    """The lines of a list, to be put in random order.

    Args:
        ids: shape [characters].
        newline: id of the line end; a last line without one is given it.
    """

    def __init__(self, ids: AnyIds, newline: int) -> None:
        if ids[-1] != newline:
            ids = np.append(ids, ids.dtype.type(newline))
        self.ids = np.asarray(ids)
        ends = np.flatnonzero(self.ids == newline) + 1
        self._starts = np.concatenate(([0], ends[:-1]))
        self._lengths = ends - self._starts

    def arranged(self, number: int) -> AnyIds:
        """All lines in one of the orders: a pure function of the order's number."""
        order = np.random.default_rng(number).permutation(len(self._starts))
        lengths = self._lengths[order]
        begins = np.cumsum(lengths) - lengths
        places = np.repeat(self._starts[order] - begins, lengths)
        places += np.arange(len(places))
        arranged: AnyIds = self.ids[places]
        return arranged


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


class ShuffledLines:
    """Batches of a list whose lines come in another order in each pass.

    So a line tells nothing of the next, and none is learned by heart for what stands before it.
    Within a pass it is as ``Batches``; a batch is a pure function of its step and the seed.
    """

    def __init__(
        self, ids: AnyIds, newline: int, batch_size: int, sequence_length: int, seed: int
    ) -> None:
        self.characters = batch_size * sequence_length
        self._lines = Lines(ids, newline)
        self._shape = batch_size, sequence_length
        self._seed = seed
        self._steps = max(1, len(self._lines.ids) // self.characters)
        self._pass = -1
        self._batches: Batches | None = None

    def batch(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Inputs and targets of a step (counted from 0), each [time, batch]."""
        number, within = divmod(step, self._steps)
        if self._batches is None or number != self._pass:
            # 0 is the order in which the corpus was cut.
            arranged = self._lines.arranged(1 + (self._seed << 32) + number)
            self._batches, self._pass = Batches(arranged, *self._shape), number
        return self._batches.batch(within)

    def epoch(self, step: int) -> float:
        """Passes over the text after a number of steps."""
        return step / self._steps

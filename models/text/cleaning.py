"""Converts the bytes of a text to the symbols to train on. Knows no corpus of ours."""

import codecs
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from models.arrays import AnyIds
from models.errors import Invalid
from models.text.vocab import Tokens, compose

MIN_CHARACTERS = 100
_BLOCK = 1 << 20


class CorpusError(Invalid):
    """A text that cannot be trained on; the message says why and what to do."""

    code = "invalid_corpus"


class NotUtf8(CorpusError):
    """Bytes that are not UTF-8; ``offset`` is that of the first one, counted from 0."""

    code = "not_utf8"

    def __init__(self, offset: int, guess: str) -> None:
        self.offset = offset
        super().__init__(
            f"the text is not UTF-8: invalid byte at offset {offset} ({guess}). "
            "Convert it to UTF-8, or pass tokens=bytes to train on the raw bytes"
        )


class Cleaner:
    """Converts bytes to clean text, block by block; remembers what it changed.

    Strips a byte-order mark, converts CRLF and CR to LF, and applies NFC. The end of a block is
    held back, from the last position at which the text before does not depend on the text after.
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
            changes.append("byte-order mark stripped")
        if self.crlf:
            changes.append(f"{self.crlf} CRLF line ends converted to LF")
        if self.cr:
            changes.append(f"{self.cr} CR line ends converted to LF")
        if self.nfc:
            changes.append("Unicode normalised (NFC)")
        return changes


def cleaned(path: Path) -> str:
    """Returns a whole text as it is trained on.

    Raises:
        NotUtf8: the text is not UTF-8.
    """
    return "".join(Cleaner().blocks(path))


# Common characters that never compose with the character before.
_BOUNDARY = re.compile(r"[\x00-\x7f\u3400-\u4dbf\u4e00-\u9fff]")
# Letters that do, in addition to combining marks: the later jamo of a Hangul syllable, a Kirat Rai
# vowel.
_JOINING = re.compile(r"[\u1160-\u11ff\U00016d67]")


def _safe_cut(text: str) -> int:
    """Returns where to cut a block so that normalising the halves normalises the whole."""
    indexes = range(len(text) - 1, max(0, len(text) - 4096) - 1, -1)
    for separates in (_BOUNDARY.match, _separates):
        for index in indexes:
            if text[max(0, index - 1) : index + 1] != "\r\n" and separates(text[index]):
                return index
    # 4096 marks or vowels in a row are not text: cut anywhere, to bound memory.
    return len(text) if len(text) >= 4096 else 0


def _separates(character: str) -> bool:
    return unicodedata.category(character)[0] != "M" and not _JOINING.match(character)


def guess_encoding(path: Path, offset: int) -> str:
    """Describes what the bytes around an offset seem to be."""
    with path.open("rb") as file:
        head = file.read(4096)
        file.seek(max(0, offset - 2048))
        near = file.read(4096)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "it starts like UTF-16"
    if head.count(0) > len(head) // 3:
        return "it looks like UTF-16 without a byte-order mark, or a binary file"
    control = sum(b < 9 or 13 < b < 32 for b in head + near)
    if control * 20 > len(head) + len(near):
        return "it looks like a binary file"
    if any(b >= 0x80 for b in near[: min(offset, 2048)]):
        return "the text before it is UTF-8: the file seems damaged or cut off there"
    if any(0x80 <= b < 0xA0 for b in near):
        return "it looks like Windows-1252"
    return "it looks like Latin-1"


def blocks(path: Path, tokens: Tokens, cleaner: Cleaner) -> Iterator[str | bytes]:
    """Yields a file's blocks as clean text, or as raw bytes."""
    if tokens == "characters":
        yield from cleaner.blocks(path)
    else:
        with path.open("rb") as file:
            while data := file.read(_BLOCK):
                yield data


def symbols(block: str | bytes) -> AnyIds:
    """Returns a block's code points or bytes."""
    if isinstance(block, str):
        if not block.isascii():
            return np.frombuffer(block.encode("utf-32-le"), dtype="<u4")
        block = block.encode("ascii")
    return np.frombuffer(block, dtype=np.uint8)

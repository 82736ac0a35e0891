"""Converts the bytes of a text to the symbols to train on. Knows no corpus of ours."""

import codecs
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

import numpy as np

from models.arrays import AnyIds
from models.errors import Invalid
from models.text.encodings import (
    BINARY_FILE,
    Explanation,
    conversion,
    explained,
    is_wide_or_escaped,
    wide,
)
from models.text.kinds import BINARY, HEAD, controls, first_control, kind_of, markup_of
from models.text.vocab import BYTE_ORDER_MARK, Tokens, compose

MIN_CHARACTERS = 100
_BLOCK = 1 << 20
_MARKED = re.compile(f"(?<=\n){BYTE_ORDER_MARK}+")


class CorpusError(Invalid):
    """A text that cannot be trained on; the message says why and what to do."""

    code = "invalid_corpus"


class NotUtf8(CorpusError):
    """Bytes that are not UTF-8 text; ``offset`` is that of the first one, counted from 0.

    It is None where each byte could be UTF-8, as in ISO-2022 and in a PDF that begins in ASCII.
    ``is_text`` is False for an archive, an image and the like.
    """

    code = "not_utf8"

    def __init__(self, offset: int | None, found: Explanation) -> None:
        self.offset = offset
        self.is_text = found.is_text
        place = "" if offset is None else f"invalid byte at offset {offset}; "
        super().__init__(f"the text is not UTF-8: {place}{found.words}")


def refuse_at_once(file: IO[bytes]) -> None:
    """Raises NotUtf8 for a file that its beginning shows not to be UTF-8 text.

    Some decode as UTF-8 all the same: UTF-16 without a byte-order mark, or an archive of ASCII
    texts.
    """
    head = file.read(HEAD)
    if kind_of(head) or is_wide_or_escaped(head):
        raise NotUtf8(_first_invalid(head), explained(file, 0))


def refuse_controls(path: Path) -> None:
    """Raises NotUtf8, at the first control character, for a file that has too many."""
    with path.open("rb") as file:
        offset = 0
        while data := file.read(_BLOCK):
            if (place := first_control(data)) is not None:
                raise NotUtf8(offset + place, BINARY_FILE)
            offset += len(data)


def is_text(content: bytes) -> bool:
    """Whether a whole file can be read as UTF-8 and is a text."""
    head = content[:HEAD]
    if kind_of(head) or is_wide_or_escaped(head):
        return False
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return controls(content) <= BINARY * len(content)


def about_markup(path: Path) -> list[str]:
    """Returns a warning if a text is mostly written for a program, such as a web page."""
    kind = markup_of(_head(path))
    return [str(kind)] if kind else []


def about_raw_bytes(path: Path) -> list[str]:
    """Returns a warning if there is something better than to train on a file's raw bytes."""
    head = _head(path)
    if kind := kind_of(head):
        return [f"{kind}. Its raw bytes are close to random, and little can be learned from them"]
    if name := wide(head):
        return [
            f"it looks like {name}, which has 2 or 4 bytes for each letter. Convert it to UTF-8 "
            f"first: {conversion(name)}"
        ]
    return []


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def _first_invalid(head: bytes) -> int | None:
    try:
        # The last character may be cut off.
        codecs.getincrementaldecoder("utf-8")("strict").decode(head)
        end = None
    except UnicodeDecodeError as error:
        end = error.start
    control = first_control(head[:end])
    return end if control is None else control


class Cleaner:
    """Converts bytes to clean text, block by block; remembers what it changed.

    Drops byte-order marks at the beginning and before lines, where joined files have them, converts
    CRLF and CR to LF, and applies NFC. The end of a block is held back, from the last position at
    which the text before does not depend on the text after.
    """

    def __init__(self) -> None:
        self.bom = False
        self.marks = 0
        self.crlf = 0
        self.cr = 0
        self.lf = 0
        self.nfc = False
        self._begins_line = True

    def blocks(self, path: Path, begin: int = 0, end: int | None = None) -> Iterator[str]:
        """Yields the clean text of a file, or of a part of it, in bytes, that begins a line.

        Raises:
            NotUtf8: it is not UTF-8.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("strict")
        offset = begin
        held = ""
        with path.open("rb") as file:
            file.seek(begin)
            first = True
            while True:
                data = file.read(_BLOCK if end is None else min(_BLOCK, end - offset))
                pending = len(decoder.getstate()[0])
                try:
                    text = decoder.decode(data, final=not data)
                except UnicodeDecodeError as error:
                    at = offset - pending + error.start
                    raise NotUtf8(at, explained(file, at)) from None
                offset += len(data)
                if first and text:
                    first = False
                    if text.startswith(BYTE_ORDER_MARK):
                        self.bom = True
                        text = text[1:]
                text = held + text
                cut = _safe_cut(text) if data else len(text)
                held = text[cut:]
                if clean := self._clean(text[:cut]):
                    yield clean
                if not data:
                    return

    def _clean(self, text: str) -> str:
        if "\r" in text:
            crlf = text.count("\r\n")
            self.crlf += crlf
            self.cr += text.count("\r") - crlf
            self.lf += text.count("\n") - crlf
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        else:
            self.lf += text.count("\n")
        if BYTE_ORDER_MARK in text:
            text = self._without_marks(text)
        if text:
            self._begins_line = text[-1] == "\n"
        composed = compose(text)
        self.nfc = self.nfc or composed != text
        return composed

    def _without_marks(self, text: str) -> str:
        before = "\n" if self._begins_line else " "
        rest = _MARKED.sub("", before + text)[1:]
        self.marks += len(text) - len(rest)
        return rest

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
        if self.marks:
            changes.append(f"{self.marks} byte-order marks at the beginning of lines dropped")
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

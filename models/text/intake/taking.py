"""Makes one text of files, in the order of their paths, and says what was left out and why.

Each file is copied to a scratch file, which is in memory while it is small, looked at, converted to
UTF-8, and written. Knows no upload.
"""

import codecs
import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from models.text.cleaning import CorpusError, symbols
from models.text.doctor import is_list
from models.text.encodings import codec_of, explained, is_wide_or_escaped
from models.text.intake import documents
from models.text.intake.members import (
    Budget,
    LeftOut,
    Member,
    TooMuch,
    fault_of_name,
    shown,
)
from models.text.intake.unpacking import blocks, inflated, opened, tar_members, zip_members
from models.text.kinds import (
    BINARY,
    DOCX,
    EPUB,
    GZIP,
    HEAD,
    HTML,
    TAR,
    ZIP,
    Kind,
    controls,
    kind_of,
    markup_of,
)
from models.text.vocab import BYTE_ORDER_MARK

MAX_DEPTH = 2
"""Archives within each other; a compressed tar is one."""

MAX_SHOWN = 100
"""Files that a report names, of those taken and of those left out."""

MAX_GUESSED = 500
"""Files whose encoding is looked for: that takes up to 50 ms."""

_IN_MEMORY = 8 << 20
_BLOCK = 1 << 20
_BINARY = "it is a binary file"
_READ = {ZIP, GZIP, TAR, DOCX, EPUB}
_PAGES = (".html", ".htm", ".xhtml")

_Count = Callable[[int], object]


@dataclass(slots=True)
class Taken:
    """What became of files.

    ``files`` are the first ``MAX_SHOWN`` that were taken, each with its name, its bytes in UTF-8
    and its source, which is the encoding or the kind of document; ``omitted`` are as many others.
    ``parts`` are all that were taken, each with its name and its bytes in the text, together with
    what separates it from the next.
    """

    taken: int = 0
    left_out: int = 0
    files: list[tuple[str, int, str]] = field(default_factory=list)
    omitted: list[tuple[str, str]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    parts: list[tuple[str, int]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        def named(names: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> list[dict[str, Any]]:
            return [dict(zip(names, row, strict=True)) for row in rows]

        return {
            "taken": self.taken,
            "left_out": self.left_out,
            "files": named(("name", "bytes", "source"), self.files),
            "omitted": named(("name", "reason"), self.omitted),
            "reasons": named(("reason", "count"), self.reasons.most_common()),
        }


def is_made_of_others(head: bytes, name: str = "") -> bool:
    """Whether a file is an archive or a document whose text can be taken.

    Args:
        head: up to ``HEAD`` bytes from its beginning.
        name: its name, if it has one.
    """
    kind = kind_of(head)
    return kind in _READ or (kind is None and _is_page(head, name) and documents.is_installed())


def take(
    files: Sequence[Member],
    write: Callable[[bytes], object],
    limit: int,
    scratch: Path | None = None,
) -> Taken:
    """Writes one text of files.

    Documents are separated by an empty line, lists by nothing.

    Args:
        files: in any order.
        write: gets the text in UTF-8, in pieces.
        limit: most bytes of the text, of the files, and of what is unpacked from them.
        scratch: a folder for a copy of each file; None is the system's for such files.

    Returns:
        What became of the files; the same for the same files.

    Raises:
        TooMuch: there are more files or bytes than there may be.
        CorpusError: none of them is a text.
    """
    taker = _Taker(write, limit, scratch)
    taker.take(files)
    if not taker.told.taken:
        raise CorpusError(f"it holds no text to train on: {_in_words(taker.told)}")
    return taker.told


def _in_words(told: Taken) -> str:
    if not told.left_out:
        return "it is empty"
    if told.left_out == 1:
        return next(iter(told.reasons))
    return "; ".join(
        f"{reason} ({count:,} files)" if count > 1 else reason
        for reason, count in told.reasons.most_common(3)
    )


class _Taker:
    def __init__(self, write: Callable[[bytes], object], limit: int, scratch: Path | None) -> None:
        self.told = Taken()
        self._write = write
        self._limit = limit
        self._scratch = scratch
        self._budget = Budget(limit)
        """Of what is unpacked."""
        self._sent = Budget(limit)
        self._written = 0
        self._counted = 0
        """Bytes of all parts but the last."""
        self._tail = b""
        self._was_list = False
        self._seen: set[bytes] = set()
        self._guessed = 0

    def take(self, files: Sequence[Member]) -> None:
        self._budget.count(len(files))
        self._take_all(files, 0, self._sent.take)
        self._end_part()

    def _take_all(self, files: Iterable[Member], depth: int, count: _Count) -> None:
        """Takes files in archives ``depth`` deep; ``count`` gets the sizes of what is read."""
        for file in sorted(files, key=lambda one: one.name):
            try:
                if reason := file.reason or fault_of_name(file.name):
                    raise LeftOut(reason)
                self._take(file, depth, count)
            except LeftOut as error:
                self._leave(file.name, str(error))

    def _leave(self, name: str, reason: str) -> None:
        self.told.left_out += 1
        self.told.reasons[reason] += 1
        if len(self.told.omitted) < MAX_SHOWN:
            self.told.omitted.append((shown(name), reason))

    def _take(self, file: Member, depth: int, count: _Count) -> None:
        with self._spool() as spool:
            with opened(file.open) as stream:
                _copy(blocks(stream), spool, count)
            self._take_spooled(file.name, spool, depth)

    @contextmanager
    def _spool(self) -> Iterator[IO[bytes]]:
        folder = None if self._scratch is None else str(self._scratch)
        with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=folder) as spool:
            yield spool

    def _take_spooled(self, name: str, spool: IO[bytes], depth: int) -> None:
        spool.seek(0)
        head = spool.read(HEAD)
        kind = kind_of(head)
        if kind is None and _is_page(head, name) and documents.is_installed():
            kind = HTML
        if kind == ZIP:
            kind = documents.kind_of_zip(spool) or ZIP
        if kind in (ZIP, TAR, GZIP):
            self._unpack(name, kind, spool, depth + 1)
        elif kind:
            self._add(name, [documents.text_of(kind, spool, self._budget)], kind.name)
        else:
            codec = self._codec(spool, head)
            self._add(name, _Decoded(spool, codec), codec.upper())

    def _unpack(self, name: str, kind: Kind, spool: IO[bytes], depth: int) -> None:
        if depth > MAX_DEPTH:
            raise LeftOut(f"it is an archive in {MAX_DEPTH} others")
        if kind == GZIP:
            with self._spool() as inner:
                _copy(inflated(spool), inner, self._budget.take)
                inner.seek(0)
                # A compressed tar is one archive, not two.
                is_tar = kind_of(inner.read(HEAD)) == TAR
                within = name if is_tar else name.removesuffix(".gz")
                self._take_spooled(within, inner, depth - is_tar)
            return
        read = zip_members if kind == ZIP else tar_members
        # What is in a tar is no larger than the tar.
        count = self._budget.take if kind == ZIP else _uncounted
        prefix = f"{name}/" if name else ""
        # Judged by their names in the archive, named with its own.
        judged = (
            Member(prefix + one.name, one.open, one.reason or fault_of_name(one.name))
            for one in read(spool, self._budget)
        )
        self._take_all(judged, depth, count)

    def _codec(self, spool: IO[bytes], head: bytes) -> str:
        """Returns Python's name of a text's encoding. Raises LeftOut if it is uncertain."""
        offset = 0 if is_wide_or_escaped(head) else _first_invalid(spool)
        if offset is None:
            return "utf-8"
        self._guessed += 1
        if self._guessed > MAX_GUESSED:
            raise LeftOut(f"it is not UTF-8, and {MAX_GUESSED} others were converted already")
        found = explained(spool, offset)
        if not found.is_text:
            raise LeftOut(_BINARY)
        if found.encoding is None:
            raise LeftOut("it is not UTF-8, and its encoding is uncertain")
        return codec_of(found.encoding)

    def _add(self, name: str, text: Iterable[str], source: str) -> None:
        """Writes a text, which is read twice, unless it is empty or was written before."""
        digest, size, odd, has_words = hashlib.sha256(), 0, 0, False
        lists = False
        for number, block in enumerate(text):
            data = block.encode()
            if not number:
                lists = is_list(symbols(block), 0x0A)
            digest.update(data)
            size += len(data)
            odd += controls(data)
            has_words = has_words or bool(block.strip())
        if not has_words:
            raise LeftOut("it is empty")
        if odd > BINARY * size:
            raise LeftOut(_BINARY)
        if digest.digest() in self._seen:
            raise LeftOut("it is a copy of another file")
        self._seen.add(digest.digest())
        self._put(self._separator(lists))
        self._end_part()
        for block in text:
            self._put(block.encode())
        self._was_list = lists
        self.told.parts.append((name, 0))
        self.told.taken += 1
        if len(self.told.files) < MAX_SHOWN:
            self.told.files.append((shown(name), size, source))

    def _end_part(self) -> None:
        """Counts what was written since the last part began as that part's."""
        if self.told.parts:
            name, _ = self.told.parts[-1]
            self.told.parts[-1] = name, self._written - self._counted
            self._counted = self._written

    def _separator(self, lists: bool) -> bytes:
        """Returns what ends the last line of the text, and separates documents."""
        if not self._tail:
            return b""
        end = b"" if self._tail.endswith(b"\n") else b"\n"
        if (lists and self._was_list) or (self._tail + end).endswith((b"\n\n", b"\n\r\n")):
            return end
        return end + b"\n"

    def _put(self, data: bytes) -> None:
        self._written += len(data)
        if self._written > self._limit:
            raise TooMuch(f"its text is larger than {self._limit:,} bytes: send less of it")
        self._write(data)
        self._tail = (self._tail + data[-3:])[-3:]


def _uncounted(_size: int) -> None:
    pass


def _copy(data: Iterable[bytes], spool: IO[bytes], count: _Count) -> None:
    """Copies a file; raises LeftOut if its beginning shows that it is not a text."""
    is_first = True
    for block in data:
        count(len(block))
        if is_first:
            is_first = False
            _refuse_binary(block[:HEAD])
        spool.write(block)


def _is_page(head: bytes, name: str) -> bool:
    return markup_of(head) == HTML or name.lower().endswith(_PAGES)


def _refuse_binary(head: bytes) -> None:
    """Raises LeftOut for what the beginning of a file shows not to be a text."""
    kind = kind_of(head)
    if kind and kind not in _READ:
        raise LeftOut(f"it is {kind.name}")
    if kind is None and controls(head) > BINARY * len(head) and not is_wide_or_escaped(head):
        raise LeftOut(_BINARY)


def _first_invalid(file: IO[bytes]) -> int | None:
    """Returns the place of the first byte that is not UTF-8, if there is one."""
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    file.seek(0)
    offset = 0
    while True:
        data = file.read(_BLOCK)
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            return offset - pending + error.start
        if not data:
            return None
        offset += len(data)


class _Decoded:
    """The text of a file in pieces, any number of times; without a byte-order mark."""

    def __init__(self, file: IO[bytes], codec: str) -> None:
        self._file = file
        self._codec = codec

    def __iter__(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder(self._codec)("strict")
        self._file.seek(0)
        is_first = True
        while True:
            data = self._file.read(_BLOCK)
            try:
                text = decoder.decode(data, final=not data)
            except UnicodeError:
                raise LeftOut("its encoding is uncertain") from None
            if is_first and text:
                is_first = False
                text = text.removeprefix(BYTE_ORDER_MARK)
            if text:
                yield text
            if not data:
                return

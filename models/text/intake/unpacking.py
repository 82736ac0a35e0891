"""Reads zip, tar and gzip files without trusting them.

Lists are bounded before they are read, bytes as they are inflated. Knows no text.
"""

import gzip
import io
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from functools import partial
from typing import IO, TypeVar

from models.text.intake.members import (
    Budget,
    LeftOut,
    Member,
    Readable,
    TooMuch,
    fault_of_mode,
    too_many_members,
)

MAX_EXPANSION = 100
"""A file may unpack to so many times its size in the archive, a small one to more.

The texts that compress best are logs and tables, at about 1:30; deflate ends at 1:1032.
"""
_SMALL, _SMALL_TAR = 1 << 20, 16 << 20
"""A tar has a kilobyte for each file, mostly zeros: 10,000 small files compress a lot."""

_BLOCK = 1 << 18
_MAX_LIST = 3 << 20
"""Bytes of a zip's list of files, which zipfile reads at once: about 100 a file."""

_MAX_READ = 1 << 20
"""Bytes that tarfile may read at once: a long name or its like has fewer."""

_MANY_DIGITS = re.compile(rb"\d{40}")
"""More than the numbers in a tar's headers have."""

_TOO_LARGE = f"it unpacks to more than {MAX_EXPANSION} times its size"
_DAMAGED = "it is damaged"

Opened = TypeVar("Opened", bound=AbstractContextManager[Readable])

_UNSOUND = (
    zipfile.BadZipFile,
    struct.error,
    tarfile.TarError,
    zlib.error,
    EOFError,
    # Of gzip, for bytes that are not such a file; of a tar, for a place that it does not have.
    OSError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""What Python's readers of archives raise for damaged ones."""


class _ReadsTooMuch(Exception):
    """An archive makes its reader read more at once than it should."""


class _Guarded(io.RawIOBase):
    """A file that is not read in larger pieces than ``most``: archives say how large they are."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file = file
        self._most = most

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def read(self, size: int | None = -1, /) -> bytes:
        # zipfile reads the end of a file so.
        most = self._most + 1
        data = self._file.read(most if size is None or size < 0 else min(size, most))
        if len(data) > self._most:
            raise _ReadsTooMuch
        return data


class _Tar(_Guarded):
    """A tar whose headers do not make their reader slow.

    Pythons before 3.11.10 and 3.12.6 take time quadratic in the digits of one (CVE-2024-6232).
    """

    is_listed = False

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not self.is_listed and _MANY_DIGITS.search(data):
            raise _ReadsTooMuch
        return data


def opened(file: Callable[[], Opened]) -> Opened:
    """Opens a file, which may be one in an archive. Raises LeftOut."""
    try:
        return file()
    except (*_UNSOUND, _ReadsTooMuch):
        raise LeftOut("it cannot be read") from None


def blocks(file: Readable) -> Iterator[bytes]:
    """Yields the bytes of a file, which may be one in an archive.

    Raises:
        LeftOut: the archive is damaged there.
    """
    while True:
        try:
            data = file.read(_BLOCK)
        except (*_UNSOUND, _ReadsTooMuch):
            raise LeftOut(_DAMAGED) from None
        if not data:
            return
        yield data


def zip_members(file: IO[bytes], budget: Budget) -> list[Member]:
    """Returns the files in a zip.

    Raises:
        LeftOut: it is damaged.
        TooMuch: it has more files than there is budget for.
    """
    size = file.seek(0, io.SEEK_END)
    archive = opened_zip(file)
    infos = archive.infolist()
    budget.count(len(infos))
    if sum(info.compress_size for info in infos) > size:
        raise LeftOut("it is damaged: files in it overlap")
    return [
        Member(info.filename, partial(archive.open, info), _fault(info))
        for info in infos
        if not info.is_dir()
    ]


def opened_zip(file: IO[bytes]) -> zipfile.ZipFile:
    """Opens a zip, whose list of files it reads; raises as ``zip_members`` does."""
    try:
        return zipfile.ZipFile(_Guarded(file, _MAX_LIST))
    except _ReadsTooMuch:
        raise too_many_members() from None
    except _UNSOUND:
        raise LeftOut(_DAMAGED) from None


def _fault(info: zipfile.ZipInfo) -> str | None:
    if info.flag_bits & 1:
        return "it is encrypted"
    if not is_usual(info):
        return "it is compressed in an unusual way"
    if info.file_size > _SMALL + MAX_EXPANSION * info.compress_size:
        return _TOO_LARGE
    return fault_of_mode(info.external_attr >> 16)


def is_usual(info: zipfile.ZipInfo) -> bool:
    """Whether a file is stored or deflated; other methods take as much memory as they like."""
    return info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def tar_members(file: IO[bytes], budget: Budget) -> list[Member]:
    """Returns the files in a tar that is not compressed; raises as ``zip_members`` does."""
    file.seek(0)
    guarded = _Tar(file, _MAX_READ)
    found = []
    try:
        archive = tarfile.open(fileobj=guarded, mode="r:")  # noqa: SIM115
        for info in archive:
            budget.count(1)
            if not info.isdir():
                found.append(Member(info.name, _opening(archive, info), _fault_in_tar(info)))
    except TooMuch:
        raise
    except (*_UNSOUND, _ReadsTooMuch):
        raise LeftOut(_DAMAGED) from None
    guarded.is_listed = True
    return found


def _opening(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Callable[[], "closing[IO[bytes]]"]:
    def open_() -> "closing[IO[bytes]]":
        file = archive.extractfile(info)
        # Only files are opened.
        assert file is not None
        return closing(file)

    return open_


def _fault_in_tar(info: tarfile.TarInfo) -> str | None:
    if info.issym() or info.islnk():
        return "it is a link"
    if not info.isreg():
        return "it is not a plain file"
    # Its holes would be read as zeros, as many as it says.
    return "it is a sparse file" if info.issparse() else None


def inflated(file: IO[bytes]) -> Iterator[bytes]:
    """Yields the contents of a gzip file.

    Raises:
        LeftOut: it is damaged, or grows too much.
    """
    file.seek(0)
    size = 0
    with gzip.GzipFile(fileobj=file, mode="rb") as packed:
        for block in blocks(packed):
            size += len(block)
            if size > _SMALL_TAR + MAX_EXPANSION * file.tell():
                raise LeftOut(_TOO_LARGE)
            yield block

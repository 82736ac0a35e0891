"""A checkpoint as a zip file: written piece by piece, read without trust.

A zip from outside is hostile until proven otherwise. It must contain each file of a checkpoint once
and nothing else, all sizes are bounded before anything is unpacked, nothing is extracted to disk,
and the checkpoint in it is checked like any other (``models.checkpoints.format``). Knows no HTTP.
"""

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import IO, Any

from models.checkpoints.format import FILES, MANIFEST, Checkpoint, assemble
from models.files import CheckpointError

_BLOCK = 1 << 18
_TIME = (1980, 1, 1, 0, 0, 0)
"""A zip needs a time; a constant one gives equal checkpoints equal zips."""

_MEMBERS = {*FILES, MANIFEST}
_MAX_DIRECTORY = 64 << 10
"""Maximum size of a zip's central directory in bytes; a member takes about fifty."""

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")

# Everything that zipfile raises for a damaged zip.
_UNSOUND = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


def zipped(files: Mapping[str, IO[bytes]]) -> Iterator[bytes]:
    """Yields a zip of files, given by name, piece by piece."""
    pieces = _Pieces()
    with zipfile.ZipFile(pieces, "w") as archive:
        for name, file in files.items():
            info = zipfile.ZipInfo(name, _TIME)
            info.external_attr = 0o644 << 16
            info.file_size = os.fstat(file.fileno()).st_size
            if not name.endswith(".safetensors"):
                # To a compressor, trained weights are noise.
                info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w") as member:
                while block := file.read(_BLOCK):
                    member.write(block)
                    yield pieces.take()
    yield pieces.take()


class _Pieces(io.RawIOBase):
    """The output of a zip; it is not seekable, so what was written does not change."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._held += data
        return len(data)

    def take(self) -> bytes:
        data, self._held = bytes(self._held), bytearray()
        return data


def unzipped(file: IO[bytes], limit: int) -> Checkpoint:
    """Reads the checkpoint in an untrusted zip.

    Args:
        file: the zip; must be seekable.
        limit: maximum size of its contents when unpacked, in bytes.

    Raises:
        CheckpointError: the zip is not a checkpoint; the message says why.
    """
    try:
        _check_directory(file)
        with zipfile.ZipFile(file) as archive:
            members = _members(archive.infolist(), limit)
            return assemble(lambda name, most: _read(archive, members[name], most))
    except CheckpointError:
        raise
    except _UNSOUND:
        raise CheckpointError("it is damaged or not a zip file") from None


def _check_directory(file: IO[bytes]) -> None:
    """Checks the size of the central directory, which zipfile reads into memory as objects.

    Raises:
        CheckpointError: it is too large, or not where simple zips have it.
        ValueError, struct.error, OSError: there is none.
    """
    end = file.seek(-_END.size, os.SEEK_END)
    mark, *_, size, _offset, comment = _END.unpack(file.read(_END.size))
    if mark != b"PK\5\6" or comment:
        raise CheckpointError("it is not a zip file or has data after its end")
    if end >= _END64_LOCATOR.size + _END64.size:
        file.seek(end - _END64_LOCATOR.size)
        if file.read(4) == b"PK\6\7":
            file.seek(end - _END64_LOCATOR.size - _END64.size)
            mark64, *_, size, _offset = _END64.unpack(file.read(_END64.size))
            if mark64 != b"PK\6\6":
                raise CheckpointError("its end is malformed")
    if size > _MAX_DIRECTORY:
        raise CheckpointError("it has more entries than a checkpoint")


def _members(infos: list[zipfile.ZipInfo], limit: int) -> dict[str, zipfile.ZipInfo]:
    """Checks that the members are a checkpoint's files, each once; returns them by name."""
    names = [info.filename for info in infos]
    # Names as stored in the zip: zipfile cuts a name at a NUL.
    names += [info.orig_filename for info in infos]
    if not set(names) <= _MEMBERS:
        raise CheckpointError("it contains a file that does not belong in a checkpoint")
    if len(infos) != len({info.filename for info in infos}):
        raise CheckpointError("it contains a file twice")
    if missing := _MEMBERS - set(names):
        raise CheckpointError(f"{min(missing)} is missing")
    for info in infos:
        mode = info.external_attr >> 16
        if info.is_dir() or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
            raise CheckpointError(f"{info.filename} is not a plain file")
        if info.flag_bits & 1:
            raise CheckpointError(f"{info.filename} is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CheckpointError(f"{info.filename} uses an unsupported compression method")
    if sum(info.file_size for info in infos) > limit:
        raise CheckpointError(f"it is larger than {limit:,} bytes when unpacked")
    return {info.filename: info for info in infos}


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    # zipfile returns no more bytes than the stated size, and verifies the checksum.
    if info.file_size > most:
        raise CheckpointError(f"{info.filename} is too large")
    with archive.open(info) as member:
        data = member.read(info.file_size)
        if len(data) < info.file_size:
            raise CheckpointError(f"{info.filename} is truncated")
        return data

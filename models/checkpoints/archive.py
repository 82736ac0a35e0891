"""A checkpoint to carry away: its directory as a zip, and the network as an ONNX graph.

A zip that comes from somebody is hostile until proven otherwise. It must hold each file of a
checkpoint once and nothing else, all sizes are bounded before anything is unpacked, nothing of it
is written to the disk, and the checkpoint in it is checked as every other (models.checkpoint).
Knows no HTTP.
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
_WHENEVER = (1980, 1, 1, 0, 0, 0)
"""A zip wants a time; one and the same makes equal zips of equal checkpoints."""

_MEMBERS = {*FILES, MANIFEST}
_MAX_DIRECTORY = 64 << 10
"""Bytes of a zip's central directory: some fifty for each member, or a few more."""

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")

# All that zipfile raises on bytes that are no sound zip.
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
    """A zip of files by name, piece by piece as it is made."""
    pieces = _Pieces()
    with zipfile.ZipFile(pieces, "w") as archive:
        for name, file in files.items():
            info = zipfile.ZipInfo(name, _WHENEVER)
            info.external_attr = 0o644 << 16
            info.file_size = os.fstat(file.fileno()).st_size
            if not name.endswith(".safetensors"):
                # Trained weights are noise, to a compressor.
                info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w") as member:
                while block := file.read(_BLOCK):
                    member.write(block)
                    yield pieces.take()
    yield pieces.take()


class _Pieces(io.RawIOBase):
    """What a zip is written to: it can't be sought in, so what was written stays as it is."""

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
    """The checkpoint in a zip that ``zipped`` made, or somebody who says so.

    Args:
        file: the zip; it can be sought in.
        limit: bytes that all of it may have, unpacked.

    Raises:
        CheckpointError: saying what is wrong.
    """
    try:
        _check_directory(file)
        with zipfile.ZipFile(file) as archive:
            members = _members(archive.infolist(), limit)
            return assemble(lambda name, most: _read(archive, members[name], most))
    except CheckpointError:
        raise
    except _UNSOUND:
        raise CheckpointError("it is damaged, or no zip at all") from None


def _check_directory(file: IO[bytes]) -> None:
    """Bounds the central directory, which zipfile reads whole and makes objects of.

    Raises:
        CheckpointError: it is too long, or not where the simplest of zips have it.
        ValueError, struct.error, OSError: there is none.
    """
    end = file.seek(-_END.size, os.SEEK_END)
    mark, *_, size, _offset, comment = _END.unpack(file.read(_END.size))
    if mark != b"PK\5\6" or comment:
        raise CheckpointError("it is no zip, or has something behind its end")
    if end >= _END64_LOCATOR.size + _END64.size:
        file.seek(end - _END64_LOCATOR.size)
        if file.read(4) == b"PK\6\7":
            file.seek(end - _END64_LOCATOR.size - _END64.size)
            mark64, *_, size, _offset = _END64.unpack(file.read(_END64.size))
            if mark64 != b"PK\6\6":
                raise CheckpointError("it has no sound end")
    if size > _MAX_DIRECTORY:
        raise CheckpointError("it has more in it than a checkpoint has")


def _members(infos: list[zipfile.ZipInfo], limit: int) -> dict[str, zipfile.ZipInfo]:
    """The members by name: those of a checkpoint, all of them, each once, each a plain file."""
    names = [info.filename for info in infos]
    # As they stand in the zip: the name that zipfile gives ends at a NUL.
    names += [info.orig_filename for info in infos]
    if not set(names) <= _MEMBERS:
        raise CheckpointError("it has something in it that no checkpoint has")
    if len(infos) != len({info.filename for info in infos}):
        raise CheckpointError("it has a file twice")
    if missing := _MEMBERS - set(names):
        raise CheckpointError(f"{min(missing)} is missing")
    for info in infos:
        mode = info.external_attr >> 16
        if info.is_dir() or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
            raise CheckpointError(f"{info.filename} is not a file")
        if info.flag_bits & 1:
            raise CheckpointError(f"{info.filename} is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CheckpointError(f"{info.filename} is compressed in an uncommon way")
    if sum(info.file_size for info in infos) > limit:
        raise CheckpointError(f"it is larger than {limit:,} bytes, unpacked")
    return {info.filename: info for info in infos}


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    # zipfile gives no byte more than the size that was stated, and compares the checksum.
    if info.file_size > most:
        raise CheckpointError(f"{info.filename} is larger than its kind may be")
    with archive.open(info) as member:
        data = member.read(info.file_size)
        if len(data) < info.file_size:
            raise CheckpointError(f"{info.filename} is truncated")
        return data

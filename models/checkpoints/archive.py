"""A checkpoint as a zip file: written piece by piece, read without trust.

Zips of equal checkpoints are equal, byte for byte, and their size is known before they are made:
nothing in them is compressed, as most of a checkpoint is weights, which are noise to a compressor.

A zip from outside is hostile until proven otherwise. It must contain each file of a checkpoint once
(README.md may be missing, or edited: it is for people) and nothing else but what git, the Hugging
Face Hub or a Mac adds to a folder that it packs. All sizes are bounded before
anything is unpacked, nothing is extracted to disk, and the checkpoint in it is checked like any
other (``models.checkpoints.format``). Knows no HTTP.
"""

import io
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import IO, Any

from models.checkpoints.card import MAX_CARD, check_card
from models.checkpoints.format import FILES, MANIFEST, Checkpoint, assemble
from models.files import CheckpointError

_BLOCK = 1 << 18
_TIME = (1980, 1, 1, 0, 0, 0)
"""A zip needs a time; a constant one gives equal checkpoints equal zips."""

MEMBERS = frozenset((*FILES, MANIFEST))
NEEDED = MEMBERS - {"README.md"}

_ADDED = re.compile(r"__MACOSX/.*|(.*/)?(\.DS_Store|\._[^/]*|\.gitattributes)", re.DOTALL)
"""What macOS adds to a zip, folder settings and resource forks, and the Hub to a repository."""

_SHOWABLE = re.compile(r"[\w][\w. -]{0,63}", re.ASCII)

MAX_EXPANSION = 100
"""A file may unpack to so many times its size in the zip, a small one to more."""
_SMALL = 1 << 20

_MAX_DIRECTORY = 64 << 10
"""Maximum size of a zip's central directory in bytes; a member takes about fifty."""

_ENTRY = 46
"""Size of an entry of the directory, without its name."""
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
            with archive.open(_info(name, file), "w") as member:
                while block := file.read(_BLOCK):
                    member.write(block)
                    yield pieces.take()
    yield pieces.take()


def zipped_size(files: Mapping[str, IO[bytes]]) -> int:
    """Returns the size in bytes of the zip that ``zipped`` makes, by the rules of zipfile."""
    at = directory = 0
    for name, file in files.items():
        info = _info(name, file)
        # A size too large for 32 bits takes 64 in each place, and it may be larger when packed.
        is_long = info.file_size * 1.05 > zipfile.ZIP64_LIMIT
        wide = 16 * (info.file_size > zipfile.ZIP64_LIMIT) + 8 * (at > zipfile.ZIP64_LIMIT)
        directory += _ENTRY + len(name) + (wide and wide + 4)
        # A header, the contents, and sizes and checksum after them.
        at += len(info.FileHeader(is_long)) + info.file_size + (24 if is_long else 16)
    is_long = max(at, directory) > zipfile.ZIP64_LIMIT
    return at + directory + _END.size + (_END64.size + _END64_LOCATOR.size) * is_long


def _info(name: str, file: IO[bytes]) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _TIME)
    info.external_attr = 0o644 << 16
    # Sizes and checksum stand after the contents.
    info.flag_bits = 8
    at = file.tell()
    info.file_size = file.seek(0, os.SEEK_END) - at
    file.seek(at)
    return info


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
            members = _members(archive.infolist(), limit, file.seek(0, os.SEEK_END))
            check_card(_read(archive, "card.json", members["card.json"], MAX_CARD))
            return assemble(lambda name, most: _read(archive, name, members[name], most))
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


def _members(infos: list[zipfile.ZipInfo], limit: int, packed: int) -> dict[str, zipfile.ZipInfo]:
    """Checks that the members are a checkpoint's files, each once; returns them by name.

    Args:
        infos: all members of the zip.
        limit: maximum size of all that is unpacked, in bytes.
        packed: size of the zip.
    """
    found: dict[str, zipfile.ZipInfo] = {}
    folder = _folder(infos)
    for info in infos:
        # As stored in the zip: zipfile cuts a name at a NUL.
        stored = info.orig_filename
        if stored == folder or _ADDED.fullmatch(stored):
            continue
        name = stored.removeprefix(folder)
        if name not in MEMBERS or info.filename != stored:
            raise CheckpointError(
                f"it contains {_shown(stored)} that does not belong in a checkpoint"
            )
        if name in found:
            raise CheckpointError(f"it contains {name} twice")
        found[name] = info
    if missing := NEEDED - found.keys():
        raise CheckpointError(f"{min(missing)} is missing")
    for name, info in found.items():
        _check_kind(name, info)
    if sum(info.file_size for info in found.values()) > limit:
        raise CheckpointError(f"it is larger than {limit:,} bytes when unpacked")
    for name, info in found.items():
        if info.file_size > _SMALL + MAX_EXPANSION * info.compress_size:
            raise CheckpointError(f"{name} unpacks to more than {MAX_EXPANSION} times its size")
    if sum(info.compress_size for info in found.values()) > packed:
        raise CheckpointError("it is damaged: its files overlap")
    return found


def _folder(infos: list[zipfile.ZipInfo]) -> str:
    """Returns the one folder that everything is in, with its slash; empty if there is none."""
    names = [i.orig_filename for i in infos if not _ADDED.fullmatch(i.orig_filename)]
    folders = {name.partition("/")[0] + "/" if "/" in name else "" for name in names}
    return folders.pop() if len(folders) == 1 else ""


def _shown(name: str) -> str:
    """Returns words for a file in a hostile zip: its name only if that is harmless."""
    last = name.removesuffix("/").rpartition("/")[2]
    is_path = ".." in name or name.startswith("/")
    return f"a file {last!r}" if _SHOWABLE.fullmatch(last) and not is_path else "a file"


def _check_kind(name: str, info: zipfile.ZipInfo) -> None:
    mode = info.external_attr >> 16
    if info.is_dir() or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
        raise CheckpointError(f"{name} is not a plain file")
    if info.flag_bits & 1:
        raise CheckpointError(f"{name} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CheckpointError(f"{name} uses an unsupported compression method")


def _read(archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo, most: int) -> bytes:
    # zipfile returns no more bytes than the stated size, and verifies the checksum.
    if info.file_size > most:
        raise CheckpointError(f"{name} is too large")
    data = io.BytesIO()
    with archive.open(info) as member:
        # In pieces: read at once, a file takes twice its size.
        while block := member.read(_BLOCK):
            data.write(block)
    if data.tell() < info.file_size:
        raise CheckpointError(f"{name} is truncated")
    return data.getvalue()

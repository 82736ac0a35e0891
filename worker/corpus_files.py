"""The files of a corpus (``worker.corpora``): read without trust, made, sealed and mended.

Knows no store.
"""

import hashlib
import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NotRequired, Required

from pydantic import with_config

# Not typing's: before Python 3.12 pydantic cannot check those.
from typing_extensions import TypedDict

from models.files import CheckpointError, open_file, read_bounded, sync_directory, write_durably
from models.places import is_directory, set_aside, tell_once
from models.text.corpus import Scan, ScanReport
from models.text.doctor import InvisibleSymbol, RareSymbol
from models.text.vocab import Tokens, Vocabulary
from worker.records import RECORD, Count, DamagedRecord, Records

FORMAT = 2
"""Of the files that keep a scan or a report: those of another format are made anew."""


@with_config(RECORD)
class ReportRecord(TypedDict, total=False):
    """``models.text.corpus.ScanReport`` as JSON; only bytes and warnings of an unreadable text.

    ``damaged`` says what is wrong with the corpus's files.
    """

    bytes: Required[Count]
    characters: Count
    distinct: Count
    tokens: Tokens
    encoding: str
    line_ends: str
    lines: Count
    normalised: list[str]
    rare: list[RareSymbol]
    unprintable: list[str]
    invisible: list[InvisibleSymbol]
    duplicate_line_share: float | None
    preset: str
    warnings: Required[list[str]]
    damaged: list[str]


@with_config(RECORD)
class _ScanFile(TypedDict):
    """``checksum`` is of the other two; files of earlier releases have none."""

    format: int
    report: ScanReport
    vocabulary: dict[str, Any]
    checksum: NotRequired[str]


@with_config(RECORD)
class ReportFile(TypedDict):
    format: int
    report: ReportRecord


SCANS, REPORTS = Records(_ScanFile), Records(ReportFile)


def mend(directory: Path, original: Path) -> bool:
    """Puts a text in the place of the same, which may be damaged; whether that may be."""
    if is_whole(directory):
        return True
    copy = directory / f".original.{secrets.token_hex(8)}"
    try:
        os.link(original, copy)
        if is_directory(directory / "original"):
            set_aside(directory / "original")
        copy.replace(directory / "original")
        sync_directory(directory)
    except PermissionError:
        return False
    finally:
        with suppress(OSError):
            copy.unlink(missing_ok=True)
    return True


def write_mark(mark: Path) -> str:
    """Writes a mark that no other host writes, and returns it."""
    written = secrets.token_hex(8)
    mark.write_text(written, "ascii")
    return written


def read_mark(mark: Path) -> str | None:
    try:
        return mark.read_text("ascii", "replace")
    except FileNotFoundError:
        return None


def read_saved(kind: Records[Any], path: Path) -> Any:
    """A record; None if there is none, or if it is damaged or of another format."""
    try:
        saved = kind.read(path)
    except DamagedRecord as error:
        tell_once(f"{path}: {error}; it is made anew")
        return None
    return saved if saved and saved["format"] == FORMAT else None


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def is_whole(directory: Path) -> bool:
    """Whether a corpus's text is the one that its id stands for."""
    return _sha256(directory / "original") == directory.name


def is_sealed(ids: Path, vocabulary: Vocabulary) -> bool:
    """Whether encoded ids are as they were written, with this vocabulary."""
    try:
        return read_bounded(seal(ids), 200) == digests(ids, vocabulary)
    except CheckpointError:
        return False


def digests(ids: Path, vocabulary: Vocabulary) -> bytes:
    symbols = json.dumps(vocabulary.to_json()).encode()
    return f"{_sha256(ids)} {hashlib.sha256(symbols).hexdigest()}".encode()


def checksum(found: Scan) -> str:
    parts = asdict(found.report), found.vocabulary.to_json()
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def seal(ids: Path) -> Path:
    return ids.with_suffix(".sha256")


def _sha256(path: Path) -> str:
    """The digest of a file; empty if it cannot be read."""
    try:
        with open_file(path) as file:
            # mypy knows only files that can be read into a buffer, which these can.
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    except (CheckpointError, OSError):
        return ""


def write_scan(directory: Path, found: Scan) -> None:
    data = {
        "format": FORMAT,
        "report": asdict(found.report),
        "vocabulary": found.vocabulary.to_json(),
        "checksum": checksum(found),
    }
    write_durably(directory / f"{found.report.tokens}.json", json.dumps(data).encode())

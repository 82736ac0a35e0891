"""Corpora on disk, content-addressed.

A corpus is a directory ``<root>/<sha256 of the bytes as sent>/``:

    original             the bytes as sent
    <tokens>.json        the report of a scan and the vocabulary, per kind of token
    <tokens>.ids         the encoded ids, made by the worker when first trained on
    <tokens>.sha256      the digests of their vocabulary and of the ids, checked before training
    report.json          the report for clients, made when first asked for

All but the original is made anew where it is damaged. A damaged original is told by its sha256, and
mended by sending the text again.

Knows no Redis, no torch and no HTTP.
"""

import fcntl
import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, NotRequired, Required, cast

from pydantic import with_config

# Not typing's: before Python 3.12 pydantic cannot check those.
from typing_extensions import TypedDict

from models.errors import Conflict, Damaged, NotFound
from models.files import CheckpointError, open_file, read_bounded, sync_directory, write_durably
from models.places import (
    is_directory,
    is_there,
    locked,
    make_directory,
    names_in,
    remove,
    set_aside,
    staged,
    sweep_staged,
    tell_once,
)
from models.text.cleaning import CorpusError, NotUtf8, about_raw_bytes
from models.text.corpus import Corpus, Scan, ScanReport, encode, scan
from models.text.doctor import InvisibleSymbol, RareSymbol
from models.text.vocab import Tokens, Vocabulary
from worker.records import RECORD, Count, DamagedRecord, Records

CORPUS_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)

_FORMAT = 2
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
class _ReportFile(TypedDict):
    format: int
    report: ReportRecord


_SCANS, _REPORTS = Records(_ScanFile), Records(_ReportFile)


class UnknownCorpus(NotFound):
    """No corpus has this id."""

    code = "unknown_corpus"


class CorpusInUse(Conflict):
    """An unended job needs the corpus; ``job_id`` names it."""

    code = "corpus_in_use"

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"job {job_id} still needs this corpus: cancel it or wait for its end")


class DamagedCorpus(Damaged):
    """The text on the disk is not the one that was sent."""

    code = "damaged_corpus"

    def __init__(self) -> None:
        super().__init__(
            "Its text is not the one that was sent: send the same text again, then resume the job."
        )


class Upload:
    """Bytes on their way in: counted, hashed, not yet a corpus."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path = path
        self.bytes = 0
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.bytes += len(data)

    def close(self) -> str:
        """Syncs the bytes to disk; returns their sha256."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._hash.hexdigest()


class CorpusStore:
    """The corpora below one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        make_directory(root)

    @contextmanager
    def upload(self) -> Iterator[Upload]:
        """A place for incoming bytes; removed after the block unless ``add`` took them."""
        place = self.root / f".stage-{secrets.token_hex(8)}"
        with staged(place), (place / "original").open("wb") as file:
            yield Upload(place / "original", file)

    def add(
        self, upload: Upload, tokens: Tokens, check: Callable[[Scan], None] | None = None
    ) -> tuple[str, ScanReport]:
        """Scans an upload and keeps it; the same bytes are kept once.

        Args:
            upload: the text.
            tokens: how to read it.
            check: raises if the text must not be kept.

        Returns:
            The corpus's id, and the report of the scan.

        Raises:
            CorpusError: it cannot be trained on; nothing is kept.
        """
        corpus_id = upload.close()
        target = self.root / corpus_id
        if is_directory(target) and self._repair(upload, target):
            found = self.scan(corpus_id, tokens)
            if check:
                check(found)
            return corpus_id, found.report
        found = scan(upload.path, tokens)
        if check:
            check(found)
        place = upload.path.parent
        _write_scan(place, found)
        if not self._place(place, target):
            _write_scan(target, found)
        return corpus_id, found.report

    def add_any(self, upload: Upload) -> str:
        """Keeps an upload, whatever it is, and returns its id; the report lists what is wrong."""
        corpus_id = upload.close()
        target = self.root / corpus_id
        if not (is_directory(target) and self._repair(upload, target)):
            self._place(upload.path.parent, target)
        return corpus_id

    def _repair(self, upload: Upload, directory: Path) -> bool:
        """Replaces a text that is not the one that was sent, and what was made from it.

        Returns:
            False if that cannot be; then the corpus is set aside.
        """
        if _is_text(directory):
            return True
        try:
            for name in names_in(directory):
                if Path(name).suffix in (".json", ".ids", ".sha256", ""):
                    remove(directory / name)
            upload.path.replace(directory / "original")
            sync_directory(directory)
        except OSError:
            set_aside(directory)
            return False
        return True

    def verify(self, corpus_id: str, tokens: Tokens) -> bool:
        """Compares a corpus's files with their digests before they are trained on.

        Returns:
            Whether files made from the text were damaged: they are gone, and are made again.

        Raises:
            UnknownCorpus: there is none.
            DamagedCorpus: the text is not the one that was sent.
        """
        directory = self._directory(corpus_id)
        if not _is_text(directory):
            raise DamagedCorpus
        made = [directory / f"{tokens}.{suffix}" for suffix in ("json", "ids", "sha256")]
        with _encoding(directory):
            was_encoded, is_recorded = (is_there(path) for path in made[1:])
            if not was_encoded or _is_as_encoded(directory, tokens):
                return False
            for path in made:
                remove(path)
        # An earlier release kept no digest: then nothing is known to be damaged.
        return is_recorded

    def _place(self, place: Path, target: Path) -> bool:
        """Moves a corpus into its place; False if the same bytes are there already."""
        sync_directory(place)
        try:
            place.rename(target)
        except OSError:
            if is_directory(target):
                return False
            # A file, or a link to nowhere.
            set_aside(target)
            place.rename(target)
        sync_directory(self.root)
        return True

    def has(self, corpus_id: str) -> bool:
        return CORPUS_ID.fullmatch(corpus_id) is not None and is_directory(self.root / corpus_id)

    def size(self, corpus_id: str) -> int:
        """Bytes as sent; 0 if there is no such corpus."""
        return _size(self.root / corpus_id / "original")

    def ids(self) -> list[str]:
        """Every corpus's id, in order."""
        return [name for name in sorted(names_in(self.root)) if self.has(name)]

    def report(self, corpus_id: str) -> ReportRecord:
        """The report for clients: read as characters, else as bytes, else only its size.

        Raises:
            UnknownCorpus: there is none.
        """
        path = self._directory(corpus_id) / "report.json"
        saved: _ReportFile | None = _saved(_REPORTS, path)
        if saved is None or saved["report"]["bytes"] != self.size(corpus_id):
            try:
                saved = {"format": _FORMAT, "report": self._examine(corpus_id)}
            except DamagedCorpus:
                tell_once(f"the text of corpus {corpus_id} is damaged: send it again")
                wrong = "the text is not the one that was sent: upload it again"
                return {"bytes": self.size(corpus_id), "warnings": [], "damaged": [wrong]}
            write_durably(path, json.dumps(saved).encode())
        return saved["report"]

    def _examine(self, corpus_id: str) -> ReportRecord:
        """Raises DamagedCorpus."""
        refusals: list[str] = []
        kinds: tuple[Tokens, ...] = ("characters", "bytes")
        for tokens in kinds:
            try:
                report = asdict(self.scan(corpus_id, tokens).report)
            except CorpusError as error:
                refusals.append(str(error))
                if isinstance(error, NotUtf8) and not error.is_text:
                    # Its bytes can be trained on, but nobody who sends an image wants that.
                    break
            else:
                # The refusal says more than the warning does.
                known = about_raw_bytes(self._directory(corpus_id) / "original") if refusals else []
                others = [words for words in report["warnings"] if words not in known]
                return cast(ReportRecord, report | {"warnings": [*refusals, *others]})
        return {"bytes": self.size(corpus_id), "warnings": refusals[:1]}

    @contextmanager
    def kept(self, corpus_id: str) -> Iterator[None]:
        """Keeps the corpus from being deleted during the block.

        Raises:
            UnknownCorpus: it has been deleted.
        """
        with self._deleting(fcntl.LOCK_SH):
            self._directory(corpus_id)
            yield

    def delete(self, corpus_id: str, needed_by: Callable[[str], str | None]) -> None:
        """Removes a corpus.

        Args:
            corpus_id: the corpus.
            needed_by: the id of an unended job that needs it, or None. No job of the corpus is
                made between this call and the removal, provided that jobs are made inside ``kept``.

        Raises:
            UnknownCorpus: there is none.
            CorpusInUse: a job needs it.
        """
        with self._deleting(fcntl.LOCK_EX):
            directory = self._directory(corpus_id)
            if job_id := needed_by(corpus_id):
                raise CorpusInUse(job_id)
            doomed = self.root / f".gone-{secrets.token_hex(8)}"
            directory.rename(doomed)
            sync_directory(self.root)
        remove(doomed)

    def _deleting(self, lock: int) -> AbstractContextManager[None]:
        return locked(self.root / ".deleting", lock)

    def sweep(self) -> None:
        """Removes what killed processes left half written or half deleted."""
        sweep_staged(self.root.glob(".stage-*"))
        for path in self.root.glob(".gone-*"):
            remove(path)

    def _directory(self, corpus_id: str) -> Path:
        if not self.has(corpus_id):
            raise UnknownCorpus(corpus_id)
        return self.root / corpus_id

    def scan(self, corpus_id: str, tokens: Tokens) -> Scan:
        """Scans a corpus as characters or as bytes; the result is kept.

        Raises:
            UnknownCorpus: there is none.
            CorpusError: it cannot be read that way.
            DamagedCorpus: the text is not the one that was sent.
        """
        directory = self._directory(corpus_id)
        original = directory / "original"
        saved: _ScanFile | None = _saved(_SCANS, directory / f"{tokens}.json")
        if saved and saved["report"].bytes == _size(original) and _is_as_scanned(saved):
            with suppress(ValueError):
                return Scan(saved["report"], Vocabulary.from_json(saved["vocabulary"]))
        if not _is_text(directory):
            raise DamagedCorpus
        found = scan(original, tokens)
        _write_scan(directory, found)
        return found

    def open(
        self,
        corpus_id: str,
        tokens: Tokens,
        validation_fraction: float,
        *,
        shuffle_lines: bool = False,
    ) -> Corpus:
        """Opens the encoded corpus with ``Corpus.open``; encodes it first if need be.

        Raises:
            UnknownCorpus: there is none.
            CorpusError: it cannot be read that way.
            DamagedCorpus: the text is not the one that was sent.
        """
        vocabulary = self.scan(corpus_id, tokens).vocabulary
        directory = self._directory(corpus_id)
        ids = directory / f"{tokens}.ids"
        with _encoding(directory):
            if not is_there(ids):
                for left in directory.glob(f".{ids.name}.*"):
                    remove(left)
                encode(directory / "original", vocabulary, ids)
                record = directory / f"{tokens}.sha256"
                write_durably(record, _encoded_digest(ids, vocabulary).encode())
            return Corpus.open(ids, vocabulary, validation_fraction, shuffle_lines=shuffle_lines)


def _encoding(directory: Path) -> AbstractContextManager[None]:
    """One at a time: a half-written file was left by a process that was killed."""
    return locked(directory / ".encoding")


def _digest(path: Path) -> str:
    """The digest of a file; empty if it cannot be read."""
    try:
        with open_file(path) as file:
            # mypy knows only files that can be read into a buffer, which these can.
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    except (CheckpointError, OSError):
        return ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def _is_text(directory: Path) -> bool:
    """Whether a corpus's text is the one that its id names."""
    return _digest(directory / "original") == directory.name


def _encoded_digest(ids: Path, vocabulary: Vocabulary) -> str:
    """The digest of a vocabulary, and that of the ids that were made with it."""
    return f"{_checksum(vocabulary.to_json())} {_digest(ids)}"


def _is_as_encoded(directory: Path, tokens: Tokens) -> bool:
    try:
        kept = read_bounded(directory / f"{tokens}.sha256", 200).decode("ascii")
        saved: _ScanFile | None = _saved(_SCANS, directory / f"{tokens}.json")
        vocabulary = Vocabulary.from_json(saved["vocabulary"]) if saved else None
    except ValueError:
        return False
    ids = directory / f"{tokens}.ids"
    return vocabulary is not None and kept == _encoded_digest(ids, vocabulary)


def _checksum(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _saved(kind: Records[Any], path: Path) -> Any:
    """A record; None if there is none, or if it is damaged or of another format."""
    try:
        saved = kind.read(path)
    except DamagedRecord as error:
        tell_once(f"{path}: {error}; it is made anew")
        return None
    return saved if saved and saved["format"] == _FORMAT else None


def _is_as_scanned(saved: _ScanFile) -> bool:
    checksum = saved.get("checksum")
    return checksum in (None, _checksum([asdict(saved["report"]), saved["vocabulary"]]))


def _write_scan(directory: Path, found: Scan) -> None:
    report, vocabulary = asdict(found.report), found.vocabulary.to_json()
    data = {
        "format": _FORMAT,
        "report": report,
        "vocabulary": vocabulary,
        "checksum": _checksum([report, vocabulary]),
    }
    write_durably(directory / f"{found.report.tokens}.json", json.dumps(data).encode())

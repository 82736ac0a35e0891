"""Corpora on disk, content-addressed.

A corpus is a directory ``<root>/<sha256 of the bytes as sent>/``:

    original             the bytes as sent
    <tokens>.json        the report of a scan and the vocabulary, per kind of token
    <tokens>.ids         the encoded ids, made by the worker when first trained on
    <tokens>.sha256      the digests of their vocabulary and of the ids, checked before training
    report.json          the report for clients, made when first asked for

Knows no Redis, no torch and no HTTP.
"""

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, NotRequired, Required, TypedDict, cast

from models.errors import Conflict, Damaged, NotFound
from models.files import sync_directory, write_durably
from models.places import staged, sweep
from models.text.cleaning import CorpusError, NotUtf8, about_raw_bytes
from models.text.corpus import Corpus, Scan, ScanReport, encode, scan
from models.text.doctor import InvisibleSymbol, RareSymbol
from models.text.vocab import Tokens, Vocabulary

CORPUS_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)

_FORMAT = 2
"""Of the files that keep a scan or a report: those of another format are made anew."""


class ReportRecord(TypedDict, total=False):
    """``models.text.corpus.ScanReport`` as JSON; only bytes and warnings of an unreadable text."""

    bytes: Required[int]
    characters: int
    distinct: int
    tokens: Tokens
    encoding: str
    line_ends: str
    lines: int
    normalised: list[str]
    rare: list[RareSymbol]
    unprintable: list[str]
    invisible: list[InvisibleSymbol]
    duplicate_line_share: float | None
    preset: str
    warnings: Required[list[str]]


class _ScanFile(TypedDict):
    """``checksum`` is of the other two; files of earlier releases have none."""

    format: int
    report: Mapping[str, Any]
    vocabulary: Mapping[str, Any]
    checksum: NotRequired[str]


class _ReportFile(TypedDict):
    format: int
    report: ReportRecord


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
        root.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def upload(self) -> Iterator[Upload]:
        """A place for incoming bytes; removed after the block unless ``add`` took them."""
        with staged(self.root / f".stage-{secrets.token_hex(8)}") as place:
            with (place / "original").open("wb") as file:
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
        if target.is_dir():
            self._repair(upload, target)
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
        if not self._place(upload.path.parent, self.root / corpus_id):
            self._repair(upload, self.root / corpus_id)
        return corpus_id

    def _repair(self, upload: Upload, directory: Path) -> None:
        """Replaces a text that is not the one that was sent, and what was made from it."""
        if _is_text(directory):
            return
        upload.path.replace(directory / "original")
        for path in directory.iterdir():
            if path.suffix in (".json", ".ids", ".sha256"):
                path.unlink(missing_ok=True)
        sync_directory(directory)

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
            raise DamagedCorpus(
                "its text is not the one that was sent: send the same text again with "
                "POST /corpora, then resume the job"
            )
        made = [directory / f"{tokens}.{suffix}" for suffix in ("json", "ids", "sha256")]
        with _encoding(directory):
            was_encoded, is_recorded = (path.exists() for path in made[1:])
            if not was_encoded or _is_as_encoded(directory, tokens):
                return False
            for path in made:
                path.unlink(missing_ok=True)
        # An earlier release kept no digest: then nothing is known to be damaged.
        return is_recorded

    def _place(self, place: Path, target: Path) -> bool:
        """Moves a corpus into its place; False if the same bytes are there already."""
        sync_directory(place)
        try:
            place.rename(target)
        except OSError:
            if not target.is_dir():
                raise
            return False
        sync_directory(self.root)
        return True

    def has(self, corpus_id: str) -> bool:
        return CORPUS_ID.fullmatch(corpus_id) is not None and (self.root / corpus_id).is_dir()

    def size(self, corpus_id: str) -> int:
        """Bytes as sent; 0 if there is no such corpus."""
        try:
            return (self.root / corpus_id / "original").stat().st_size
        except FileNotFoundError:
            return 0

    def ids(self) -> list[str]:
        """Every corpus's id, in order."""
        return sorted(p.name for p in self.root.iterdir() if CORPUS_ID.fullmatch(p.name))

    def report(self, corpus_id: str) -> ReportRecord:
        """The report for clients: read as characters, else as bytes, else only its size.

        Raises:
            UnknownCorpus: there is none.
        """
        path = self._directory(corpus_id) / "report.json"
        saved: _ReportFile | None = _saved(path)
        if saved is None:
            saved = {"format": _FORMAT, "report": self._examine(corpus_id)}
            write_durably(path, json.dumps(saved).encode())
        return saved["report"]

    def _examine(self, corpus_id: str) -> ReportRecord:
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
        shutil.rmtree(doomed, ignore_errors=True)

    @contextmanager
    def _deleting(self, lock: int) -> Iterator[None]:
        with (self.root / ".deleting").open("w") as file:
            fcntl.flock(file, lock)
            yield

    def sweep(self) -> None:
        """Removes what killed processes left half written or half deleted."""
        sweep((*self.root.glob(".stage-*"), *self.root.glob(".gone-*")))

    def _directory(self, corpus_id: str) -> Path:
        directory = self.root / corpus_id
        if not CORPUS_ID.fullmatch(corpus_id) or not directory.is_dir():
            raise UnknownCorpus(corpus_id)
        return directory

    def scan(self, corpus_id: str, tokens: Tokens) -> Scan:
        """Scans a corpus as characters or as bytes; the result is kept.

        Raises:
            UnknownCorpus: there is none.
            CorpusError: it cannot be read that way.
        """
        directory = self._directory(corpus_id)
        saved: _ScanFile | None = _saved(directory / f"{tokens}.json")
        if saved is None or not _is_as_scanned(saved):
            found = scan(directory / "original", tokens)
            _write_scan(directory, found)
            return found
        return Scan(ScanReport(**saved["report"]), Vocabulary.from_json(saved["vocabulary"]))

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
        """
        vocabulary = self.scan(corpus_id, tokens).vocabulary
        directory = self._directory(corpus_id)
        ids = directory / f"{tokens}.ids"
        with _encoding(directory):
            if not ids.exists():
                for left in directory.glob(f".{ids.name}.*"):
                    left.unlink()
                encode(directory / "original", vocabulary, ids)
                record = directory / f"{tokens}.sha256"
                write_durably(record, _encoded_digest(ids, vocabulary).encode())
            return Corpus.open(ids, vocabulary, validation_fraction, shuffle_lines=shuffle_lines)


@contextmanager
def _encoding(directory: Path) -> Iterator[None]:
    """One at a time: a half-written file was left by a process that was killed."""
    with (directory / ".encoding").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_text(directory: Path) -> bool:
    """Whether a corpus's text is the one that its id names."""
    try:
        return _digest(directory / "original") == directory.name
    except OSError:
        return False


def _encoded_digest(ids: Path, vocabulary: Vocabulary) -> str:
    """The digest of a vocabulary, and that of the ids that were made with it."""
    return f"{_checksum(vocabulary.to_json())} {_digest(ids)}"


def _is_as_encoded(directory: Path, tokens: Tokens) -> bool:
    try:
        kept = (directory / f"{tokens}.sha256").read_text("ascii")
        saved = _saved(directory / f"{tokens}.json")
        vocabulary = Vocabulary.from_json(saved["vocabulary"])
        return kept == _encoded_digest(directory / f"{tokens}.ids", vocabulary)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _checksum(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _saved(path: Path) -> Any:
    """The content of a file; None if there is none, or if it is of another format."""
    try:
        saved = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    is_ours = isinstance(saved, dict) and saved.get("format") == _FORMAT
    return saved if is_ours else None


def _is_as_scanned(saved: _ScanFile) -> bool:
    checksum = saved.get("checksum")
    return checksum in (None, _checksum([saved.get("report"), saved.get("vocabulary")]))


def _write_scan(directory: Path, found: Scan) -> None:
    data: _ScanFile = {
        "format": _FORMAT,
        "report": asdict(found.report),
        "vocabulary": found.vocabulary.to_json(),
    }
    data["checksum"] = _checksum([data["report"], data["vocabulary"]])
    write_durably(directory / f"{found.report.tokens}.json", json.dumps(data).encode())

"""Corpora on disk, content-addressed.

A corpus is a directory ``<root>/<sha256 of the bytes as sent>/``:

    original             the bytes as sent
    <tokens>.json        the report of a scan and the vocabulary, per kind of token
    <tokens>.ids         the encoded ids, made by the worker when first trained on
    <tokens>.sha256      of these and of their vocabulary
    report.json          the report for clients, made when first asked for

All but the original is made anew where it is damaged. A damaged original is told by its sha256, and
mended by sending the text again.

Knows no Redis, no torch and no HTTP.
"""

import fcntl
import hashlib
import json
import math
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, cast

# Not typing's: before Python 3.12 pydantic cannot check those.
from models.arrays import AnyInts
from models.errors import Conflict, Damaged, NotFound
from models.files import sync_directory, write_durably
from models.locks import PATIENCE, locked
from models.places import (
    is_directory,
    is_there,
    make_directory,
    names_in,
    remove,
    set_aside,
    staged,
    sweep_staged,
    tell_once,
)
from models.storage import ONE_DISK, Storage, StorageAway
from models.styles import TextPart
from models.text.cleaning import CorpusError, NotUtf8, about_raw_bytes
from models.text.corpus import Corpus, Scan, ScanReport, encode, read_ids, scan, spans_of
from models.text.spans import Spans
from models.text.vocab import Tokens, Vocabulary
from worker.corpus_files import (
    FORMAT,
    REPORTS,
    SCANS,
    ReportFile,
    checksum,
    digests,
    is_sealed,
    is_whole,
    mend,
    read_mark,
    read_saved,
    seal,
    size_of,
    write_mark,
    write_scan,
)
from worker.corpus_files import ReportRecord as ReportRecord

CORPUS_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)

_PATIENCES = {fcntl.LOCK_SH: PATIENCE, fcntl.LOCK_EX: math.inf}
"""Seconds that who keeps corpora, or deletes one, waits for the other: a backup keeps all of them
while it is taken."""

_ENCODING_SECONDS = 300.0
"""Encoding a text takes less, unless its process is frozen: a gigabyte takes 20 s."""

_DELETING = "deleting"
"""A file in a corpus that a host is about to delete, where hosts share no lock."""


class UnknownCorpus(NotFound):
    """No corpus has this id."""

    code = "unknown_corpus"


class CorpusDamaged(Damaged):
    """The text is not the one that the corpus's id stands for."""

    code = "damaged_corpus"

    def __init__(self) -> None:
        super().__init__("the text is damaged on the disk: upload it again")


class CorpusInUse(Conflict):
    """An unended job needs the corpus; ``job_id`` names it."""

    code = "corpus_in_use"

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"job {job_id} still needs this corpus: cancel it or wait for its end")


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

    def read(self) -> IO[bytes]:
        """Opens the bytes that were written."""
        self._file.flush()
        return self.path.open("rb")

    def close(self) -> str:
        """Syncs the bytes to disk; returns their sha256."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._hash.hexdigest()


Admit = Callable[[str, int], None]


def _admitted(upload: Upload, admit: Admit | None) -> str:
    corpus_id = upload.close()
    if admit:
        admit(corpus_id, upload.bytes)
    return corpus_id


class CorpusStore:
    """The corpora below one directory."""

    def __init__(self, root: Path, storage: Storage = ONE_DISK) -> None:
        self.root = root
        self._storage = storage
        make_directory(root)

    @contextmanager
    def upload(self) -> Iterator[Upload]:
        """A place for incoming bytes; removed after the block unless ``add`` took them."""
        place = self.root / f".stage-{secrets.token_hex(8)}"
        with staged(place), (place / "original").open("wb") as file:
            yield Upload(place / "original", file)

    def add(
        self,
        upload: Upload,
        tokens: Tokens,
        check: Callable[[Scan], None] | None = None,
        admit: Admit | None = None,
    ) -> tuple[str, ScanReport]:
        """Scans an upload and keeps it; the same bytes are kept once.

        Args:
            upload: the text.
            tokens: how to read it.
            check: raises if the text must not be kept.
            admit: as for ``add_any``.

        Returns:
            The corpus's id, and the report of the scan.

        Raises:
            CorpusError: it cannot be trained on; nothing is kept.
        """
        corpus_id = _admitted(upload, admit)
        if self.has(corpus_id):
            self._keep(upload.path, corpus_id)
            found = self.scan(corpus_id, tokens)
            if check:
                check(found)
            return corpus_id, found.report
        found = scan(upload.path, tokens)
        if check:
            check(found)
        write_scan(upload.path.parent, found)
        self._keep(upload.path, corpus_id)
        return corpus_id, found.report

    def add_any(self, upload: Upload, admit: Admit | None = None) -> str:
        """Keeps an upload, whatever it is, and returns its id; the report lists what is wrong.

        ``admit`` gets its id and bytes, and raises if it must not be kept.
        """
        corpus_id = _admitted(upload, admit)
        self._keep(upload.path, corpus_id)
        return corpus_id

    def _keep(self, original: Path, corpus_id: str) -> None:
        self._storage.change(self.root / corpus_id, lambda: self._place(original, corpus_id))

    def _place(self, original: Path, corpus_id: str) -> None:
        """Moves the corpus of an upload into place, or the text only if there is one already."""
        sync_directory(original.parent)
        if not self._renew(original, corpus_id):
            if is_there(self.root / corpus_id):
                set_aside(self.root / corpus_id)
            original.parent.rename(self.root / corpus_id)
            sync_directory(self.root)

    def _renew(self, original: Path, corpus_id: str) -> bool:
        """Replaces a corpus's text by the same, which may be damaged; False without a corpus."""
        directory = self.root / corpus_id
        if not is_directory(directory):
            return False
        remove(directory / _DELETING)
        # Not moved: whoever has it checks it once more.
        return mend(directory, original)

    def has(self, corpus_id: str) -> bool:
        if CORPUS_ID.fullmatch(corpus_id) is None:
            return False
        self._storage.refresh(self.root)
        if not is_directory(self.root / corpus_id):
            # Another host may have got it a moment ago.
            self._storage.refresh(self.root / corpus_id, is_needed=True)
        return is_directory(self.root / corpus_id)

    def size(self, corpus_id: str) -> int:
        """Bytes as sent; 0 if there is no such corpus."""
        return size_of(self.root / corpus_id / "original")

    def ids(self) -> list[str]:
        """Every corpus's id, in order."""
        self._storage.refresh(self.root)
        return [name for name in sorted(names_in(self.root)) if self.has(name)]

    def report(self, corpus_id: str) -> ReportRecord:
        """The report for clients: read as characters, else as bytes, else only its size.

        Raises:
            UnknownCorpus: there is none.
        """
        path = self._directory(corpus_id) / "report.json"
        saved: ReportFile | None = read_saved(REPORTS, path)
        if saved is None or saved["report"]["bytes"] != self.size(corpus_id):
            try:
                saved = {"format": FORMAT, "report": self._examine(corpus_id)}
            except CorpusDamaged as error:
                tell_once(f"corpus {corpus_id}: {error}")
                return {"bytes": self.size(corpus_id), "warnings": [], "damaged": [str(error)]}
            write_durably(path, json.dumps(saved).encode())
        return saved["report"]

    def _examine(self, corpus_id: str) -> ReportRecord:
        """Raises CorpusDamaged."""
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
                known = self._about_raw_bytes(corpus_id) if refusals else []
                others = [words for words in report["warnings"] if words not in known]
                return cast(ReportRecord, report | {"warnings": [*refusals, *others]})
        return {"bytes": self.size(corpus_id), "warnings": refusals[:1]}

    def _about_raw_bytes(self, corpus_id: str) -> list[str]:
        original = self._directory(corpus_id) / "original"
        with self._storage.using(original):
            return about_raw_bytes(original)

    @contextmanager
    def kept(self, corpus_id: str) -> Iterator[None]:
        """Keeps the corpus from being deleted during the block.

        Raises:
            UnknownCorpus: it has been deleted, or another host is about to.
        """
        with self._deleting(fcntl.LOCK_SH):
            directory = self._directory(corpus_id)
            yield
            # Who deletes says so before looking for jobs, so one of the two hears of the other.
            self._storage.refresh(directory, is_needed=True)
            if is_there(directory / _DELETING):
                raise UnknownCorpus(corpus_id)
            self._directory(corpus_id)

    def all_kept(self) -> AbstractContextManager[object]:
        """Keeps every corpus from being deleted during the block."""
        return self._deleting(fcntl.LOCK_SH)

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
        doomed = self.root / f".gone-{secrets.token_hex(8)}"
        with self._deleting(fcntl.LOCK_EX) as check:
            directory = self._directory(corpus_id)
            mark = directory / _DELETING
            marked = self._storage.exclude(directory, lambda: write_mark(mark))

            def unmark() -> None:
                if read_mark(mark) == marked:
                    remove(mark)

            def delete() -> None:
                # Unless somebody has sent the text again since.
                if read_mark(mark) == marked:
                    check()
                    directory.rename(doomed)

            if job_id := needed_by(corpus_id):
                self._storage.exclude(directory, unmark)
                raise CorpusInUse(job_id)
            self._storage.change(directory, delete)
            sync_directory(self.root)
        remove(doomed)

    def _deleting(self, lock: int) -> AbstractContextManager[Callable[[], None]]:
        return locked(self.root / ".deleting", lock, _PATIENCES[lock])

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
            CorpusDamaged: it is not the text that it was.
        """
        directory = self._directory(corpus_id)
        original = directory / "original"
        saved = read_saved(SCANS, directory / f"{tokens}.json")
        if saved is not None and saved["report"].bytes == size_of(original):
            with suppress(ValueError):
                found = Scan(saved["report"], Vocabulary.from_json(saved["vocabulary"]))
                if saved.get("checksum") in (None, checksum(found)):
                    return found
        with self._storage.using(original):
            self.verify(corpus_id)
            found = scan(original, tokens)
        with suppress(StorageAway):
            self._storage.change(directory, lambda: write_scan(directory, found))
        return found

    def verify(self, corpus_id: str) -> None:
        """Reads the whole text.

        Raises:
            UnknownCorpus: there is none.
            CorpusDamaged: it is not the text that the id stands for.
        """
        directory = self._directory(corpus_id)
        with self._storage.using(directory / "original"):
            if not is_whole(directory):
                raise CorpusDamaged

    def open(
        self,
        corpus_id: str,
        tokens: Tokens,
        validation_fraction: float,
        *,
        shuffle_lines: bool = False,
        parts: Sequence[TextPart] = (),
    ) -> Corpus:
        """Opens the encoded corpus with ``Corpus.open``; encodes it first if need be.

        ``parts`` are those of its text, if it has styles.

        Raises:
            UnknownCorpus: there is none.
            CorpusError: it cannot be read that way.
            CorpusDamaged: it is not the text that it was.
        """
        ids, vocabulary = self._encoded(corpus_id, tokens)
        styles = self.spans(corpus_id, tokens, parts) if parts else None
        return Corpus.open(
            ids, vocabulary, validation_fraction, shuffle_lines=shuffle_lines, styles=styles
        )

    def spans(self, corpus_id: str, tokens: Tokens, parts: Sequence[TextPart]) -> Spans:
        """Returns which symbols of a corpus are in which part, as ``spans_of`` does."""
        original = self._directory(corpus_id) / "original"
        with self._storage.using(original):
            return spans_of(original, tokens, parts)

    def symbols(self, corpus_id: str, tokens: Tokens) -> AnyInts:
        """Returns the symbols of a corpus, in memory; encodes it first if need be.

        Raises:
            UnknownCorpus, CorpusError, CorpusDamaged: as ``open``.
        """
        ids, vocabulary = self._encoded(corpus_id, tokens)
        return vocabulary.symbols[read_ids(ids, vocabulary)]

    def _encoded(self, corpus_id: str, tokens: Tokens) -> tuple[Path, Vocabulary]:
        """Returns where the ids of a corpus are, and their vocabulary."""
        directory = self._directory(corpus_id)
        ids = directory / f"{tokens}.ids"
        lock = locked(directory / ".encoding", patience=_ENCODING_SECONDS)
        with self._storage.using(directory / "original"), lock:
            self.verify(corpus_id)
            vocabulary = self.scan(corpus_id, tokens).vocabulary
            # One at a time: a half-written file was left by a process that was killed.
            for left in directory.glob(f".{ids.name}.*"):
                remove(left)
            if not is_sealed(ids, vocabulary):
                if is_directory(ids):
                    set_aside(ids)
                encode(directory / "original", vocabulary, ids)
                write_durably(seal(ids), digests(ids, vocabulary))
        return ids, vocabulary

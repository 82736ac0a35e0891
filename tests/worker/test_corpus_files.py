"""A corpus's files are believed where they are what they say."""

import hashlib
from pathlib import Path

import pytest

from models.text.corpus import scan
from worker import corpus_files
from worker.corpus_files import SCANS, is_sealed, is_whole, mend, read_saved, write_scan

TEXT = b"some text\n" * 100


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / hashlib.sha256(TEXT).hexdigest()
    made.mkdir()
    (made / "original").write_bytes(TEXT)
    return made


def test_a_damaged_text_is_mended_by_the_same(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(TEXT)
    assert is_whole(directory)
    (directory / "original").write_bytes(b"damaged")
    assert not is_whole(directory)
    assert mend(directory, tmp_path / "sent") and is_whole(directory)
    (directory / "original").unlink()
    (directory / "original").mkdir()
    assert mend(directory, tmp_path / "sent") and is_whole(directory)


def test_a_scan_is_read_as_it_was_written(directory: Path) -> None:
    found = scan(directory / "original", "characters")
    write_scan(directory, found)
    saved = read_saved(SCANS, directory / "characters.json")
    assert saved["report"] == found.report
    assert saved["checksum"] == corpus_files.checksum(found)
    (directory / "characters.json").write_text("{")
    assert read_saved(SCANS, directory / "characters.json") is None
    assert read_saved(SCANS, directory / "bytes.json") is None
    assert not is_sealed(directory / "characters.ids", found.vocabulary)


def test_a_mark_is_its_writers(tmp_path: Path) -> None:
    mark = tmp_path / "deleting"
    assert corpus_files.read_mark(mark) is None
    ours = corpus_files.write_mark(mark)
    assert corpus_files.read_mark(mark) == ours
    assert corpus_files.write_mark(mark) != ours
    assert corpus_files.size_of(mark) == 16 and corpus_files.size_of(tmp_path / "none") == 0

"""An n-gram model's file stays as long as a card names it, and is read without trust."""

import hashlib
import os
from pathlib import Path

import pytest

from models.checkpoints import ngrams
from models.checkpoints.ngrams import NGramFiles
from models.files import CheckpointError


@pytest.fixture
def files(tmp_path: Path) -> NGramFiles:
    return NGramFiles(tmp_path / "ngrams")


def test_a_file_comes_back_under_its_sha256(files: NGramFiles) -> None:
    digest = files.add(b"counts")
    assert digest == hashlib.sha256(b"counts").hexdigest()
    assert files.has(digest)
    assert files.read(digest) == b"counts"
    assert files.add(b"counts") == digest


def test_one_that_no_card_names_goes_after_a_while(files: NGramFiles) -> None:
    files.prune(set())
    named, stale, fresh = (files.add(data) for data in (b"named", b"stale", b"fresh"))
    for digest in (named, stale):
        os.utime(files.directory / digest, (0, 0))
    files.prune({named})
    assert {path.name for path in files.directory.iterdir()} == {named, fresh}


def test_a_damaged_file_is_refused(files: NGramFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = files.add(b"counts")
    path = files.directory / digest
    path.write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="digest"):
        files.read(digest)
    monkeypatch.setattr(ngrams, "MAX_NGRAM", 3)
    with pytest.raises(CheckpointError, match="too large"):
        files.read(digest)
    path.rename(files.directory / "elsewhere")
    with pytest.raises(CheckpointError, match="missing"):
        files.read(digest)
    path.symlink_to(files.directory / "elsewhere")
    with pytest.raises(CheckpointError, match="cannot be read"):
        files.read(digest)

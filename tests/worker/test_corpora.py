"""Corpora on disk: kept once, whole or not at all, read again without being scanned again."""

import hashlib
import json
import threading
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from models.text import corpus
from models.text.cleaning import CorpusError, NotUtf8
from models.text.corpus import ScanReport
from tests.support import TOY
from worker.corpora import CorpusInUse, CorpusStore, ReportRecord, UnknownCorpus

TEXT = "Жила-была серенькая козочка.\r\n" * 20


@pytest.fixture
def corpora(data: Path) -> CorpusStore:
    return CorpusStore(data / "corpora")


def add(corpora: CorpusStore, content: bytes) -> str:
    with corpora.upload() as upload:
        for start in range(0, len(content), 1000):
            upload.write(content[start : start + 1000])
        return corpora.add(upload, "characters")[0]


def test_a_corpus_is_named_by_the_bytes_that_were_sent(corpora: CorpusStore) -> None:
    corpus_id = add(corpora, TEXT.encode())
    assert corpus_id == hashlib.sha256(TEXT.encode()).hexdigest()
    assert (corpora.root / corpus_id / "original").read_bytes() == TEXT.encode()
    assert corpora.ids() == [corpus_id]


def test_the_same_bytes_are_kept_once(corpora: CorpusStore) -> None:
    assert add(corpora, TEXT.encode()) == add(corpora, TEXT.encode())
    assert len(list(corpora.root.glob("[!.]*"))) == 1
    assert not list(corpora.root.glob(".stage-*"))


def test_the_same_bytes_sent_at_the_same_time_are_kept_once(corpora: CorpusStore) -> None:
    with corpora.upload() as first, corpora.upload() as second:
        first.write(TEXT.encode())
        second.write(TEXT.encode())
        assert corpora.add(first, "characters") == corpora.add(second, "characters")
    assert not list(corpora.root.glob(".stage-*"))


def test_what_nothing_can_be_trained_on_leaves_nothing(corpora: CorpusStore) -> None:
    for content, error in ((b"", CorpusError), (b"a" * 500, CorpusError), (b"\xff" * 500, NotUtf8)):
        with pytest.raises(error):
            add(corpora, content)
    assert corpora.ids() == []
    assert not list(corpora.root.glob(".stage-*"))


def test_an_upload_that_breaks_off_leaves_nothing(corpora: CorpusStore) -> None:
    with pytest.raises(ConnectionError), corpora.upload() as upload:
        upload.write(b"half a te")
        raise ConnectionError
    assert not list(corpora.root.iterdir())


def test_ids_of_clients_never_leave_the_directory(corpora: CorpusStore) -> None:
    for corpus_id in ("..", "../../etc", "", "a" * 64 + "\n", "A" * 64, "0" * 64):
        with pytest.raises(UnknownCorpus):
            corpora.scan(corpus_id, "characters")


def test_it_is_scanned_once(corpora: CorpusStore) -> None:
    corpus_id = add(corpora, TEXT.encode())
    scanned = corpora.scan(corpus_id, "characters")
    original = corpora.root / corpus_id / "original"
    original.write_bytes(bytes(original.stat().st_size))
    again = corpora.scan(corpus_id, "characters")
    assert again.report == scanned.report
    assert again.vocabulary == scanned.vocabulary


def test_the_encoded_text_reads_back_as_it_was_cleaned(corpora: CorpusStore) -> None:
    corpus_id = add(corpora, TEXT.encode())
    opened = corpora.open(corpus_id, "characters", 0.25)
    ids = np.concatenate([opened.train, opened.validation])
    assert opened.vocabulary.decoder().decode(ids) == TEXT.replace("\r\n", "\n")
    assert len(opened.validation) == pytest.approx(0.25 * len(ids), abs=1)
    as_bytes = corpora.open(corpus_id, "bytes", 0.25)
    assert len(as_bytes.train) + len(as_bytes.validation) == len(TEXT.encode())


def test_encoding_is_done_once_however_many_want_it(
    corpora: CorpusStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus_id = add(corpora, TOY.encode())
    directory = corpora.root / corpus_id
    (directory / ".characters.ids.left").write_bytes(b"by a killed process")
    calls = []

    encode = corpus.encode

    def counting(*arguments: Path) -> None:
        calls.append(1)
        encode(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("worker.corpora.encode", counting)
    threads = [
        threading.Thread(target=corpora.open, args=(corpus_id, "characters", 0.1)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert not list(directory.glob(".characters.ids.*"))


def test_a_corpus_that_a_job_needs_stays(corpora: CorpusStore) -> None:
    corpus_id = add(corpora, TOY.encode())
    with pytest.raises(CorpusInUse) as in_use:
        corpora.delete(corpus_id, lambda _: "a job")
    assert in_use.value.job_id == "a job"
    corpora.delete(corpus_id, lambda _: None)
    assert corpora.ids() == []
    with pytest.raises(UnknownCorpus):
        corpora.open(corpus_id, "characters", 0.1)


def test_a_report_says_what_is_wrong_with_what_can_not_be_trained_on(corpora: CorpusStore) -> None:
    with corpora.upload() as upload:
        upload.write(b"tiny")
        corpus_id = corpora.add_any(upload)
    report = json.loads(json.dumps(corpora.report(corpus_id)))
    assert report["bytes"] == 4
    assert "at least 100" in report["warnings"][0]


def test_a_report_record_has_the_fields_of_a_report() -> None:
    scanned = [field.name for field in fields(ScanReport)]
    assert list(ReportRecord.__annotations__) == [*scanned, "damaged"]


@pytest.mark.parametrize("left", [b"", b"[]", b'{"format": 1, "report": {}}'])
def test_a_report_of_another_format_is_made_anew(corpora: CorpusStore, left: bytes) -> None:
    corpus_id = add(corpora, TOY.encode())
    report = corpora.report(corpus_id)
    (corpora.root / corpus_id / "report.json").write_bytes(left)
    assert corpora.report(corpus_id) == report


@pytest.mark.parametrize("left", [b"", TEXT.encode()[:100], None])
def test_the_same_text_sent_again_repairs_a_damaged_one(
    corpora: CorpusStore, left: bytes | None
) -> None:
    corpus_id = add(corpora, TEXT.encode())
    corpora.report(corpus_id)
    corpora.open(corpus_id, "characters", 0.1)
    original = corpora.root / corpus_id / "original"
    for send in (add, keep_any):
        if left is None:
            original.unlink()
        else:
            original.write_bytes(left)
        assert send(corpora, TEXT.encode()) == corpus_id
        assert original.read_bytes() == TEXT.encode()
        corpora.verify(corpus_id)
    assert corpora.report(corpus_id)["bytes"] == len(TEXT.encode())


def keep_any(corpora: CorpusStore, content: bytes) -> str:
    with corpora.upload() as upload:
        upload.write(content)
        return corpora.add_any(upload)


def test_a_scan_that_was_altered_is_made_again(corpora: CorpusStore) -> None:
    corpus_id = add(corpora, TEXT.encode())
    scanned = corpora.scan(corpus_id, "characters")
    path = corpora.root / corpus_id / "characters.json"
    saved = json.loads(path.read_bytes())
    saved["vocabulary"]["symbols"][5] = "x"
    path.write_text(json.dumps(saved))
    assert corpora.scan(corpus_id, "characters").vocabulary == scanned.vocabulary

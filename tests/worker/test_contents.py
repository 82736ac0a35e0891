"""Files that grow are sent and brought by their new parts; what is large comes when it is used."""

from pathlib import Path

import pytest

from tests.buckets import S3Server
from worker.storage import copies
from worker.storage.bucket import Bucket
from worker.storage.contents import MOST_PARTS, Contents
from worker.storage.heads import Grown, Stored


@pytest.fixture
def contents(bucket: S3Server) -> Contents:
    return Contents(Bucket(bucket.url))


def grown(contents: Contents, file: Path, before: Grown | None) -> Grown:
    part = contents.part(file, "events.jsonl", before, "data/jobs/one")
    assert isinstance(part, Grown)
    return part


def test_what_grew_is_sent_and_brought(contents: Contents, tmp_path: Path) -> None:
    here, there = tmp_path / "here" / "events.jsonl", tmp_path / "there" / "events.jsonl"
    copies.write(here, b"one\ntwo\n")
    part = grown(contents, here, None)
    assert contents.bring(there, part)
    with here.open("ab") as file:
        file.write(b"three\ntorn")
    longer = grown(contents, here, part)
    assert [size for _, size in longer.parts] == [8, 6]
    assert longer.parts[0] == part.parts[0]
    contents.place(there, "events.jsonl", longer)
    assert there.read_bytes() == b"one\ntwo\nthree\n"
    assert grown(contents, here, longer) is longer
    # What is here is not what was there: it is made anew, or sent anew.
    there.write_bytes(b"another\n")
    contents.place(there, "events.jsonl", longer)
    assert there.read_bytes() == b"one\ntwo\nthree\n"
    here.write_bytes(b"anew\n")
    assert len(grown(contents, here, longer).parts) == 1


def test_many_parts_become_one(contents: Contents, tmp_path: Path, bucket: S3Server) -> None:
    file, part = tmp_path / "events.jsonl", None
    for number in range(MOST_PARTS + 1):
        with file.open("a") as log:
            log.write(f"{number}\n")
        part = grown(contents, file, part)
    assert part and len(part.parts) == 1 and part.bytes == file.stat().st_size
    assert len(bucket.keys("data")) == MOST_PARTS + 1


def test_a_file_that_grows_is_here_only_where_it_is_used(
    contents: Contents, tmp_path: Path
) -> None:
    file = tmp_path / "events.jsonl"
    part = Grown((("data/nothing", 5),), "0" * 64)
    contents.place(file, "events.jsonl", part)
    assert not file.exists()
    assert not contents.bring(file, part)


def test_what_is_large_is_named_first_and_brought_when_used(
    contents: Contents, tmp_path: Path, bucket: S3Server
) -> None:
    here, there = tmp_path / "here" / "original", tmp_path / "there" / "original"
    copies.write(here, b"text" * 5000)
    part = contents.part(here, "original", None, "data/corpora/one")
    assert isinstance(part, Stored) and part.bytes == 20_000
    assert contents.part(here, "original", part, "data/corpora/one") == part
    contents.place(there, "original", part)
    assert copies.is_stand_in(there)
    assert contents.part(there, "original", part, "data/corpora/one") == part
    assert contents.bring(there, part)
    assert there.read_bytes() == here.read_bytes()
    contents.place(there, "original", part)
    assert not copies.is_stand_in(there)
    assert len(bucket.keys("data")) == 1
    bucket.objects.clear()
    contents.place(tmp_path / "third" / "original", "original", part)
    assert not contents.bring(tmp_path / "third" / "original", part)


def test_small_texts_are_in_the_head(contents: Contents, tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text("{}")
    assert contents.part(file, "spec.json", None, "data/x") == "{}"
    file.write_bytes(b"\xff")
    part = contents.part(file, "spec.json", None, "data/x")
    assert isinstance(part, Stored)
    contents.place(tmp_path / "copy", "spec.json", part)
    assert (tmp_path / "copy").read_bytes() == b"\xff"
    # Something else in its place gives way.
    (tmp_path / "copy").unlink()
    (tmp_path / "copy").mkdir()
    contents.place(tmp_path / "copy", "spec.json", "{}")
    assert (tmp_path / "copy").read_text() == "{}"
    assert contents.part(tmp_path / "nothing", "spec.json", None, "data/x") is None

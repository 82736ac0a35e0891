"""Conditional writes, outages and refusals of a bucket, over real HTTP."""

import io
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from models.storage import StorageAway
from tests.buckets import URL, S3Server
from tests.serving import eventually
from worker.storage.bucket import Bucket, Stale, StorageRefused


@pytest.fixture
def ours(bucket: S3Server) -> Bucket:
    return Bucket(bucket.url)


def test_an_object_is_replaced_by_who_has_seen_it(ours: Bucket) -> None:
    first = ours.write("a/b", b"1", None)
    with pytest.raises(Stale):
        ours.write("a/b", b"2", None)
    second = ours.write("a/b", b"2", first)
    with pytest.raises(Stale):
        ours.write("a/b", b"3", first)
    assert ours.read("a/b") == (b"2", second)
    assert ours.read("a/b", second) == (b"", "")
    assert ours.read("a/b", first) == (b"2", second)
    ours.delete(["a/b"])
    with pytest.raises(Stale):
        ours.write("a/b", b"3", second)
    assert ours.read("a/b") is None


def test_a_write_whose_answer_was_lost_has_succeeded(ours: Bucket) -> None:
    version = ours.write("a", b"1", None)
    assert ours.write("a", b"1", None) == version
    later = ours.write("a", b"2", version)
    assert ours.write("a", b"2", version) == later


def test_one_of_many_makes_an_object(ours: Bucket) -> None:
    def make(number: int) -> bool:
        try:
            ours.write("a", str(number).encode(), None)
        except Stale:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(make, range(32))) == 1


def test_large_files_go_and_come_in_parts(ours: Bucket, bucket: S3Server) -> None:
    data = bytes(range(256)) * 50_000
    ours.add("large", io.BytesIO(data))
    with tempfile.TemporaryFile() as file:
        assert ours.read_file("large", file)
        assert not ours.read_file("none", file)
        file.seek(0)
        assert file.read() == data
    assert ("POST", "fleet/large") in bucket.requests


def test_all_objects_are_listed(ours: Bucket) -> None:
    keys = [f"folder/{number:04d}" for number in range(1100)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: ours.add(key, b"12"), [*keys, "folders/0"]))
    found = list(ours.list("folder"))
    assert [one.key for one in found] == keys
    assert {one.size for one in found} == {2}
    assert all(-5 < one.age < 60 for one in found)


def test_an_outage_is_told_once_and_asked_for_by_one(
    ours: Bucket, bucket: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    ours.write("a", b"1", None)
    bucket.failing = True
    for _ in range(20):
        with pytest.raises(StorageAway):
            ours.read("a")
    assert ours.is_away
    # The first with its retries, and whoever looks whether it is back.
    assert bucket.requests_failed < 20
    bucket.failing = False
    eventually(lambda: not ours.is_away)
    assert ours.read("a")
    told = [record.getMessage() for record in caplog.records]
    assert [("does not answer" in one, "answers again" in one) for one in told] == [
        (True, False),
        (False, True),
    ]


@pytest.mark.parametrize(
    ("url", "variable", "value", "words"),
    [
        (URL, "AWS_ACCESS_KEY_ID", "another", "refuses the credentials"),
        ("s3://nowhere/fleet", "AWS_REGION", "us-east-1", "the bucket does not exist"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(
    url: str,
    variable: str,
    value: str,
    words: str,
    bucket: S3Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert bucket.port
    monkeypatch.setenv(variable, value)
    with pytest.raises(StorageRefused, match=words) as refused:
        Bucket(url).check()
    assert "\n" not in str(refused.value)


def test_a_bucket_that_does_not_answer_is_waited_for(
    bucket: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bucket.port
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StorageAway):
        Bucket(URL).check()


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(StorageRefused, match=r"install it with .*\[s3\]"):
        Bucket(URL)

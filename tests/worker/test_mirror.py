"""A copy of a bucket says what the heads say, whatever was left on the disk or goes on there."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from models.storage import StorageAway
from tests.buckets import S3Server
from tests.serving import eventually
from worker.data import DataDirectory
from worker.storage import copies
from worker.storage.bucket import Bucket
from worker.storage.mirror import FolderGone, Mirror

Host = Callable[[str], DataDirectory]


def mirror_of(data: DataDirectory) -> Mirror:
    assert isinstance(data.storage, Mirror)
    return data.storage


@pytest.fixture
def here(host: Host) -> Mirror:
    return mirror_of(host("here"))


@pytest.fixture
def there(host: Host) -> Mirror:
    return mirror_of(host("there"))


def put(mirror: Mirror, path: str, text: str) -> None:
    """Changes one file of the folder that has the first two parts of its path."""
    target = mirror.root / path
    folder = mirror.root.joinpath(*Path(path).parts[:2])
    mirror.change(folder, lambda: copies.write(target, text.encode()))


def seen(mirror: Mirror, path: str) -> str | None:
    mirror.refresh(mirror.root / path, is_needed=True)
    target = mirror.root / path
    return target.read_text() if target.is_file() else None


def test_a_change_is_there_for_others_when_it_returns(here: Mirror, there: Mirror) -> None:
    put(here, "jobs/1/spec.json", "one")
    assert seen(there, "jobs/1/spec.json") == "one"
    put(there, "jobs/1/plan.json", "large " * 5000)
    assert seen(here, "jobs/1/plan.json") == "large " * 5000
    assert seen(here, "jobs/1/spec.json") == "one"


def test_whoever_is_late_looks_again(here: Mirror, there: Mirror) -> None:
    put(here, "jobs/1/count", "0")
    folder, tries = here.root / "jobs" / "1", []

    def count_up() -> str:
        tries.append((folder / "count").read_text())
        if len(tries) == 1:
            put(there, "jobs/1/count", "10")
        copies.write(folder / "count", str(int(tries[-1]) + 1).encode())
        return tries[-1]

    assert here.change(folder, count_up) == "10"
    assert tries == ["0", "10"]
    assert seen(there, "jobs/1/count") == "11"


def test_many_who_change_a_folder_at_once_all_count(here: Mirror, there: Mirror) -> None:
    put(here, "jobs/1/count", "0")

    def count_up(mirror: Mirror) -> None:
        file = mirror.root / "jobs" / "1" / "count"
        for _ in range(10):
            mirror.change(
                file.parent, lambda: copies.write(file, str(int(file.read_text()) + 1).encode())
            )

    threads = [threading.Thread(target=count_up, args=(one,)) for one in (here, there, here, there)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen(here, "jobs/1/count") == "40"


def test_who_only_reads_does_not_wait_for_who_changes(here: Mirror) -> None:
    put(here, "models/m/tags/latest", "one")
    began, may_end = threading.Event(), threading.Event()

    def take_long() -> None:
        began.set()
        may_end.wait(30)

    folder = here.root / "models" / "m"
    changing = threading.Thread(target=here.change, args=(folder, take_long))
    changing.start()
    assert began.wait(30)
    here._looked.clear()
    here.refresh(folder)
    here.refresh(folder.parent)
    assert changing.is_alive()
    may_end.set()
    changing.join()


def test_what_an_act_raises_undoes_it(here: Mirror) -> None:
    put(here, "jobs/1/spec.json", "one")
    folder = here.root / "jobs" / "1"

    def fail() -> None:
        copies.write(folder / "spec.json", b"two")
        copies.write(folder / "new", b"new")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        here.change(folder, fail)
    assert copies.paths(folder) == ["spec.json"]
    assert (folder / "spec.json").read_text() == "one"


def test_what_a_bucket_did_not_take_is_undone(here: Mirror, bucket: S3Server) -> None:
    put(here, "jobs/1/spec.json", "one")
    folder = here.root / "jobs" / "1"

    def break_off() -> None:
        copies.write(folder / "spec.json", b"two")
        bucket.failing = True

    with pytest.raises(StorageAway):
        here.change(folder, break_off)
    assert (folder / "spec.json").read_text() == "one"
    # What is here is served meanwhile, unless that does not do.
    here.refresh(folder)
    with pytest.raises(StorageAway):
        here.refresh(folder, is_needed=True)
    bucket.failing = False
    eventually(lambda: not here.bucket.is_away)
    assert seen(here, "jobs/1/spec.json") == "one"


def test_a_change_begins_with_what_is_true(here: Mirror, host: Host) -> None:
    """Whatever a process that died left on the disk, or a disk made of it."""
    put(here, "jobs/1/spec.json", "one")
    folder = here.root / "jobs" / "1"
    copies.write(folder / "spec.json", b"damaged")
    copies.write(folder / "left", b"never sent")
    put(here, "jobs/1/plan.json", "plan")
    assert copies.paths(folder) == ["plan.json", "spec.json"]
    assert (folder / "spec.json").read_text() == "one"
    copies.write(here.root / "jobs" / "2" / "spec.json", b"never sent")
    here.refresh(here.root / "jobs", is_needed=True)
    assert not (here.root / "jobs" / "2").exists()
    assert host("here").storage is here


def test_a_job_that_is_gone_does_not_come_back(here: Mirror, there: Mirror) -> None:
    put(here, "jobs/1/spec.json", "one")
    seen(there, "jobs/1/spec.json")
    here.change(here.root / "jobs" / "1", lambda: copies.drop(here.root / "jobs" / "1"))
    there.refresh(there.root / "jobs", is_needed=True)
    assert not (there.root / "jobs" / "1").exists()
    with pytest.raises(FolderGone):
        put(there, "jobs/1/spec.json", "one")
    assert not (there.root / "jobs" / "1").exists()


def test_objects_go_with_what_named_them(here: Mirror, bucket: S3Server) -> None:
    put(here, "models/m/tags/one", "1" * 5000)
    put(here, "models/m/tags/one", "2" * 5000)
    put(here, "models/m/tags/two", "2" * 5000)
    assert len(bucket.keys("data/models/m")) == 2
    here.change(here.root / "models" / "m", lambda: copies.drop(here.root / "models" / "m"))
    assert bucket.keys("data/models/m") == []
    put(here, "models/m/tags/one", "again")


def test_what_was_deleted_elsewhere_is_sent_again(here: Mirror, there: Mirror, host: Host) -> None:
    put(here, "models/m/tags/one", "1" * 5000)
    there.change(there.root / "models" / "m", lambda: copies.drop(there.root / "models" / "m"))
    put(here, "models/m/tags/one", "1" * 5000)
    assert seen(mirror_of(host("third")), "models/m/tags/one") == "1" * 5000


def test_a_large_file_is_brought_once_and_makes_way(host: Host, bucket: S3Server) -> None:
    put(mirror_of(host("here")), "corpora/c/original", "text" * 1000)
    there = mirror_of(host("there"))
    there._room._most = 0
    path = there.root / "corpora" / "c" / "original"
    there.refresh(path, is_needed=True)
    assert copies.is_stand_in(path)
    with there.using(path):
        assert path.read_text() == "text" * 1000
        before = len(bucket.requests)
        with there.using(path.parent):
            assert len(bucket.requests) == before
    with there.using(path.parent):
        there._room.make()
        assert not copies.is_stand_in(path)
    there._room.make()
    assert copies.is_stand_in(path)


def test_what_was_sent_makes_way_once_the_bucket_has_it(host: Host) -> None:
    here = mirror_of(host("here"))
    here._room._most = 0
    path = here.root / "corpora" / "c" / "original"

    def add() -> None:
        copies.write(path, b"text" * 1000)
        here._room.make()
        assert not copies.is_stand_in(path)

    here.change(path.parent, add)
    assert copies.is_stand_in(path)
    with here.using(path):
        assert path.read_text() == "text" * 1000


def test_what_is_cached_serves_a_process_that_starts_in_an_outage(
    here: Mirror, bucket: S3Server
) -> None:
    put(here, "corpora/c/original", "text" * 1000)
    put(here, "corpora/d/original", "text" * 2000)
    copies.stand_in(here.root / "corpora" / "d" / "original", 8000)
    bucket.failing = True
    again = Mirror(here.root, Bucket(bucket.url), 1 << 30)
    path = here.root / "corpora" / "c" / "original"
    with again.using(path), again.using(path.parent):
        assert path.read_text() == "text" * 1000
    with pytest.raises(StorageAway), again.using(here.root / "corpora" / "d" / "original"):
        pass


def test_damage_in_the_bucket_hides_only_itself(
    here: Mirror, there: Mirror, bucket: S3Server
) -> None:
    for job in "123":
        put(here, f"jobs/{job}/spec.json", job)
    bucket.objects["fleet/heads/jobs/2"].data = b"{"
    put(here, "jobs/3/plan.json", "p" * 5000)
    for key in bucket.keys("data/jobs/3"):
        del bucket.objects[f"fleet/{key}"]
    there.refresh(there.root / "jobs", is_needed=True)
    found = {path.name for path in (there.root / "jobs").iterdir()}
    assert "1" in found and "2" not in found

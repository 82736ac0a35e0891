"""A folder becomes what its head says, and a head what the folder is."""

from pathlib import Path

import pytest

from tests.buckets import S3Server
from worker.storage import copies
from worker.storage.bucket import Bucket
from worker.storage.contents import Contents
from worker.storage.heads import Grown, Head
from worker.storage.placing import apply, gather


@pytest.fixture
def contents(bucket: S3Server) -> Contents:
    return Contents(Bucket(bucket.url))


def put(folder: Path, **files: str) -> None:
    for name, text in files.items():
        copies.write(folder / name.replace("__", "/"), text.encode())


def read(folder: Path) -> dict[str, str]:
    return {path: (folder / path).read_text() for path in copies.paths(folder)}


def test_a_folder_is_gathered_and_applied(contents: Contents, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    put(here, spec="one", tags__latest="a", large="x" * 9000)
    head = Head(gather(contents, here, Head(), "data/x"))
    apply(contents, there, head, head.files)
    assert read(there) == read(here)
    put(here, spec="two", tags__other="b")
    copies.drop(here / "tags" / "latest")
    copies.drop(here / "large")
    after = Head(gather(contents, here, head, "data/x"))
    put(there, left="by somebody")
    apply(contents, there, after, after.changed(head), is_whole=False)
    assert read(there) == {"spec": "two", "tags/other": "b", "left": "by somebody"}
    apply(contents, there, after, after.files)
    assert read(there) == read(here)


def test_directories_that_are_empty_go(contents: Contents, tmp_path: Path) -> None:
    put(tmp_path / "m", spec="one", tags__latest="a")
    apply(contents, tmp_path / "m", Head({"spec": "one"}), ["spec"])
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["spec"]
    apply(contents, tmp_path / "m", Head({"turn.json": "1"}), [])
    assert not (tmp_path / "m").exists()


def test_half_of_a_state_is_none(contents: Contents, tmp_path: Path) -> None:
    put(tmp_path, state__00000001__rest="", spec="one")
    put(tmp_path / "state" / "00000002", **{"rest.json": "{}", "tensors.safetensors": "t"})
    copies.write(tmp_path / "state" / "00000003" / "rest.json", b"{}")
    found = gather(contents, tmp_path, Head(), "data/x")
    complete = {"state/00000002/rest.json", "state/00000002/tensors.safetensors"}
    assert {path for path in found if path.startswith("state/0000000")} == complete


def test_what_is_not_here_stays_what_it_was(contents: Contents, tmp_path: Path) -> None:
    put(tmp_path / "job", spec="one")
    before = Head({"events.jsonl": Grown((("k", 1),), ""), "turn.json": "1", "gone": "x"})
    found = gather(contents, tmp_path / "job", before, "data/x")
    assert found.keys() == {"spec", "events.jsonl", "turn.json"}
    assert gather(contents, tmp_path / "none", before, "data/x").keys() == {"turn.json"}

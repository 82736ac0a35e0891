"""A tag names a digest and the one before it, or nothing."""

from pathlib import Path

import pytest

from models.checkpoints.tags import Tags

FIRST, SECOND, THIRD = "1" * 64, "2" * 64, "3" * 64


@pytest.fixture
def tags(tmp_path: Path) -> Tags:
    (tmp_path / "tags").mkdir()
    return Tags(tmp_path / "tags")


def test_a_tag_comes_back_with_the_one_before(tags: Tags) -> None:
    tags.write("latest", FIRST)
    assert tags.digests("latest") == [FIRST]
    tags.write("latest", SECOND, FIRST)
    assert tags.digest("latest") == SECOND
    assert tags.digests("latest") == [SECOND, FIRST]
    assert (tags.directory / "latest").read_text() == f"{SECOND}\n{FIRST}"


def test_tags_are_found_by_what_they_name(tags: Tags) -> None:
    tags.write("latest", SECOND, FIRST)
    tags.write("b", SECOND)
    tags.write("a", THIRD)
    assert sorted(tags.names()) == ["a", "b", "latest"]
    assert tags.naming(SECOND) == ["b", "latest"]
    assert tags.naming(FIRST) == []
    tags.remove(["a", "never"])
    assert sorted(tags.names()) == ["b", "latest"]


@pytest.mark.parametrize(
    "content", [b"", b"abc", b"\xff" * 64, FIRST.encode() + b"\nabc", b"../" + FIRST.encode()]
)
def test_a_file_that_is_not_a_tag_names_nothing(content: bytes, tags: Tags) -> None:
    (tags.directory / "odd").write_bytes(content)
    assert tags.digest("odd") is None
    assert tags.digests("odd") == []
    assert tags.remains("odd") == content


def test_what_is_no_file_names_nothing(tags: Tags) -> None:
    (tags.directory / "directory").mkdir()
    (tags.directory / ".latest.1234").write_text(FIRST)
    for tag in ("directory", "absent"):
        assert tags.digest(tag) is None
        assert tags.remains(tag) == b""
    assert tags.names() == ["directory"]
    assert Tags(tags.directory / "absent").names() == []
    assert Tags(tags.directory / "absent").digest("latest") is None

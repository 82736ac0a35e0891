"""A record is what its class says, or damaged, in words; what another release added stays."""

from pathlib import Path

import pytest
from pydantic import with_config
from typing_extensions import TypedDict

from worker.records import RECORD, Count, DamagedRecord, Number, Records


@with_config(RECORD)
class Inner(TypedDict):
    loss: Number | None


@with_config(RECORD)
class Outer(TypedDict):
    name: str
    step: Count
    inner: Inner | None


SOUND = b'{"name": "x", "step": 3, "inner": {"loss": 1}, "later": [1]}'
RECORDS, PARTIAL = Records(Outer), Records(Outer, partial=True)


def test_a_record_comes_back_with_what_another_release_added(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    assert RECORDS.read(path) is None
    path.write_bytes(SOUND)
    assert RECORDS.read(path) == {"name": "x", "step": 3, "inner": {"loss": 1}, "later": [1]}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (bytes(100), "is empty"),
        (SOUND[:20], "is not valid JSON"),
        (b"\xff" + SOUND, "is not valid JSON"),
        (SOUND.replace(b"3", b"9" * 5000), "is not valid JSON"),
        (SOUND.replace(b": 1", b": NaN"), "is not valid JSON"),
        (b"[]", "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (b"{}", "name is not what"),
        (SOUND.replace(b'"x"', b"1"), "name is not what"),
        (SOUND.replace(b"3", b"true"), "step is not what"),
        (SOUND.replace(b"3", b"-3"), "step is not what"),
        (SOUND.replace(b"3", b"3e300"), "step is not what"),
        (SOUND.replace(b": 1", b": 1e300"), "inner.loss is not what"),
        (SOUND.replace(b'{"loss": 1}', b"[]"), "inner is not what"),
    ],
)
def test_a_damaged_record_says_what_is_wrong(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "record.json").write_bytes(data)
    with pytest.raises(DamagedRecord, match=words) as damage:
        RECORDS.read(tmp_path / "record.json")
    assert str(damage.value).startswith("record.json ")
    assert str(tmp_path) not in str(damage.value)


def test_what_is_no_file_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("/nowhere")
    for name in ("directory", "link"):
        with pytest.raises(DamagedRecord):
            RECORDS.read(tmp_path / name)


def test_parts_may_be_missing_only_where_that_is_said() -> None:
    assert [*PARTIAL.parse(b'{"step": 1}', "it").items()] == [("step", 1)]
    with pytest.raises(DamagedRecord, match="step"):
        PARTIAL.parse(b'{"step": "1"}', "it")

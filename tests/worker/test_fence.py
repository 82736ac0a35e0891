"""The newest epoch on disk is the only one that may write."""

from pathlib import Path

import pytest

from worker import fence
from worker.fence import Fenced


def test_epochs_rise_and_only_the_last_passes(tmp_path: Path) -> None:
    assert fence.next_epoch(tmp_path) == 1
    first = fence.begin(tmp_path, 1, "first")
    first.check()
    assert fence.next_epoch(tmp_path) == 2
    second = fence.begin(tmp_path, 2, "second")
    second.check()
    with pytest.raises(Fenced, match=r"second has taken over with epoch 2: .* epoch 1"):
        first.check()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"epoch": -1, "owner": ""}', b'{"epoch": 1}'])
def test_after_a_damaged_one_comes_one_that_nobody_had(tmp_path: Path, content: bytes) -> None:
    first = fence.begin(tmp_path, 3, "first")
    (tmp_path / "epoch.json").write_bytes(content)
    first.check()
    fence.begin(tmp_path, fence.next_epoch(tmp_path), "second").check()
    with pytest.raises(Fenced):
        first.check()


def test_what_others_prepared_is_taken_away(tmp_path: Path) -> None:
    (tmp_path / "state" / ".stage-1").mkdir(parents=True)
    (tmp_path / "state" / "00000001").mkdir()
    for name in (".result.json.0", "spec.json"):
        (tmp_path / name).touch()
    fence.sweep(tmp_path)
    assert {p.name for p in tmp_path.rglob("*")} == {"state", "00000001", "spec.json"}


def test_of_two_with_one_epoch_the_last_may_write(tmp_path: Path) -> None:
    first = fence.begin(tmp_path, 1, "first")
    second = fence.begin(tmp_path, 1, "second")
    second.check()
    with pytest.raises(Fenced, match="second has taken over"):
        first.check()


def test_a_directory_tells_whether_there_was_a_turn(tmp_path: Path) -> None:
    assert not fence.has_begun(tmp_path)
    fence.begin(tmp_path, 1, "first")
    assert fence.has_begun(tmp_path)

"""What a disk keeps of a folder: stand-ins for what is large, and an order that hides nothing."""

from pathlib import Path

import pytest

from worker.storage import copies


def test_what_is_kept_comes_in_an_order_in_which_it_may_be_read(tmp_path: Path) -> None:
    for path in (
        "events.jsonl",
        "result.json",
        "state/00000001/rest.json",
        "spec.json",
        "lock",
        "reserve",
        ".stage-1/x",
        "characters.ids",
        "characters.sha256",
        "report.json",
    ):
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path)
    kept = ["result.json", "state/00000001/rest.json", "spec.json", "events.jsonl"]
    assert copies.paths(tmp_path) == kept
    placed = sorted([*kept, "epoch.json", "tags/latest"], key=copies.placing_order)
    assert placed[0] == "epoch.json"
    assert placed[-2:] == ["tags/latest", "result.json"]
    assert copies.paths(tmp_path / "spec.json") == [""]
    assert copies.paths(tmp_path / "nothing") == []


@pytest.mark.parametrize(
    ("path", "is_large"),
    [
        ("original", True),
        (f"{'a' * 64}/model.safetensors", True),
        ("state/00000001/tensors.safetensors", True),
        (f"ngrams/{'a' * 64}", True),
        (f"{'a' * 64}/card.json", False),
        ("state/00000001/rest.json", False),
        ("tags/original", False),
    ],
)
def test_what_is_brought_only_when_it_is_used(path: str, is_large: bool) -> None:
    assert copies.is_large(path) is is_large


def test_a_stand_in_has_the_size_and_takes_no_room(tmp_path: Path) -> None:
    path = tmp_path / "original"
    copies.stand_in(path, 10_000_000)
    assert path.stat().st_size == 10_000_000
    assert path.stat().st_blocks == 0
    assert copies.is_stand_in(path)
    copies.write(path, b"real")
    assert not copies.is_stand_in(path)
    assert not copies.is_stand_in(tmp_path / "nothing")


def test_nothing_is_left_of_what_was_being_brought(tmp_path: Path) -> None:
    copies.stage(tmp_path / "jobs" / "one").mkdir()
    copies.stage(tmp_path / "file").write_text("half")
    copies.write(tmp_path / "jobs" / "two" / "spec.json", b"{}")
    copies.sweep(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["jobs", "two", "spec.json"]
    copies.drop(tmp_path / "jobs")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_another_has_another_signature(tmp_path: Path) -> None:
    path = tmp_path / "file"
    copies.write(path, b"1")
    before = copies.signature(path)
    assert before == copies.signature(path)
    copies.write(path, b"2")
    assert copies.signature(path) != before
    assert copies.signature(tmp_path / "nothing") is None
    assert copies.at(path, "") == path

"""What people say of a model, and files in its place that say something else."""

from pathlib import Path

import pytest

from models.checkpoints.about import MAX_NOTES, About, read_about, write_about


def test_what_is_said_is_read_again(tmp_path: Path) -> None:
    assert read_about(tmp_path) == About("", False)
    said = About("Drivers only.\né\u2028🦊", is_pinned=True)
    write_about(tmp_path, said)
    assert read_about(tmp_path) == said
    longest = About("🦊" * MAX_NOTES)
    write_about(tmp_path, longest)
    assert read_about(tmp_path) == longest


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff", b'{"notes": [], "pinned": 1}', b" " * 100_000]
)
def test_damage_is_nothing_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "about.json").write_bytes(content)
    assert read_about(tmp_path) == About("", False)


def test_a_folder_in_its_place_is_nothing_said(tmp_path: Path) -> None:
    (tmp_path / "about.json").mkdir()
    assert read_about(tmp_path) == About("", False)

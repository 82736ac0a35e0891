"""The terminal makes one text of what it is given, and says what was taken."""

import gzip
import io
from pathlib import Path

import pytest

from app.supervisor.errors import UserError
from app.terminal.packing import opened
from tests.commands import charloom
from tests.packed import zip_of


def text_of(*paths: Path, as_sent: bool = False) -> bytes:
    with opened(paths, as_sent=as_sent) as (text, parts):
        assert parts == {}
        return text.read()


def styled(*paths: Path) -> tuple[str, str]:
    with opened(paths, styles=True) as (text, parts):
        return text.read().decode(), parts["styles"]


def test_a_folder_is_one_text_and_what_is_left_out_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.txt").write_text("Two.\n")
    russian = "Все счастливые семьи похожи друг на друга. " * 20  # noqa: RUF001
    (tmp_path / "one.txt").write_bytes(russian.encode("koi8-r"))
    for n in range(12):
        (tmp_path / f"{n:02}.lock").touch()
    text = text_of(tmp_path)
    assert text.decode() == f"Two.\n\n{russian}"
    said = capsys.readouterr().err
    assert "the text is made of 2 files" in said
    assert "one.txt is read as KOI8-R" in said
    assert "00.lock is left out: it is a lockfile" in said
    assert "2 more are left out. Of all, 12 because it is a lockfile" in said


def test_several_files_and_archives(tmp_path: Path) -> None:
    one, two, three = (tmp_path / name for name in ("1.txt", "2.zip", "3.txt.gz"))
    one.write_text("One.")
    two.write_bytes(zip_of({"a": "Two."}))
    three.write_bytes(gzip.compress(b"Three."))
    assert text_of(three, one, two) == b"One.\n\nTwo.\n\nThree."
    assert text_of(three) == b"Three."


def test_one_text_is_sent_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "a.txt"
    text.write_bytes(b"\xef\xbb\xbfas it is\r\n")
    assert text_of(text) == b"\xef\xbb\xbfas it is\r\n"
    packed = tmp_path / "a.gz"
    packed.write_bytes(gzip.compress(b"text"))
    assert text_of(packed, as_sent=True) == packed.read_bytes()
    assert capsys.readouterr().err == ""


def test_each_file_folder_or_named_path_is_a_style(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Jane Austen").mkdir()
    for name, text in (("Jane Austen/b", "Two.\n"), ("Jane Austen/a", "One.\n"), ("poe.txt", "3")):
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    text = "One.\n\nTwo.\n\n3"
    assert styled(Path("poe.txt"), Path("Jane Austen")) == (text, "jane-austen:12,poe:1")
    assert styled(tmp_path) == (text, "jane-austen:12,poe:1")
    assert "style jane-austen: 12 bytes" in capsys.readouterr().err
    assert styled(Path("z=Jane Austen/a"), Path("y=poe.txt")) == ("3\n\nOne.\n", "y:3,z:5")
    for paths in ([Path("poe.txt")], [Path("a=poe.txt"), Path("a=poe.txt")]):
        with pytest.raises(UserError, match="--styles must be at least two"):
            styled(*paths)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*gone: No such file"):
        text_of(tmp_path / "gone")
    with pytest.raises(UserError, match=r"cannot read .*gone: No such file"):
        text_of(tmp_path, tmp_path / "gone")
    with pytest.raises(UserError, match="it is empty"):
        text_of(tmp_path)
    with pytest.raises(UserError, match="standard input"):
        text_of(tmp_path, Path("-"))


def test_standard_input_is_a_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(b"piped")
    with path.open("rb") as file:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(file))
        assert text_of(Path("-")) == b"piped"


def test_the_command_takes_a_folder_and_names_what_it_leaves_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("It was the best of times.\n" * 9)
    (tmp_path / "yarn.lock").write_text("It was the worst of times.\n" * 9)
    done = charloom("train", tmp_path, "--check")
    assert done.returncode == 0
    assert "characters:        234, 15 distinct" in done.stdout
    assert done.stderr.splitlines() == [
        "the text is made of 1 file, 234 bytes",
        "note: yarn.lock is left out: it is a lockfile",
    ]

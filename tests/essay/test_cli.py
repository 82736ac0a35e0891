"""The commands around the essay: its texts and its experiments, listed and gathered."""

import re
from io import StringIO
from pathlib import Path

import pytest

from app.essay import cli
from app.essay.cli import OWN_SOURCES
from app.essay.experiments import EXPERIMENTS
from app.terminal.output import tell
from tests.commands import charloom
from tests.terminal.test_progress import displayed


def test_texts_are_listed_and_this_projects_own_is_gathered(tmp_path: Path) -> None:
    listed = charloom("corpus", "list", "--data", tmp_path).stdout
    assert re.search(r"(?m)^tinyshakespeare +1,115,394 +no +public domain", listed)
    fetched = charloom("corpus", "fetch", "charloom", "--data", tmp_path)
    assert fetched.returncode == 0, fetched.stderr
    text = Path(fetched.stdout.strip()).read_text()
    assert text.count('"""Texts for the terminal\'s commands') == 1
    assert len(OWN_SOURCES) and "# charloom\n" in text and len(text) > 500_000
    listed = charloom("corpus", "list", "--data", tmp_path).stdout
    assert re.search(r"(?m)^charloom +none +yes", listed)
    check = charloom("train", fetched.stdout.strip(), "--check")
    assert check.returncode == 0


def test_a_command_without_a_network_says_what_to_do(tmp_path: Path) -> None:
    done = charloom(
        "corpus", "fetch", "names", "--data", tmp_path, https_proxy="http://127.0.0.1:1"
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "cannot reach raw.githubusercontent.com: " in done.stderr
    assert "--corpus FILE" in done.stderr
    unknown = charloom("corpus", "fetch", "nothing", "--data", tmp_path)
    assert unknown.returncode == 1 and "choose one of tinyshakespeare, " in unknown.stderr


def test_a_folder_is_packed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("alpha\n")
    (tmp_path / "b.txt").write_bytes(b"\xff")
    target = tmp_path / "packed.txt"
    done = charloom("corpus", "pack", f"{tmp_path}/*.txt", "--to", target)
    assert done.returncode == 0
    assert "7 bytes; files packed: 1; skipped, since not UTF-8: 1" in done.stderr
    assert target.read_text() == "alpha\n\n"
    none = charloom("corpus", "pack", f"{tmp_path}/*.rs", "--to", target)
    assert none.returncode == 1 and "no text file matches" in none.stderr
    full = charloom("corpus", "pack", f"{tmp_path}/*.txt", "--to", "/dev/full")
    words = "charloom: cannot pack: No space left on device: /dev/full\n"
    assert (full.returncode, full.stderr) == (1, words)


def test_a_pack_overwrites_none_of_its_sources(tmp_path: Path) -> None:
    for name in ("a.c", "b.c"):
        (tmp_path / name).write_text(f"int {name};\n")
    (tmp_path / "link.txt").symlink_to("a.c")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for name in ("a.c", "../" + tmp_path.name + "/a.c", "link.txt"):
        target = f"{tmp_path}/{name}"
        done = charloom("corpus", "pack", f"{tmp_path}/*.c", "--to", target)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert done.stderr.startswith(f"charloom: {target} is one of the files to pack")
        assert "--to" in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_they_are_listed_with_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "names.txt").write_text("anna\n")
    listed = charloom("experiment", "list", "--data", tmp_path).stdout
    assert re.search(r"(?m)^names +names +yes +Baby names$", listed)
    assert re.search(r"(?m)^linux +linux +no ", listed)
    assert re.search(r"(?m)^cells +linux +model ", listed)
    assert len(listed.splitlines()) == 1 + len(EXPERIMENTS)
    for name, words in (
        ("linux --minutes=2", "download it with ./charloom corpus fetch linux"),
        (
            "paul-graham --minutes=2",
            "cannot be redistributed; pass your own copy with --corpus FILE",
        ),
        ("names --minutes=1 --corpus=/nowhere", "there is no file /nowhere"),
        ("names --minutes=1 --model=names", "--model skips training"),
        (f"cells --to={tmp_path}/texts/names.txt", f"File exists: {tmp_path}/texts/names.txt"),
        ("juggling", "no experiment is named so; choose one of paul-graham, "),
    ):
        done = charloom("experiment", "run", *name.split(), "--data", tmp_path)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert words in done.stderr


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_download_shows_how_far_it_is_in_a_terminal(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: is_terminal)
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with cli._shown() as show:
        show(1_000_000, 2_000_000)
        tell("this stands above the bar")
        show(2_000_000, 2_000_000)
    said, *bar = displayed(stream.getvalue()).splitlines()
    assert said == "this stands above the bar"
    assert ["2.0/2.0 MB" in line for line in bar] == ([True] if is_terminal else [])

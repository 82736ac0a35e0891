"""The texts that commands are given: their beginnings, and reports on whole ones."""

import re
from pathlib import Path

from tests.commands import charloom
from tests.serving import TEXT


def test_the_beginning_of_a_long_text_is_read(tmp_path: Path, url: str) -> None:
    file = tmp_path / "long.txt"
    file.write_text("あ" * 20_001, "utf-8")
    done = charloom("inspect", file, "--model=toy", "--top=0", "--url", url)
    assert done.stdout.replace("\n", "") == "あ" * 20_000
    assert "only the first 20,000 characters" in done.stderr
    file.write_bytes(b"caf\xe9")
    done = charloom("inspect", file, "--model=toy", "--url", url)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "the text is not UTF-8: invalid byte at offset 3; it ends within a char" in done.stderr
    file.write_bytes(("A b\n" * 40).encode("utf-16-le"))
    wide = charloom("score", file, "--model=toy", "--url", url)
    assert wide.returncode == 1 and "iconv -f UTF-16LE -t UTF-8 FILE > NEW\n" in wide.stderr
    # Nothing is trained here, on bytes or otherwise.
    assert "bytes to train" not in done.stderr


def test_a_check_says_what_a_text_is_and_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(TEXT.replace("\n", "\r\n"))
    done = charloom("train", tmp_path / "list.txt", "--check", "--data", tmp_path / "data")
    assert done.returncode == 0 and done.stderr == ""
    facts = dict(re.findall(r"(?m)^([a-z ]+): +(.*)$", done.stdout))
    assert facts["characters"].startswith(f"{len(TEXT):,}, ")
    assert facts["read as"] == "characters (ascii), line ends crlf"
    assert "CRLF" in facts["changed"] and facts["lines"] == "100"
    assert [path.name for path in tmp_path.iterdir()] == ["list.txt"]


def test_a_check_of_what_is_no_text_fails(tmp_path: Path) -> None:
    short = charloom("train", "-", "--check", text="too short")
    assert short.returncode == 1
    assert "send at least 100" in short.stdout
    (tmp_path / "latin").write_bytes("naïve\n".encode("latin-1") * 100)
    latin = charloom("train", tmp_path / "latin", "--check")
    assert (latin.returncode, "offset 2;" in latin.stdout) == (1, True)
    assert "--tokens bytes" in latin.stdout and "tokens=bytes" not in latin.stdout
    latin = charloom("train", tmp_path / "latin", "--check", "--tokens", "bytes")
    assert latin.returncode == 0
    assert "bytes (bytes)" in latin.stdout

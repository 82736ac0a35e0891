"""However a text's blocks fall, it is read as if whole; what can't be read is explained exactly."""

import random
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from models.text import cleaning
from models.text.cleaning import CorpusError, NotUtf8
from models.text.corpus import encode, id_type, scan
from models.text.kinds import BINARY
from models.text.vocab import Vocabulary


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "text"


def cleaned(data: bytes) -> str:
    """The whole at once, as the documentation says it."""
    text = data.decode().replace("\r\n", "\n").replace("\r", "\n")
    lines = (line.lstrip("\ufeff") for line in text.split("\n"))
    return unicodedata.normalize("NFC", "\n".join(lines))


def read_back(path: Path) -> str:
    """Scanned, encoded to disk and decoded again."""
    vocabulary = scan(path).vocabulary
    target = path.with_name("ids")
    encode(path, vocabulary, target)
    return vocabulary.decoder().decode(np.fromfile(target, id_type(vocabulary)))


JAMO = "\u1112\u1161\u11ab\u1100\u1173\u11af한하"
MARKS = "e\u0301\u0323o\u0308\u0327é\u09c7\u09be\u0b47\u0b3e"


@pytest.mark.parametrize(
    "alphabet",
    [
        "\r\n",
        "\r\na",
        "a\r\né日",
        JAMO,
        JAMO + "\r\n ",
        MARKS,
        MARKS + "\r\n",
        "가\u11a8\u0301😀\r\n",
        "\ufeff\r\na",
    ],
    ids=["line ends", "lines", "words", "jamo", "jamo lines", "marks", "mark lines", "all", "BOMs"],
)
def test_blocks_are_read_as_the_whole(
    alphabet: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random_ = random.Random(alphabet)
    for _ in range(12):
        text = "".join(random_.choices(alphabet, k=random_.randint(300, 400))) + "the end"
        data = random_.choice(["", "\ufeff"]).encode() + text.encode()
        path.write_bytes(data)
        monkeypatch.setattr(cleaning, "_BLOCK", random_.randint(1, 40))
        assert read_back(path) == cleaned(data)


@pytest.mark.parametrize("middle", ["\r\n", "e\u0301", "\u1100\u1161\u11a8", "\r", "\n\r"])
@pytest.mark.parametrize("letters", ["я", "ᄀ", "か", "\u1100\u1161"])
def test_a_long_text_without_ascii_is_cut_as_well(
    letters: str, middle: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No space and no line end near the end of a block."""
    before = letters * 4500
    data = (before + middle + before + "\n ab").encode()
    path.write_bytes(data)
    # Borders at, just before and just after the middle.
    for shift in range(-1, len(middle.encode()) + 1):
        monkeypatch.setattr(cleaning, "_BLOCK", len(before.encode()) + shift)
        assert read_back(path) == cleaned(data)


def test_no_letter_that_a_block_may_begin_with_joins_what_stands_before() -> None:
    """By Unicode's own data, for every character that this Python knows."""
    joining = {chr(c) for c in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}
    for character in map(chr, range(0x110000)):
        parts = unicodedata.decomposition(character).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            joining.add(chr(int(parts[1], 16)))
    for character in map(chr, range(0x80, 0x110000)):
        if cleaning._separates(character):
            first = unicodedata.normalize("NFD", character)[0]
            assert not unicodedata.combining(first) and first not in joining


def test_endless_marks_are_read_in_bounded_memory(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "_BLOCK", 1000)
    path.write_bytes(("ab" + "\u0301" * 20_000).encode())
    blocks = list(cleaning.Cleaner().blocks(path))
    assert max(map(len, blocks)) < 6000
    assert sum(map(len, blocks)) == 20_002


@pytest.mark.parametrize(
    "bad",
    [b"\xff", b"\xc3(", b"\xe2\x82", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\xc0\xaf", b"\x80"],
    ids=repr,
)
@pytest.mark.parametrize("rest", ["and so on", ""], ids=["within", "at the end"])
def test_the_first_bad_byte_is_named_wherever_a_block_ends(
    bad: bytes, rest: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ("naïve 日本 " * 3).encode() + bad + rest.encode()
    with pytest.raises(UnicodeDecodeError) as plain:
        data.decode()
    path.write_bytes(data)
    for block in range(1, len(data) + 2):
        monkeypatch.setattr(cleaning, "_BLOCK", block)
        with pytest.raises(NotUtf8, match=f"offset {plain.value.start};") as refusal:
            scan(path)
        assert refusal.value.offset == plain.value.start
        assert "tokens=bytes" in str(refusal.value)


def test_the_whole_at_once_is_the_blocks(path: Path) -> None:
    data = "\ufeffcafe\u0301\r\nand so on\r".encode()
    path.write_bytes(data)
    assert cleaning.cleaned(path) == cleaned(data) == "café\nand so on\n"


def test_what_was_changed_is_remembered(path: Path) -> None:
    path.write_bytes(b"a\r\nb\rc\n")
    cleaner = cleaning.Cleaner()
    assert "".join(cleaner.blocks(path)) == "a\nb\nc\n"
    assert (cleaner.crlf, cleaner.cr, cleaner.lf) == (1, 1, 1)
    assert cleaner.line_ends() == "mixed"
    assert cleaner.normalised() == [
        "1 CRLF line ends converted to LF",
        "1 CR line ends converted to LF",
    ]


def test_joined_files_lose_their_byte_order_marks(path: Path) -> None:
    path.write_bytes("\ufeffone\r\n\ufefftwo\n\ufeff\ufeffthree\ufeffand four\n".encode())
    cleaner = cleaning.Cleaner()
    assert "".join(cleaner.blocks(path)) == "one\ntwo\nthree\ufeffand four\n"
    assert cleaner.normalised()[:2] == [
        "byte-order mark stripped",
        "3 byte-order marks at the beginning of lines dropped",
    ]


def test_a_text_of_marks_has_no_characters(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "_BLOCK", 3)
    path.write_bytes(("\ufeff" * 500).encode())
    assert list(cleaning.Cleaner().blocks(path)) == []
    with pytest.raises(CorpusError, match="has 0 characters"):
        scan(path)


@pytest.mark.parametrize("share", [0.08, 0.12])
def test_too_many_control_characters_are_no_text(share: float, path: Path) -> None:
    """Also far from the beginning: by then it was read as UTF-8."""
    text = "a line of a text, and so on\n" * 4000
    path.write_bytes(text.encode() + b"\x01" * int(len(text) * share))
    if share > BINARY:
        with pytest.raises(NotUtf8, match=f"offset {len(text)};.*binary file") as refusal:
            scan(path)
        assert not refusal.value.is_text
    else:
        assert "U+0001 (8,960×)" in scan(path).report.warnings[0]


def test_primes_are_read_as_the_corpus_is() -> None:
    vocabulary = Vocabulary("characters", [0x0A, *range(0x20, 0x7F), 0xE9])
    assert vocabulary.as_read("\ufeffcafe\u0301\r\n\ufeffand") == "café\nand"

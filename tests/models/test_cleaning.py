"""However a text's blocks fall, it is read as if whole; what can't be read is explained exactly."""

import random
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from models.text import cleaning
from models.text.cleaning import NotUtf8
from models.text.corpus import encode, id_type, scan

PROSE = "It was the best of times,\nit was the worst of times.\n" * 4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "text"


def cleaned(data: bytes) -> str:
    """The whole at once, as the documentation says it."""
    text = data.decode().removeprefix("\ufeff")
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))


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
    ],
    ids=["line ends", "lines", "words", "jamo", "jamo lines", "marks", "mark lines", "all"],
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
        with pytest.raises(NotUtf8, match=f"offset {plain.value.start} ") as refusal:
            scan(path)
        assert refusal.value.offset == plain.value.start
        assert "tokens=bytes" in str(refusal.value)


@pytest.mark.parametrize(
    ("data", "guess"),
    [
        (PROSE.encode("utf-16"), "starts like UTF-16"),
        (b"\xfe\xff" + PROSE.encode("utf-16-be"), "starts like UTF-16"),
        ((PROSE + "é").encode("utf-16-le"), "UTF-16 without a byte-order mark"),
        ((PROSE + "Crème brûlée").encode("latin-1"), "looks like Latin-1"),
        ((PROSE + "“Crème”").encode("cp1252"), "looks like Windows-1252"),
        (bytes(range(256)) * 4, "binary file"),
        ((PROSE + "“Crème”").encode()[:-1], "damaged or cut off"),
    ],
    ids=["UTF-16", "UTF-16-BE", "no mark", "Latin-1", "Windows-1252", "binary", "cut off"],
)
def test_the_encoding_is_guessed(data: bytes, guess: str, path: Path) -> None:
    path.write_bytes(data)
    with pytest.raises(NotUtf8, match=guess):
        scan(path)


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

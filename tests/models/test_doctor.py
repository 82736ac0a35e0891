"""A text is examined block by block, and what is odd about it is told in words."""

import random

import numpy as np
import pytest

from models.arrays import AnyInts
from models.text import doctor
from models.text.cleaning import symbols
from models.text.doctor import Examination, LineCensus, is_list
from models.text.vocab import Tokens, Vocabulary

PROSE = "".join(f"It was the {n} best of times, it was the worst.\n" for n in range(600))


def examined(text: str | bytes, block: int = 1 << 20, tokens: Tokens = "characters") -> Examination:
    found = Examination(tokens)
    for begin in range(0, len(text), block):
        piece = text[begin : begin + block]
        found.read(symbols(piece), piece)
    return found


def warnings(text: str | bytes, tokens: Tokens = "characters") -> list[str]:
    found = examined(text, tokens=tokens)
    return found.warnings(found.duplicate_line_share())


# Lists


def points(text: str) -> AnyInts:
    return np.array([ord(character) for character in text])


def test_a_list_is_known_by_its_short_lines() -> None:
    assert is_list(points("anna\nbert\ncarl\n" * 20), 0x0A)
    assert not is_list(points("a line of a text that goes on for more than that\nand\n" * 20), 0x0A)
    assert not is_list(points("a\nb"), 0x0A)


def test_one_long_line_in_a_hundred_is_forgiven() -> None:
    short, long = "a" * 39 + "\n", "a" * 60 + "\n"
    assert is_list(points(short * 200 + long), 0x0A)
    assert not is_list(points(short * 100 + long * 2), 0x0A)


def test_the_first_block_says_whether_it_is_a_list() -> None:
    names = "anna\nbert\n" * 20
    assert examined(names + PROSE, block=len(names)).is_list
    assert not examined(PROSE + names, block=len(PROSE)).is_list


# Repeated lines


@pytest.mark.parametrize("block", [1, 7, 1000])
@pytest.mark.parametrize("end", ["", "\n", "\na", "\n\n\n"])
def test_repeated_lines_are_counted_however_blocks_fall(block: int, end: str) -> None:
    random_ = random.Random(block)
    lines = [random_.choice(["", "a", "b", "cc", "a\r", "long " * 50]) for _ in range(300)]
    text = "\n".join(lines) + end
    whole = [line for line in text.split("\n") if line]
    census = LineCensus()
    for begin in range(0, len(text), block):
        census.add(text[begin : begin + block].encode())
    assert census.duplicate_share() == pytest.approx(1 - len(set(whole)) / len(whole))


def test_a_text_without_lines_repeats_none() -> None:
    assert LineCensus().duplicate_share() is None
    census = LineCensus()
    census.add(b"\n\n\n")
    assert census.duplicate_share() is None
    assert examined("no end").duplicate_line_share() is None


def test_memory_is_bounded_and_the_share_about_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_CENSUS", 1000)
    monkeypatch.setattr(doctor, "_PENDING", 2000)
    census = LineCensus()
    for begin in range(0, 60_000, 500):
        # Each line twice, far from each other.
        numbers = (number % 30_000 for number in range(begin, begin + 500))
        census.add("".join(f"line {number}\n" for number in numbers).encode())
        assert len(census._keys) <= 1000 + 2000
    assert census.duplicate_share() == pytest.approx(0.5, abs=0.05)


# What is told


def test_a_clean_text_is_not_warned_of() -> None:
    assert warnings(PROSE) == []


def test_rare_symbols_are_named_the_rarest_first() -> None:
    found = examined(PROSE + "zz€")
    vocabulary = Vocabulary("characters", found.present.tolist())
    assert found.rare(vocabulary) == [{"char": "€", "count": 1}, {"char": "z", "count": 2}]
    assert found.warnings(None) == []


def test_rare_symbols_are_told_of_up_to_a_hundred() -> None:
    found = examined("".join(map(chr, range(0x4E00, 0x4E00 + 300))))
    assert len(found.rare(Vocabulary("characters", found.present.tolist()))) == 100


def test_control_characters_are_named() -> None:
    assert examined("a\t\n\0\x1b\ue000").unprintable() == ["U+0000", "U+001B", "U+E000"]
    assert examined(bytes(range(256)), tokens="bytes").unprintable() == []
    assert "U+001B ESCAPE (20×)" in warnings(PROSE + "\x1b" * 20)[0]


@pytest.mark.parametrize(
    ("character", "name"),
    [
        ("\ufeff", "U+FEFF ZERO WIDTH NO-BREAK SPACE"),
        ("\u200b", "U+200B ZERO WIDTH SPACE"),
        ("\u00ad", "U+00AD SOFT HYPHEN"),
        ("\u200e", "U+200E LEFT-TO-RIGHT MARK"),
        ("\u202e", "U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("\u2060", "U+2060 WORD JOINER"),
        ("\u00a0", "U+00A0 NO-BREAK SPACE"),
        ("\u2009", "U+2009 THIN SPACE"),
        ("\u2028", "U+2028 LINE SEPARATOR"),
        ("\u0000", "U+0000 NULL"),
        ("\u0085", "U+0085 NEXT LINE"),
        ("\u009d", "U+009D"),
        ("\ue000", "U+E000"),
        ("\U000e0041", "U+E0041 TAG LATIN CAPITAL LETTER A"),
        ("\u3164", "U+3164 HANGUL FILLER"),
        ("\u034f", "U+034F COMBINING GRAPHEME JOINER"),
        ("\u2800", "U+2800 BRAILLE PATTERN BLANK"),
        ("\ufe0f", "U+FE0F VARIATION SELECTOR-16"),
        ("\U000e0101", "U+E0101 VARIATION SELECTOR-18"),
    ],
)
def test_what_nobody_sees_is_named_and_counted(character: str, name: str) -> None:
    text = PROSE + f"in{character}visible\n" * 12
    assert examined(text).invisible() == [{"char": character, "name": name, "count": 12}]
    assert f"that nobody sees: {name} (12×)" in warnings(text)[0]
    assert examined(text.encode(), tokens="bytes").invisible() == []


def test_what_nobody_sees_is_told_the_most_frequent_first() -> None:
    text = PROSE + "".join(chr(0x2000 + n) * (30 - n) for n in range(11)) + "\u3000日本"
    found = examined(text).invisible()
    assert [one["count"] for one in found] == list(range(30, 19, -1))
    assert "U+2009 THIN SPACE (21×) and 1 more. Remove" in warnings(text)[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (PROSE + "cafÃ© " * 5, '5 places look like "Ã©"'),
        (PROSE + "itâ\u20ac\u2122s " * 5, '5 places look like "Ã©"'),
        (PROSE + "\ufffd" * 20, "20 characters are U+FFFD"),
        (PROSE * 2, "50% of its lines repeat earlier ones"),
        ("abcdefgh\n" * 100, "900 characters are few"),
        (PROSE + "".join(map(chr, range(0x4E00, 0x5000))) * 10, "Chinese, Japanese and Korean"),
        (PROSE + "".join(map(chr, range(0x400, 0x600))) * 10, "read with the wrong encoding"),
    ],
    ids=["Ã©", "â€™", "lost", "repeats", "few", "ideographs", "many"],
)
def test_what_is_odd_is_told(text: str, words: str) -> None:
    assert any(words in warning for warning in warnings(text)), warnings(text)


def test_a_few_garbled_places_may_be_meant() -> None:
    assert not any("Ã©" in warning for warning in warnings(PROSE + "cafÃ© " * 4 + "é" * 20))


def test_bytes_are_not_taken_for_characters() -> None:
    data = "".join(map(chr, range(0x4E00, 0x5000))).encode() * 40
    assert not any("distinct" in warning for warning in warnings(data, "bytes"))

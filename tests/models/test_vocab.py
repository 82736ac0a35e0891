"""A text comes back as it went in, an unknown character has a name, and a piece is always text."""

import json
import random
import time
import unicodedata
from typing import Any

import numpy as np
import pytest

from models.config import MAX_VOCABULARY
from models.text.vocab import UnknownCharacters, Vocabulary, compose, name_character

LETTERS = Vocabulary("characters", sorted(map(ord, "\n abcé😀")))
EVERY_BYTE = Vocabulary("bytes", list(range(256)))


def decoded(vocabulary: Vocabulary, ids: Any) -> str:
    return vocabulary.decoder().decode(np.asarray(ids), final=True)


def test_a_text_comes_back_as_it_went_in() -> None:
    ids = LETTERS.encode("abé\n😀 c")
    assert ids.tolist() == [2, 3, 5, 0, 6, 1, 4]
    assert decoded(LETTERS, ids) == "abé\n😀 c"


def test_any_text_comes_back_through_bytes() -> None:
    text = "naïve\r\n日本 😀\0"
    assert EVERY_BYTE.encode(text).tolist() == list(text.encode())
    assert decoded(EVERY_BYTE, EVERY_BYTE.encode(text)) == text


def test_the_largest_byte_is_a_symbol_like_any_other() -> None:
    """What is beyond it, 256, does not fit in the type of a byte."""
    vocabulary = Vocabulary("bytes", [0x61, 0xFF])
    assert vocabulary.lookup(np.array([0x61, 0x62, 0xFE, 0xFF], np.uint8)).tolist() == [
        0,
        -1,
        -1,
        1,
    ]


def test_what_is_beyond_the_largest_symbol_is_unknown() -> None:
    vocabulary = Vocabulary("characters", [0x61, 0x62])
    points = np.array([0x60, 0x62, 0x63, 0x10FFFF], np.uint32)
    assert vocabulary.lookup(points).tolist() == [-1, 1, -1, -1]


def test_unknown_characters_are_named_once_each_in_order() -> None:
    with pytest.raises(UnknownCharacters) as refusal:
        LETTERS.encode("zaz\tyb\u200b")
    assert refusal.value.characters == ["\t", "y", "z", "\u200b"]
    assert str(refusal.value).endswith("vocabulary: U+0009, 'y', 'z', U+200B")


def test_many_unknown_characters_are_counted_not_listed() -> None:
    with pytest.raises(UnknownCharacters, match=r"'9' and 16 more$"):
        Vocabulary("characters", [0x61]).encode("0123456789ABCDEFGHIJKLMNOP")


@pytest.mark.parametrize("vocabulary", [LETTERS, EVERY_BYTE], ids=["characters", "bytes"])
def test_half_a_surrogate_pair_is_unknown(vocabulary: Vocabulary) -> None:
    """JSON can say it; it has no UTF-8, so it must not get as far as the wire."""
    with pytest.raises(UnknownCharacters, match=r"U\+D83D") as refusal:
        vocabulary.encode("a\ud83d")
    str(refusal.value).encode()


def test_bytes_name_the_character_that_they_lack() -> None:
    with pytest.raises(UnknownCharacters) as refusal:
        Vocabulary("bytes", sorted(set("aé".encode()))).encode("aéèa")
    assert refusal.value.characters == ["è"]


@pytest.mark.parametrize(
    ("prime", "read"),
    [("a\r\nb\rc\n", "a\nb\nc\n"), ("e\u0301", "é"), ("\r\n\r\n", "\n\n"), ("", "")],
)
def test_a_prime_is_cleaned_as_the_corpus_was(prime: str, read: str) -> None:
    assert decoded(LETTERS, LETTERS.encode(prime)) == read


def test_bytes_are_left_as_they_are() -> None:
    prime = "a\r\ne\u0301\r"
    assert decoded(EVERY_BYTE, EVERY_BYTE.encode(prime)) == prime


@pytest.mark.parametrize(
    ("symbols", "first"),
    [("\n ab", "\n"), ("\t ab", " "), ("ab", "a")],
    ids=["line", "space", "id 0"],
)
def test_a_stream_begins_after_a_line_end_if_there_is_one(symbols: str, first: str) -> None:
    vocabulary = Vocabulary("characters", sorted(map(ord, symbols)))
    assert decoded(vocabulary, [vocabulary.start_id]) == first


def test_the_line_end_has_an_id_where_there_is_one() -> None:
    assert Vocabulary("characters", sorted(map(ord, "\t\n ab"))).newline_id == 1
    assert Vocabulary("bytes", [0x0A, 0x41]).newline_id == 0
    assert Vocabulary("characters", sorted(map(ord, "ab"))).newline_id == -1


def test_every_split_of_a_text_in_bytes_gives_whole_characters() -> None:
    """And together the text, wherever a tick happens to end."""
    text = "aé日😀ñ"
    ids = EVERY_BYTE.encode(text)
    for first in range(len(ids) + 1):
        for second in range(first, len(ids) + 1):
            decoder = EVERY_BYTE.decoder()
            parts = (ids[:first], ids[first:second], ids[second:])
            pieces = [decoder.decode(part) for part in parts]
            assert "".join(pieces) == text
            assert "\ufffd" not in "".join(pieces)


def test_bytes_that_are_no_text_become_text_whatever_the_splits() -> None:
    """A network in byte mode may say anything: the pieces are UTF-8 and don't depend on splits."""
    random_ = random.Random(5)
    alphabet = [0x41, 0x80, 0xBF, 0xC3, 0xA9, 0xE2, 0xED, 0xA0, 0xF0, 0x9F, 0xF5, 0xFF]
    for _ in range(300):
        said = bytes(random_.choices(alphabet, k=random_.randrange(12)))
        ids = np.frombuffer(said, np.uint8).astype(np.int64)
        decoder = EVERY_BYTE.decoder()
        pieces = []
        while len(ids):
            cut = random_.randint(1, len(ids))
            pieces.append(decoder.decode(ids[:cut]))
            ids = ids[cut:]
        pieces.append(decoder.decode(ids, final=True))
        for piece in pieces:
            piece.encode()
        assert "".join(pieces) == said.decode("utf-8", "replace")


def test_a_pile_of_marks_costs_no_more_than_its_length() -> None:
    """Python's own normalisation takes a minute for this one."""
    pile = "a" + "\u0301\u0323" * 200_000
    began = time.process_time()
    assert compose("e\u0301" + pile + "e\u0301") == "é" + pile + "é"
    assert time.process_time() - began < 5


def test_composing_is_nfc_for_every_text_that_people_write() -> None:
    random_ = random.Random(6)
    alphabet = "ae\n \u0301\u0323\u0327\u1112\u1161\u11abé각\u09c7\u09be\u2126\uf900\U0001d15e"
    for _ in range(500):
        text = "".join(random_.choices(alphabet, k=20))
        assert compose(text) == unicodedata.normalize("NFC", text)


def test_the_json_of_a_vocabulary_stays_as_it_is() -> None:
    """Checkpoints hold it."""
    assert json.dumps(LETTERS.to_json(), ensure_ascii=False) == (
        '{"tokens": "characters", "symbols": ["\\n", " ", "a", "b", "c", "é", "😀"]}'
    )
    assert json.dumps(Vocabulary("bytes", [0, 10, 255]).to_json()) == (
        '{"tokens": "bytes", "symbols": [0, 10, 255]}'
    )


@pytest.mark.parametrize("vocabulary", [LETTERS, EVERY_BYTE], ids=["characters", "bytes"])
def test_a_vocabulary_comes_back_from_its_json(vocabulary: Vocabulary) -> None:
    again = Vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json())))
    assert again == vocabulary
    assert (again.tokens, again.symbols.tolist()) == (
        vocabulary.tokens,
        vocabulary.symbols.tolist(),
    )


def test_vocabularies_of_different_tokens_or_symbols_differ() -> None:
    assert Vocabulary("bytes", [97]) != Vocabulary("characters", [97])
    assert Vocabulary("bytes", [97]) != Vocabulary("bytes", [98])


@pytest.mark.parametrize(
    "hostile",
    [
        None,
        [],
        "characters",
        {},
        {"tokens": "characters"},
        {"tokens": "characters", "symbols": "ab"},
        {"tokens": "characters", "symbols": []},
        {"tokens": "characters", "symbols": ["b", "a"]},
        {"tokens": "characters", "symbols": ["a", "a"]},
        {"tokens": "characters", "symbols": ["ab"]},
        {"tokens": "characters", "symbols": [""]},
        {"tokens": "characters", "symbols": [97]},
        {"tokens": "characters", "symbols": ["\ud800"]},
        {"tokens": "characters", "symbols": [None]},
        {"tokens": "bytes", "symbols": [256]},
        {"tokens": "bytes", "symbols": [-1, 5]},
        {"tokens": "bytes", "symbols": [1.0]},
        {"tokens": "bytes", "symbols": [False, True]},
        {"tokens": "bytes", "symbols": ["a"]},
        {"tokens": "bytes", "symbols": [[]]},
        {"tokens": "words", "symbols": [1]},
        {"tokens": ["bytes"], "symbols": [1]},
        {"tokens": None, "symbols": [1]},
        {"symbols": [1]},
        {
            "tokens": "characters",
            "symbols": [chr(c) for c in range(0xE000, 0xE001 + MAX_VOCABULARY)],
        },
    ],
    ids=lambda value: str(value)[:50],
)
def test_anything_else_is_refused(hostile: Any) -> None:
    with pytest.raises(ValueError, match=r"vocabulary|symbol|tokens"):
        Vocabulary.from_json(hostile)


@pytest.mark.parametrize(
    ("character", "name"),
    [("a", "'a'"), ("é", "'é'"), ("\n", "U+000A"), ("\u3000", "U+3000"), ("\U000e0001", "U+E0001")],
)
def test_a_name_can_be_read(character: str, name: str) -> None:
    assert name_character(character) == name

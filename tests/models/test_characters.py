"""Ids become characters with probabilities, in a model of characters and in one of bytes."""

import numpy as np
import pytest

from models.decoding.characters import Piece, Reading, likelihoods
from models.text.vocab import Vocabulary
from tests.toys import ALPHABET, BYTES

LOGITS = np.random.default_rng(0).normal(0, 2, (9, 64)).astype(np.float32)


def shares(vocabulary: Vocabulary, step: int) -> np.ndarray:
    weights = np.exp(LOGITS[step, : len(vocabulary)].astype(np.float64))
    return np.asarray(weights / weights.sum())


def test_the_likeliest_come_first() -> None:
    ids = np.array([3, 4])
    found = likelihoods(ALPHABET, ids, LOGITS[:2, : len(ALPHABET)], 5)
    for step, (own, top) in enumerate(found):
        expected = shares(ALPHABET, step)
        assert own == pytest.approx(expected[ids[step]], rel=1e-5)
        assert [p for _, p in top] == pytest.approx(sorted(expected, reverse=True)[:5], rel=1e-5)


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_a_byte_models_character_has_the_product_of_its_bytes(parts: int) -> None:
    ids = np.concatenate([BYTES.encode("あA"), BYTES.encode("\n")])
    piece, reading = Piece(), Reading(BYTES, 2)
    for begin in range(0, len(ids), parts):
        cut = slice(begin, begin + parts)
        reading.read(piece, ids[cut], LOGITS[: len(ids), : len(BYTES)][cut])
    assert piece.text == "あA\n" == "".join(one.char for one in piece.characters)
    product = np.prod([shares(BYTES, step)[ids[step]] for step in range(3)])
    assert piece.characters[0].probability == pytest.approx(product, rel=1e-5)
    assert len(piece.characters[0].top) == 2 and reading.pending == b""


def test_without_alternatives_there_is_only_text() -> None:
    piece, reading = Piece(), Reading(BYTES, 0)
    reading.read(piece, BYTES.encode("あ")[:2], LOGITS[:2, : len(BYTES)])
    assert piece == Piece() and reading.pending == "あ".encode()[:2]


def test_a_piece_is_cut_with_its_characters() -> None:
    piece, reading = Piece(), Reading(ALPHABET, 1)
    reading.read(piece, ALPHABET.encode("abc"), LOGITS[:3, : len(ALPHABET)])
    taken = piece.cut(2)
    assert (taken.text, piece.text) == ("ab", "c")
    assert [one.char for one in taken.characters] == ["a", "b"]
    assert [one.char for one in piece.characters] == ["c"]

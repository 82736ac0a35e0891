"""The runs of a corpus are all known, and no others."""

import numpy as np
import pytest

from models.text import copies
from models.text.copies import MOST_SYMBOLS, Runs
from tests.toys import babble

CORPUS = babble(4000)


def slowly(corpus: np.ndarray, run: np.ndarray) -> bool:
    return run.astype(np.uint8).tobytes() in corpus.astype(np.uint8).tobytes()


@pytest.mark.parametrize("copied", [1, 2, 5, 12, 40])
@pytest.mark.parametrize("block", [1 << 20, 64])
def test_the_first_copy_is_found(copied: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_BLOCK", block)
    runs = Runs(CORPUS, copied)
    dice = np.random.default_rng(copied)
    for _ in range(60):
        start = int(dice.integers(0, 3900))
        text = CORPUS[start : start + 80].copy()
        # Some of it is the corpus's, from place to place another symbol.
        text[dice.integers(0, 80, size=80 // copied)] = dice.integers(0, 29)
        for begin in (0, 37, 79):
            ends = range(max(begin, copied), 80)
            copied_at = [end for end in ends if slowly(CORPUS, text[end - copied : end + 1])]
            assert runs.first(text, begin) == (copied_at[0] if copied_at else None)


def test_what_may_follow_is_what_follows_nowhere() -> None:
    runs, symbols = Runs(CORPUS, 6), np.arange(29)
    for start in range(0, 3000, 97):
        context = CORPUS[start : start + 6]
        expected = [slowly(CORPUS, np.append(context, symbol)) for symbol in symbols]
        assert runs.following(CORPUS[: start + 6], symbols).tolist() == expected
        assert any(expected)
    assert not runs.following(CORPUS[:5], symbols).any()


def test_runs_at_both_ends_are_known_and_short_corpora_have_none() -> None:
    runs = Runs(CORPUS, 9)
    assert runs.first(CORPUS[:10], 0) == 9 == runs.first(CORPUS[-10:], 0)
    for length in (0, 1, 9):
        assert Runs(CORPUS[:length], 9).first(CORPUS, 0) is None
    assert 8 * 3991 < runs.bytes < 12 * 4096


def test_what_is_out_of_range() -> None:
    for copied in (0, 1001):
        with pytest.raises(ValueError, match="copied must be from 1 to 1000"):
            Runs(CORPUS, copied)
    with pytest.raises(ValueError, match="at most 16,777,216 symbols"):
        Runs(np.broadcast_to(np.uint8(0), MOST_SYMBOLS + 1), 5)

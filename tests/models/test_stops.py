"""Stop strings are found wherever a text was cut, and their beginnings are held back."""

import itertools

import numpy as np
import pytest

from models.decoding.stops import first_stop, held_back


def slowly_held_back(text: str, stops: tuple[str, ...]) -> int:
    """The obvious way: every length, the longest first."""
    for size in range(len(text), 0, -1):
        if any(stop.startswith(text[-size:]) and len(stop) > size for stop in stops):
            return size
    return 0


@pytest.mark.parametrize(
    ("text", "stops", "first", "held"),
    [
        ("", (), None, 0),
        ("", ("a",), None, 0),
        ("abc", (), None, 0),
        ("abc", ("c",), 2, 0),
        ("abc", ("bc", "ab"), 0, 0),
        ("abc", ("cd", "bce"), None, 2),
        ("aab", ("aaab", "abab"), None, 2),
        ("あい", ("いう",), None, 1),
    ],
)
def test_what_may_begin_a_stop_is_held_back(
    text: str, stops: tuple[str, ...], first: int | None, held: int
) -> None:
    assert first_stop(text, stops) == first
    assert held_back(text, stops) == held


def test_as_the_obvious_way_finds_it() -> None:
    dice = np.random.default_rng(3)

    def word(most: int) -> str:
        return "".join(dice.choice(["a", "b"], dice.integers(1, most)))

    for _ in range(300):
        text, stops = word(12), (word(9), word(9), word(4))
        assert held_back(text, stops) == slowly_held_back(text, stops), (text, stops)
    for text, stop in itertools.product(("a" * 300, "ab" * 150), ("a" * 255 + "b", "ab" * 128)):
        assert held_back(text, (stop,)) == slowly_held_back(text, (stop,))

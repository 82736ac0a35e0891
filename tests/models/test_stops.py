"""Stop strings are found wherever a text was cut, and their beginnings are held back."""

from collections.abc import Sequence

import numpy as np
import pytest

from models.decoding.stops import Stops


def slowly(text: str, stops: Sequence[str]) -> tuple[int | None, int]:
    """The obvious way: the text grows by a character, and every stop is tried at every length."""
    for end in range(1, len(text) + 1):
        if complete := [stop for stop in stops if text[:end].endswith(stop)]:
            return end - max(map(len, complete)), 0
    for size in range(len(text), 0, -1):
        if any(stop.startswith(text[-size:]) for stop in stops):
            return None, size
    return None, 0


@pytest.mark.parametrize(
    ("text", "stops", "first", "held"),
    [
        ("", (), None, 0),
        ("", ("a",), None, 0),
        ("abc", (), None, 0),
        ("abc", ("c",), 2, 0),
        ("abc", ("bc", "ab"), 0, 0),
        ("abcd", ("abcd", "bc"), 1, 0),
        ("xabc", ("c", "abc", "bc"), 1, 0),
        ("abc", ("cd", "bce"), None, 2),
        ("aab", ("aaab", "abab"), None, 2),
        ("a]b-", ("]^", "b-c"), None, 2),
        ("あい", ("いう",), None, 1),
    ],
)
def test_what_may_begin_a_stop_is_held_back(
    text: str, stops: tuple[str, ...], first: int | None, held: int
) -> None:
    assert Stops(stops).look(text) == (first, held) == slowly(text, stops)


def test_as_the_obvious_way_finds_it() -> None:
    dice = np.random.default_rng(3)

    def word(most: int) -> str:
        return "".join(dice.choice(["a", "b"], dice.integers(1, most)))

    for _ in range(500):
        text, stops = word(20), [word(9) for _ in range(dice.integers(1, 6))]
        assert Stops(stops).look(text) == slowly(text, stops), (text, stops)
    for text in ("a" * 300, "ab" * 150):
        for stop in ("a" * 255 + "b", "ab" * 128):
            assert Stops([stop]).look(text) == slowly(text, [stop])


def test_a_text_that_comes_in_parts_ends_where_the_whole_one_does() -> None:
    """Otherwise it would depend on the load: a tick is as long as there is time."""
    stops = Stops(["abcd", "bc", "dd"])
    for text in ("xxabcd", "xabxdd", "abab"):
        whole = stops.look(text)
        for cut in range(len(text)):
            first, held = stops.look(text[:cut])
            if first is not None:
                assert first == whole[0]
            else:
                rest, _ = stops.look(text[cut - held :])
                assert rest is None or rest + cut - held == whole[0]


def test_thousands_are_looked_for_together() -> None:
    many = [f"{number}#" for number in range(700, 1500)]
    assert Stops(many).look("7 70 699# 1499#, 700#") == ("7 70 699# 1499#, 700#".find("1499#"), 0)

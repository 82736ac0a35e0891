"""How a character is chosen, and which options a text may have."""

import math
from typing import Any

import numpy as np
import pytest

from models.decoding.sampling import SampleOptions, choose, keep_likeliest, uniforms


def test_uniforms_are_uniform_and_by_position() -> None:
    seeds = np.arange(50, dtype=np.uint64)
    numbers = uniforms(seeds, np.zeros(50, np.uint64), 2000)
    assert numbers.min() >= 0 and numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 0.005
    later = uniforms(seeds, np.full(50, 700, np.uint64), 10)
    assert (later == numbers[700:710]).all()
    # Neighbouring seeds are strangers.
    assert abs(np.corrcoef(numbers[:, 0], numbers[:, 1])[0, 1]) < 0.1


def chosen(logits: list[float], uniform: float, **how: float) -> int:
    options: dict[str, Any] = {"temperature": 1.0} | how
    return choose(np.log(np.array(logits, np.float32)), uniform=uniform, **options)


@pytest.mark.parametrize(
    ("uniform", "id_"), [(0.0, 0), (0.099, 0), (0.1001, 1), (0.599, 1), (0.6001, 2), (0.99999, 2)]
)
def test_a_uniform_number_picks_by_the_cumulative_distribution(uniform: float, id_: int) -> None:
    assert chosen([0.1, 0.5, 0.4], uniform) == id_


def test_temperature_makes_surer_or_more_varied() -> None:
    """Shares of 4 to 1 become 16 to 1 at a half, and 2 to 1 at two."""
    assert [chosen([0.8, 0.2], u, temperature=0.5) for u in (0.94, 0.942)] == [0, 1]
    assert [chosen([0.8, 0.2], u, temperature=2.0) for u in (0.66, 0.67)] == [0, 1]
    assert {chosen([0.2, 0.4, 0.4], u, temperature=0) for u in (0.0, 0.5, 0.99)} == {1}


def test_logits_that_are_not_finite_are_refused() -> None:
    with pytest.raises(FloatingPointError):
        choose(np.array([0, np.nan], np.float32), 1.0, 0.5)
    with pytest.raises(FloatingPointError):
        choose(np.array([0, np.inf], np.float32), 0.0, 0.5)


@pytest.mark.parametrize(
    ("top_k", "top_p", "kept"),
    [
        (0, 1.0, [1, 4, 2, 3]),
        (1, 0.0, [0, 4, 0, 0]),
        (2, 0.0, [0, 4, 0, 3]),
        (99, 0.0, [1, 4, 2, 3]),
        # The fewest that hold so much: 4 of 10, then 7 of 10.
        (0, 0.4, [0, 4, 0, 0]),
        (0, 0.41, [0, 4, 0, 3]),
        (0, 0.71, [0, 4, 2, 3]),
        (0, 1e-9, [0, 4, 0, 0]),
        # Of the sum of those that top-k leaves: 4 of 7.
        (2, 0.5, [0, 4, 0, 0]),
        (2, 0.6, [0, 4, 0, 3]),
    ],
)
def test_the_likeliest_are_kept(top_k: int, top_p: float, kept: list[int]) -> None:
    weights = np.array([1, 4, 2, 3], np.float32)
    assert keep_likeliest(weights, top_k, top_p).tolist() == kept


def test_equal_ones_stay_or_go_together() -> None:
    assert keep_likeliest(np.array([2, 1, 2, 2], np.float32), 1, 0).tolist() == [2, 0, 2, 2]


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 0},
        {"seed": (1 << 63) - 1},
        {"temperature": 0},
        {"temperature": 0.01},
        {"temperature": 10},
        {"length": 0},
        {"length": 1_000_000},
        {"top_k": 0},
        {"top_k": 1 << 20},
        {"top_p": 0.0},
        {"top_p": 1.0},
        {"stop": ("a", "b", "c", "d" * 256, *"e" * 3837)},
    ],
    ids=str,
)
def test_options_up_to_their_bounds_are_taken(options: dict[str, Any]) -> None:
    taken = SampleOptions(**options)
    for name, value in options.items():
        assert getattr(taken, name) == value


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": -1}, "seed must be from 0 to 9,223,372,036,854,775,807"),
        ({"seed": 1 << 63}, "seed must be from 0 to 9,223,372,036,854,775,807"),
        ({"temperature": -0.5}, "temperature must be 0 or from 0.01 to 10"),
        ({"temperature": 0.009}, "temperature must be 0 or from 0.01 to 10"),
        ({"temperature": 10.1}, "temperature must be 0 or from 0.01 to 10"),
        ({"temperature": math.nan}, "temperature must be 0 or from 0.01 to 10"),
        ({"temperature": math.inf}, "temperature must be 0 or from 0.01 to 10"),
        ({"length": -1}, "length must be from 0 to 1,000,000"),
        ({"length": 1_000_001}, "length must be from 0 to 1,000,000"),
        ({"top_k": -1}, "top_k must be from 0 to 1,048,576"),
        ({"top_k": (1 << 20) + 1}, "top_k must be from 0 to 1,048,576"),
        ({"top_p": -0.1}, "top_p must be from 0 to 1"),
        ({"top_p": 1.1}, "top_p must be from 0 to 1"),
        ({"top_p": math.nan}, "top_p must be from 0 to 1"),
        ({"top_p": math.inf}, "top_p must be from 0 to 1"),
        ({"temperature": ()}, "temperature must be a number, or 1 to 100 of them"),
        ({"temperature": (1.0,) * 101}, "temperature must be a number, or 1 to 100 of them"),
        ({"temperature": (1.0, 11.0)}, "temperature must be 0 or from 0.01 to 10"),
        ({"stop": ("",)}, "stop must be strings of 1 to 256 characters, 4,096 in all"),
        ({"stop": ("a" * 257,)}, "stop must be strings of 1 to 256 characters, 4,096 in all"),
        ({"stop": ("a",) * 4097}, "stop must be strings of 1 to 256 characters, 4,096 in all"),
    ],
    ids=str,
)
def test_options_beyond_their_bounds_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match="must be") as refusal:
        SampleOptions(**options)
    assert str(refusal.value) == words

"""How a character is chosen, and which options a text may have."""

import math
from typing import Any

import pytest

from models.decoding.sampling import SampleOptions


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
        {"stop": ("a", "b", "c", "d" * 256)},
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
        ({"stop": ("",)}, "stop must be at most 4 strings of 1 to 256 characters"),
        ({"stop": ("a" * 257,)}, "stop must be at most 4 strings of 1 to 256 characters"),
        ({"stop": ("a",) * 5}, "stop must be at most 4 strings of 1 to 256 characters"),
    ],
    ids=str,
)
def test_options_beyond_their_bounds_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match="must be") as refusal:
        SampleOptions(**options)
    assert str(refusal.value) == words

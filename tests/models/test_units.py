"""A nat is 1.44 bits."""

import math

import pytest

from models.units import bits


@pytest.mark.parametrize(("loss", "expected"), [(0.0, 0.0), (math.log(2), 1.0), (math.log(8), 3.0)])
def test_bits_are_binary_logarithms(loss: float, expected: float) -> None:
    assert bits(loss) == pytest.approx(expected)

"""The parts of a text that are left out in turn, and runs in sorted arrays. Knows numpy only."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDS = 8


def folds_of(characters: int) -> NDArray[np.uint8]:
    """Returns the fold of each position of a text."""
    return (np.arange(characters) * FOLDS // characters).astype(np.uint8)


def is_new(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Returns where a run of equal values begins."""
    new = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=new[1:])
    return new

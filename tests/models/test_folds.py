"""A text is cut into parts of equal length, and runs begin where values change."""

import numpy as np
import pytest

from models.training.folds import FOLDS, folds_of, is_new


@pytest.mark.parametrize("characters", [1, 7, 8, 1000, 1003])
def test_folds_are_contiguous_and_of_equal_length(characters: int) -> None:
    folds = folds_of(characters)
    assert (np.diff(folds.astype(int)) >= 0).all()
    assert folds.max() < FOLDS
    sizes = np.bincount(folds, minlength=FOLDS)
    assert sizes.max() - sizes.min() <= 1


def test_a_run_begins_where_a_value_is_another() -> None:
    assert is_new(np.array([4, 4, 2, 2, 2, 4])).tolist() == [True, False, True, False, False, True]
    assert is_new(np.array([1])).tolist() == [True]
    assert is_new(np.zeros(0)).tolist() == []

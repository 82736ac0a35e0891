"""The ids before the last one are known after each call, however short it is."""

import numpy as np

from models.decoding.rows import Rows, ids_before


def test_the_latest_ids_are_kept() -> None:
    before = np.array([[[-1, 4, 2], [-1, -1, -1]]], np.float32)
    rows = Rows(np.array([5, 6]), (before,))
    chosen = np.array([[7, 8], [9, 10], [11, 12], [13, 14]])
    assert ids_before(rows, chosen[:1]).tolist() == [[[4, 2, 5], [-1, -1, 6]]]
    assert ids_before(rows, chosen[:2]).tolist() == [[[2, 5, 7], [-1, 6, 8]]]
    assert ids_before(rows, chosen).tolist() == [[[7, 9, 11], [8, 10, 12]]]

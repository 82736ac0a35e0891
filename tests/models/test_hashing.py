"""Hashes of windows are equal where the windows are, wherever they stand."""

import numpy as np

from models.text.hashing import Powers, WindowHashes, longer


def test_equal_windows_have_equal_hashes_and_others_do_not() -> None:
    ids = np.random.default_rng(0).integers(3, size=500).astype(np.uint8)
    hashes = WindowHashes(ids, Powers(500))
    for length in (1, 2, 7, 60, 500):
        found: dict[int, bytes] = {}
        for start, value in enumerate(hashes.all(length).tolist()):
            window = ids[start : start + length].tobytes()
            assert found.setdefault(value, window) == window
        assert len(set(found.values())) == len(found)
    assert len(hashes.all(501)) == 0
    starts = np.array([3, 100, 7])
    np.testing.assert_array_equal(hashes.at(starts, 9), hashes.all(9)[starts])


def test_a_window_is_made_longer_without_its_text() -> None:
    ids = np.random.default_rng(1).integers(1000, size=50)
    powers = Powers(50)
    window = WindowHashes(ids[:20], powers).all(20)[0]
    symbols = np.array([0, 7, 999])
    expected = [WindowHashes(np.append(ids[:20], symbol), powers).all(21)[0] for symbol in symbols]
    np.testing.assert_array_equal(longer(window, symbols, powers.powers[20]), expected)

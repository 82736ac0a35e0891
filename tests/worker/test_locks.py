"""A lock is one process's, and one that is replaced counts for nothing."""

from pathlib import Path

from worker import locks


def test_one_holds_it_and_all_see_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not locks.is_held(path)
    with locks.held(path, 0) as first:
        assert first is not None and locks.is_current(path, first)
        assert locks.is_held(path)
        with locks.held(path, 0) as second:
            assert second is None
    assert not locks.is_held(path)


def test_a_replaced_one_counts_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locks.held(path, 0) as first:
        assert first is not None
        with locks.replaced(path) as second:
            assert locks.is_current(path, second) and not locks.is_current(path, first)
            assert locks.is_held(path)
        assert not locks.is_held(path)
        with locks.held(path, 0) as third:
            assert third is not None
    assert [p.name for p in tmp_path.iterdir()] == ["lock"]

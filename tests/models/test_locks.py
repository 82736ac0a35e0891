"""A lock is one process's, and one that is replaced counts for nothing."""

import fcntl
import os
from pathlib import Path
from threading import Event, Thread

import pytest

from models import locks
from models.locks import LockLost, locked


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


def test_one_waits_for_another(tmp_path: Path) -> None:
    path, order, is_tried = tmp_path / "lock", list[str](), Event()

    def second() -> None:
        is_tried.set()
        with locked(path):
            order.append("second")

    thread = Thread(target=second)
    with locked(path):
        thread.start()
        is_tried.wait()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_many_share_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path, fcntl.LOCK_SH) as first, locked(path, fcntl.LOCK_SH) as second:
        first()
        second()


def test_who_holds_one_for_too_long_loses_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path) as first:
        first()
        with locked(path, patience=0.05) as second:
            second()
            with pytest.raises(LockLost, match="another has taken over"):
                first()
        with locked(path, patience=0.05) as third:
            third()
    assert [p.name for p in tmp_path.iterdir()] == ["lock"]


def test_who_waits_for_many_in_turn_takes_from_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    path.touch()
    turns = iter(range(1, 6))

    def hold_in_turn(descriptor: int, _deadline: float, _lock: int) -> bool:
        """Each time that patience ends, another has it."""
        turn = next(turns)
        if turn < 5:
            os.utime(descriptor, ns=(turn, turn))
        return turn == 5

    monkeypatch.setattr(locks, "_try", hold_in_turn)
    before = path.stat().st_ino
    with locked(path) as check:
        check()
    assert path.stat().st_ino == before

"""A service that went away is waited for, but not for ever."""

import time

import pytest

from app.terminal.client import Passing
from app.terminal.patience import PATIENCE, RETRY_PAUSE, STUCK, Patience

AWAY = Passing("it is away")


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses; time passes only by them."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(pauses))
    return pauses


def test_it_ends_after_a_minute_in_which_nothing_came(slept: list[float]) -> None:
    waiting = Patience()
    with pytest.raises(Passing):
        for _ in range(1000):
            waiting.wait(AWAY)
    assert PATIENCE < sum(slept) <= PATIENCE + RETRY_PAUSE
    waiting.progressed()
    waiting.wait(AWAY)


def test_it_waits_for_as_long_as_the_service_says(slept: list[float]) -> None:
    Patience().wait(Passing("it is full", retry_after=7))
    assert slept == [7]


def test_the_same_end_again_and_again_is_the_last(slept: list[float]) -> None:
    waiting, heard = Patience(), Passing("it broke off", heard=True)
    for _ in range(3):
        for _ in range(STUCK):
            waiting.wait_for_more(heard)
        waiting.progressed()
    for _ in range(STUCK):
        waiting.wait_for_more(heard)
    with pytest.raises(Passing):
        waiting.wait_for_more(heard)
    assert len(slept) == 4 * STUCK

"""The seconds that a system has learned for, and the losses that it has reached by then.

Knows no network.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MARKS = (30.0, 60.0, 180.0)
"""Seconds after which systems are compared."""

_POINTS = 12
"""Losses of a run that are drawn, at equal distances; its beginning has two more."""


class Watch:
    """Counts seconds from when it is made, but none in which it is paused."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    @contextmanager
    def paused(self) -> Iterator[None]:
        stopped = time.monotonic()
        yield
        self._began += time.monotonic() - stopped


def marks(seconds: float) -> list[float]:
    """Returns the seconds after which runs of a length are compared: those that they reach."""
    return [mark for mark in MARKS if mark < seconds] + [seconds]


def moments(seconds: float) -> list[float]:
    """Returns when a run of a length is evaluated, in increasing order; the marks among them."""
    numbers = (1 / 3, 2 / 3, *range(1, _POINTS + 1))
    return sorted({seconds * number / _POINTS for number in numbers} | set(marks(seconds)))


def say(seconds: float, loss: float) -> None:
    """Prints a loss in nats per character, for the process that asked."""
    print(json.dumps({"seconds": round(seconds, 3), "loss": round(loss, 6)}), flush=True)


def decline(reason: str) -> None:
    """Says why a system does not learn this text."""
    print(json.dumps({"declined": reason}), flush=True)


class Rounds:
    """Measures a loss at each moment of a run that has come.

    Args:
        watch: paused meanwhile.
        loss: measures it.
    """

    def __init__(self, seconds: float, watch: Watch, loss: Callable[[], float]) -> None:
        self._left = moments(seconds)
        self._watch = watch
        self._loss = loss

    @property
    def is_due(self) -> bool:
        return bool(self._left) and self._watch.seconds >= self._left[0]

    def take(self) -> None:
        """Measures, and prints the loss with the seconds at which it was due or is late."""
        at = self._watch.seconds
        with self._watch.paused():
            say(at, self._loss())
        self._left = [moment for moment in self._left if moment > at]

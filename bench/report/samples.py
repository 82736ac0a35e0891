"""Repeated measurements: taken in turn, told as a median and a spread. Knows no section."""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import TypeVar

Name = TypeVar("Name")
Found = TypeVar("Found")
Form = Callable[[float], str]


def interleave(
    cases: Mapping[Name, Callable[[], Found]], rounds: int, tell: Callable[[Name], None]
) -> dict[Name, list[Found]]:
    """Measures each case once a round, so that whatever else the machine does slows all of them.

    Each round begins with another case.
    """
    names = list(cases)
    found: dict[Name, list[Found]] = {name: [] for name in names}
    for number in range(rounds):
        first = number * len(names) // rounds
        for name in names[first:] + names[:first]:
            tell(name)
            found[name].append(cases[name]())
    return found


def spread(values: Sequence[float], form: Form) -> str:
    """Returns the median, and below it in brackets the least and the most where they differ."""
    middle = form(median(values))
    low, high = form(min(values)), form(max(values))
    return middle if low == high else f"{middle} ({low}–{high})"


def ratios(values: Sequence[float], to: Sequence[float]) -> list[float]:
    """Returns how many times as large values are as those of the same round."""
    return [a / b if b else math.nan for a, b in zip(values, to, strict=True)]


def whole(value: float) -> str:
    return f"{value:,.0f}"


def figures(value: float) -> str:
    """Returns a number with at least two significant digits."""
    if not math.isfinite(value):
        return "–"
    if value >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def times(value: float) -> str:
    return "–" if not math.isfinite(value) else f"{figures(value)}×"


def milliseconds(value: float) -> str:
    """Returns seconds as milliseconds; infinite ones did not end."""
    return "none" if math.isinf(value) else figures(1e3 * value)


def megabytes(value: float) -> str:
    return f"{value / 1e6:,.0f}"


def percent(value: float) -> str:
    return f"{value:.0%}"


def billions(value: float) -> str:
    return figures(value / 1e9)

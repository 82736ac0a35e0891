"""Draws loss against seconds: a panel for each text, a line for each system. Knows runs."""

import math
from statistics import mean

from bench import chart
from bench.chart import Axis, Colour, Dashes, Line, Panel
from bench.learning.runs import Run

STYLES: dict[str, tuple[Colour, Dashes]] = {
    "ours": ("violet", ""),
    "before": ("lilac", "dashed"),
    "char-rnn": ("green", ""),
    "makemore": ("amber", ""),
    "nanoGPT": ("red", ""),
    "n-gram": ("grey", "dotted"),
}


def draw(runs: list[Run], seconds: float) -> str:
    """Returns the picture of some runs; repeats are drawn each, and labelled once."""
    return chart.draw(panels(runs, seconds), "Held-out loss against seconds of training")


def panels(runs: list[Run], seconds: float) -> list[Panel]:
    """Returns a panel for each text that any system has learned."""
    texts = dict.fromkeys(run.text for run in runs if run.points)
    return [
        _panel(text, [run for run in runs if run.text == text and run.points], seconds)
        for text in texts
    ]


def _panel(text: str, runs: list[Run], seconds: float) -> Panel:
    longest = max([seconds, *(run.end[0] for run in runs)])
    x = Axis(0, longest, steps=(1, 2, 3, 5, 6), form=lambda value: f"{value:g}")
    low, high = _range(runs, seconds)
    y = Axis(low, high, form=lambda value: f"{value:.2f}")
    systems = dict.fromkeys(run.system for run in runs)
    lines = [
        _line(system, [run for run in runs if run.system == system], longest) for system in systems
    ]
    return Panel(text, "held-out loss, nats per character", "seconds", x, y, lines)


def _line(system: str, runs: list[Run], longest: float) -> Line:
    colour, dashes = STYLES["before" if "@" in system else system]
    # The n-gram model has one loss, which is there from when it was counted.
    curves = [
        run.points if len(run.points) > 1 else [*run.points, (longest, run.end[1])] for run in runs
    ]
    loss = mean(run.end[1] for run in runs)
    dots = [run.end for run in runs]
    return Line(
        f"{system}  {loss:.3f}", curves, colour, dashes, is_strong=system == "ours", dots=dots
    )


def _range(runs: list[Run], seconds: float) -> tuple[float, float]:
    """The losses to show: from the best to what was reached after a sixth of the time."""
    low = min(loss for run in runs for _, loss in run.points)
    early = [run.at(seconds / 6) for run in runs]
    known = [loss for loss in early if not math.isnan(loss)]
    high = max([*known, *(run.end[1] for run in runs)])
    room = max(0.05 * (high - low), 0.01)
    return low - room, high + room

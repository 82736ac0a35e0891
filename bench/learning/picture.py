"""Draws loss against seconds as SVG: a panel for each text, a line for each system.

Readable on light and on dark. Lines are labelled at their ends, in their colours. Knows runs.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean
from xml.sax.saxutils import escape

from bench.learning.runs import Run

WIDTH, HEIGHT = 760, 380
"""Of a panel, in pixels."""

LEFT, RIGHT, TOP, BOTTOM = 58, 186, 62, 52
LABEL_DISTANCE = 17

STYLE = """
svg { --paper: #fffefc; --ink: #211f1b; --soft: #68625a; --line: #e6e1d7; --edge: #8f877a;
  --ours: #4340a8; --before: #7d79d6; --char-rnn: #1d6b3c; --makemore: #9a5a00;
  --nanoGPT: #a3261a; --n-gram: #68625a; }
@media (prefers-color-scheme: dark) {
  svg { --paper: #1d1b19; --ink: #ece8e0; --soft: #a69f93; --line: #35322d; --edge: #7a7368;
    --ours: #aeacff; --before: #8480d8; --char-rnn: #7fd6a0; --makemore: #edb45c;
    --nanoGPT: #ff9c8c; --n-gram: #a69f93; }
}
text { font: 13px ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue",
  "Liberation Sans", sans-serif; fill: var(--soft); font-variant-numeric: tabular-nums; }
.paper { fill: var(--paper); }
.title { font-size: 16px; font-weight: 600; fill: var(--ink); }
.grid { stroke: var(--line); }
.axis { stroke: var(--edge); }
.lead { fill: none; stroke-width: 1; opacity: 0.5; }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.label { font-weight: 600; paint-order: stroke; stroke: var(--paper); stroke-width: 3px; }
.ours .curve { stroke-width: 3.5; }
.n-gram .curve { stroke-dasharray: 2 6; }
.before .curve { stroke-dasharray: 9 6; }
"""

KINDS = ("ours", "before", "char-rnn", "makemore", "nanoGPT", "n-gram")


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a value is on an axis, in pixels; ``low`` and ``high`` are its ends."""

    low: float
    high: float
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.begin + share * (self.end - self.begin)

    def ticks(self, steps: tuple[float, ...], most: int) -> list[float]:
        """Returns round values, as many as there may be: multiples of the smallest step that does.

        Args:
            steps: to choose from, each also ten, a hundred … times as large.
        """
        power = 10.0 ** math.floor(math.log10((self.high - self.low) / most))
        step = next(
            step * power * scale
            for scale in (1, 10, 100)
            for step in steps
            if (self.high - self.low) / (step * power * scale) <= most
        )
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def draw(runs: list[Run], seconds: float) -> str:
    """Returns the picture of some runs; repeats are drawn each, and labelled once."""
    texts = dict.fromkeys(run.text for run in runs if run.points)
    height = HEIGHT * len(texts)
    panels = [
        element
        for number, text in enumerate(texts)
        for element in _panel(
            text, [r for r in runs if r.text == text and r.points], seconds, number
        )
    ]
    rules = [f".{kind} {{ --colour: var(--{kind}); }}" for kind in KINDS]
    rules += [".curve, .lead { stroke: var(--colour); }", ".label, .dot { fill: var(--colour); }"]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" role="img" aria-labelledby="what">',
            '<title id="what">Held-out loss against seconds of training</title>',
            f"<style>{STYLE}{chr(10).join(rules)}\n</style>",
            f'<rect class="paper" width="{WIDTH}" height="{height}" rx="10"/>',
            *panels,
            "</svg>\n",
        ]
    )


def _panel(text: str, runs: list[Run], seconds: float, number: int) -> Iterator[str]:
    longest = max([seconds, *(run.end[0] for run in runs)])
    x = Scale(0, longest, LEFT, WIDTH - RIGHT)
    y = Scale(*_range(runs, seconds), HEIGHT - BOTTOM, TOP)
    yield f'<g transform="translate(0 {number * HEIGHT})">'
    yield _text(LEFT, 28, text, "title")
    yield _text(LEFT, 47, "held-out loss, nats per character")
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, "seconds", anchor="middle")
    yield from _axes(x, y)
    yield (
        f'<clipPath id="inside{number}"><rect x="{LEFT}" y="{TOP}" '
        f'width="{WIDTH - RIGHT - LEFT + 4}" height="{HEIGHT - BOTTOM - TOP}"/></clipPath>'
    )
    systems = dict.fromkeys(run.system for run in runs)
    labels = {s: y(mean(run.end[1] for run in runs if run.system == s)) for s in systems}
    places = spread(labels, TOP, HEIGHT - BOTTOM)
    # The first, ours, is drawn last and so on top.
    for system in reversed(systems):
        same = [run for run in runs if run.system == system]
        yield f'<g class="{_kind(system)}"><g clip-path="url(#inside{number})">'
        yield from (_curve(run, x, y) for run in same)
        yield "</g>"
        # The n-gram model's line does not end where it was counted.
        last = max(x(run.end[0]) for run in same) if len(same[0].points) > 1 else x.end
        yield from _label(system, same, (last, labels[system]), (x.end + 18, places[system]))
        yield "</g>"
    yield "</g>"


def _range(runs: list[Run], seconds: float) -> tuple[float, float]:
    """The losses to show: from the best to what was reached after a sixth of the time."""
    low = min(loss for run in runs for _, loss in run.points)
    early = [run.at(seconds / 6) for run in runs]
    known = [loss for loss in early if not math.isnan(loss)]
    high = max([*known, *(run.end[1] for run in runs)])
    room = max(0.05 * (high - low), 0.01)
    return low - room, high + room


def _axes(x: Scale, y: Scale) -> Iterator[str]:
    for value in y.ticks((1, 2, 2.5, 5), 7):
        at = y(value)
        yield f'<path class="grid" d="M{x.begin} {at:.1f}H{x.end}"/>'
        yield _text(x.begin - 10, at + 4, f"{value:.2f}", anchor="end")
    for value in x.ticks((1, 2, 3, 5, 6), 7):
        at = x(value)
        yield f'<path class="axis" d="M{at:.1f} {y.begin}v5"/>'
        yield _text(at, y.begin + 20, f"{value:g}", anchor="middle")
    yield f'<path class="axis" d="M{x.begin} {y.begin}H{x.end}"/>'


def _curve(run: Run, x: Scale, y: Scale) -> str:
    points = run.points if len(run.points) > 1 else [*run.points, (x.high, run.end[1])]
    path = "L".join(f"{x(seconds):.1f} {y(loss):.1f}" for seconds, loss in points)
    end = f'<circle class="dot" cx="{x(run.end[0]):.1f}" cy="{y(run.end[1]):.1f}" r="3.5"/>'
    return f'<path class="curve" d="M{path}"/>{end}'


def _label(
    system: str, runs: list[Run], line: tuple[float, float], place: tuple[float, float]
) -> Iterator[str]:
    """The label of a line that ends at a point, and what leads from there to its place."""
    (end, at), (left, middle) = line, place
    if abs(at - middle) > 1 or left - end > 20:
        path = f"M{end + 5:.1f} {at:.1f}H{left - 14:.1f}L{left - 4:.1f} {middle:.1f}"
        yield f'<path class="lead" d="{path}"/>'
    loss = mean(run.end[1] for run in runs)
    yield _text(left, middle + 4.5, f"{system}  {loss:.3f}", "label")


def spread(wanted: dict[str, float], top: float, bottom: float) -> dict[str, float]:
    """Returns places for labels, in pixels from above, near those wanted and not on each other."""
    placed: dict[str, float] = {}
    last = top - LABEL_DISTANCE
    for name, at in sorted(wanted.items(), key=lambda item: item[1]):
        last = placed[name] = max(at, last + LABEL_DISTANCE)
    limit = bottom
    for name in reversed(placed):
        placed[name] = min(placed[name], limit)
        limit = placed[name] - LABEL_DISTANCE
    return placed


def _kind(system: str) -> str:
    return "before" if "@" in system else system


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    styled = f' class="{kind}"' if kind else ""
    anchored = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{styled}{anchored}>{escape(words)}</text>'

"""Draws measurements as SVG: panels below each other, in each some lines against one axis.

Readable on light and on dark. Lines are labelled at their ends, in their colours. Knows numbers,
not what was measured.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Literal, TypeVar
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 380
"""Of a panel, in pixels."""

LEFT, RIGHT, TOP, BOTTOM = 58, 186, 62, 52
LABEL_DISTANCE = 17

Colour = Literal["violet", "lilac", "green", "amber", "red", "grey"]
Dashes = Literal["", "dashed", "dotted"]
Point = tuple[float, float]
Name = TypeVar("Name")

PAPER = {
    "paper": "#fffefc",
    "ink": "#211f1b",
    "soft": "#68625a",
    "line": "#e6e1d7",
    "edge": "#8f877a",
}
DARK_PAPER = {
    "paper": "#1d1b19",
    "ink": "#ece8e0",
    "soft": "#a69f93",
    "line": "#35322d",
    "edge": "#7a7368",
}
LIGHT: dict[str, str] = {
    "violet": "#4340a8",
    "lilac": "#7d79d6",
    "green": "#1d6b3c",
    "amber": "#9a5a00",
    "red": "#a3261a",
    "grey": "#68625a",
}
DARK: dict[str, str] = {
    "violet": "#aeacff",
    "lilac": "#8480d8",
    "green": "#7fd6a0",
    "amber": "#edb45c",
    "red": "#ff9c8c",
    "grey": "#a69f93",
}

STYLE = """
text { font: 13px ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue",
  "Liberation Sans", sans-serif; fill: var(--soft); font-variant-numeric: tabular-nums; }
.paper { fill: var(--paper); }
.title { font-size: 16px; font-weight: 600; fill: var(--ink); }
.grid { stroke: var(--line); }
.axis { stroke: var(--edge); }
.lead { fill: none; stroke-width: 1; opacity: 0.5; }
.bounds { fill: none; stroke-width: 1.5; opacity: 0.6; }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.strong .curve { stroke-width: 3.5; }
.dotted .curve { stroke-dasharray: 2 6; }
.dashed .curve { stroke-dasharray: 9 6; }
.label { font-weight: 600; paint-order: stroke; stroke: var(--paper); stroke-width: 3px; }
.curve, .lead, .bounds { stroke: var(--colour); }
.label, .dot { fill: var(--colour); }
"""


def short(value: float) -> str:
    """Returns a number as an axis shows it: 0.25, 300, 20k, 1.5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


@dataclass(frozen=True, slots=True)
class Axis:
    """The values that are shown, from ``low`` to ``high``; logarithmic ones are above 0.

    ``ticks`` are those that are named; without any, round ones are.
    """

    low: float
    high: float
    is_log: bool = False
    ticks: Sequence[float] = ()
    form: Callable[[float], str] = short
    steps: tuple[float, ...] = (1, 2, 2.5, 5)

    @classmethod
    def around(cls, values: Sequence[float], *, is_log: bool) -> "Axis":
        """Returns an axis on which all of some values have a place, and 0 unless it is a log."""
        low, high = min(values), max(values)
        if is_log:
            return cls(low / 1.4, high * 1.4, is_log=True)
        return cls(min(low, 0.0), 1.08 * high if high > 0 else 1.0)

    @classmethod
    def at(cls, values: Sequence[float], *, is_log: bool = True) -> "Axis":
        """Returns an axis that names the values at which something was measured."""
        low, high = min(values), max(values)
        if low == high:
            low, high = low / 2, high * 2
        return cls(low, high, is_log, sorted(set(values)), lambda value: f"{value:,g}")


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a value of an axis is, in pixels."""

    axis: Axis
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        low, high = self._place(self.axis.low), self._place(self.axis.high)
        share = (self._place(value) - low) / (high - low)
        return self.begin + share * (self.end - self.begin)

    def _place(self, value: float) -> float:
        return math.log10(value) if self.axis.is_log else value

    def ticks(self, most: int) -> list[float]:
        """Returns the values to name: the axis's own, or round ones, as many as there may be."""
        low, high = self.axis.low, self.axis.high
        if self.axis.ticks:
            return [value for value in self.axis.ticks if low <= value <= high]
        return self._decades(most) if self.axis.is_log else self._multiples(most)

    def _multiples(self, most: int) -> list[float]:
        low, high = self.axis.low, self.axis.high
        power = 10.0 ** math.floor(math.log10((high - low) / most))
        step = next(
            step * power * scale
            for scale in (1, 10, 100)
            for step in self.axis.steps
            if (high - low) / (step * power * scale) <= most
        )
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def _decades(self, most: int) -> list[float]:
        low, high = self.axis.low, self.axis.high
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for digits in ((1, 2, 5), (1, 3), (1,)):
            found = [digit * 10.0**power for power in powers for digit in digits]
            shown = [value for value in found if low <= value <= high]
            if len(shown) <= most:
                break
        return shown


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was measured: a curve, or one for each repeat, and a label at their ends.

    ``bounds`` are the lowest and the highest value at an x. With ``dots`` at each point, not at the
    ends only, a curve shows where it was measured.
    """

    label: str
    curves: Sequence[Sequence[Point]]
    colour: Colour
    dashes: Dashes = ""
    is_strong: bool = False
    dots: Sequence[Point] = ()
    bounds: Sequence[tuple[float, float, float]] = field(default=())

    @property
    def end(self) -> float:
        """The y that the label stands at."""
        return mean(curve[-1][1] for curve in self.curves)


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines on two axes; ``above`` and ``below`` name them and their units.

    The first line is drawn last and so on top.
    """

    title: str
    above: str
    below: str
    x: Axis
    y: Axis
    lines: Sequence[Line]


def draw(panels: Sequence[Panel], title: str) -> str:
    """Returns a picture of panels."""
    height = HEIGHT * len(panels)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" role="img" aria-labelledby="what">',
            f'<title id="what">{escape(title)}</title>',
            f"<style>{_style()}</style>",
            f'<rect class="paper" width="{WIDTH}" height="{height}" rx="10"/>',
            *(element for number, one in enumerate(panels) for element in _panel(one, number)),
            "</svg>\n",
        ]
    )


def _style() -> str:
    def variables(colours: Mapping[str, str]) -> str:
        return " ".join(f"--{name}: {value};" for name, value in colours.items())

    classes = "\n".join(f".{name} {{ --colour: var(--{name}); }}" for name in LIGHT)
    light, dark = variables(PAPER | LIGHT), variables(DARK_PAPER | DARK)
    scheme = f"@media (prefers-color-scheme: dark) {{ svg {{ {dark} }} }}"
    return f"\nsvg {{ {light} }}\n{scheme}{STYLE}{classes}\n"


def _panel(panel: Panel, number: int) -> Iterator[str]:
    x = Scale(panel.x, LEFT, WIDTH - RIGHT)
    y = Scale(panel.y, HEIGHT - BOTTOM, TOP)
    yield f'<g transform="translate(0 {number * HEIGHT})">'
    yield _text(LEFT, 28, panel.title, "title")
    yield _text(LEFT, 47, panel.above)
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, panel.below, anchor="middle")
    yield from _axes(x, y)
    yield (
        f'<clipPath id="inside{number}"><rect x="{LEFT - 4}" y="{TOP}" '
        f'width="{WIDTH - RIGHT - LEFT + 8}" height="{HEIGHT - BOTTOM - TOP}"/></clipPath>'
    )
    labels = {at: y(line.end) for at, line in enumerate(panel.lines)}
    places = spread(labels, TOP, HEIGHT - BOTTOM)
    for at, line in reversed(list(enumerate(panel.lines))):
        kinds = [line.colour, line.dashes, "strong" * line.is_strong]
        yield f'<g class="{" ".join(filter(None, kinds))}"><g clip-path="url(#inside{number})">'
        yield from _curves(line, x, y)
        yield "</g>"
        last = max(x(curve[-1][0]) for curve in line.curves)
        yield from _label(line.label, (last, labels[at]), (x.end + 18, places[at]))
        yield "</g>"
    yield "</g>"


def _axes(x: Scale, y: Scale) -> Iterator[str]:
    for value in y.ticks(7):
        at = y(value)
        yield f'<path class="grid" d="M{x.begin} {at:.1f}H{x.end}"/>'
        yield _text(x.begin - 10, at + 4, y.axis.form(value), anchor="end")
    for value in x.ticks(7):
        at = x(value)
        yield f'<path class="axis" d="M{at:.1f} {y.begin}v5"/>'
        yield _text(at, y.begin + 20, x.axis.form(value), anchor="middle")
    yield f'<path class="axis" d="M{x.begin} {y.begin}H{x.end}"/>'


def _curves(line: Line, x: Scale, y: Scale) -> Iterator[str]:
    for at, low, high in line.bounds:
        yield f'<path class="bounds" d="M{x(at):.1f} {y(low):.1f}V{y(high):.1f}"/>'
    for curve in line.curves:
        path = "L".join(f"{x(at):.1f} {y(value):.1f}" for at, value in curve)
        yield f'<path class="curve" d="M{path}"/>'
    for at, value in line.dots or [curve[-1] for curve in line.curves]:
        yield f'<circle class="dot" cx="{x(at):.1f}" cy="{y(value):.1f}" r="3.5"/>'


def _label(words: str, line: Point, place: Point) -> Iterator[str]:
    """The label of a line that ends at a point, and what leads from there to its place."""
    (end, at), (left, middle) = line, place
    if abs(at - middle) > 1 or left - end > 20:
        path = f"M{end + 5:.1f} {at:.1f}H{left - 14:.1f}L{left - 4:.1f} {middle:.1f}"
        yield f'<path class="lead" d="{path}"/>'
    yield _text(left, middle + 4.5, words, "label")


def spread(wanted: Mapping[Name, float], top: float, bottom: float) -> dict[Name, float]:
    """Returns places for labels, in pixels from above, near those wanted and not on each other."""
    placed: dict[Name, float] = {}
    last = top - LABEL_DISTANCE
    for name, at in sorted(wanted.items(), key=lambda item: item[1]):
        last = placed[name] = max(at, last + LABEL_DISTANCE)
    limit = bottom
    for name in reversed(placed):
        placed[name] = min(placed[name], limit)
        limit = placed[name] - LABEL_DISTANCE
    return placed


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    styled = f' class="{kind}"' if kind else ""
    anchored = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{styled}{anchored}>{escape(words)}</text>'

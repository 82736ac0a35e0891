"""A report of headings, paragraphs, tables, samples and curves, as Markdown and as a page.

The page is one file that loads nothing else. Knows no experiment.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Heading:
    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Sample:
    """A text that keeps its spaces and line ends."""

    text: str


@dataclass(frozen=True, slots=True)
class Curves:
    """Lines over steps; Markdown shows some of their points as a table."""

    of: str
    lines: Mapping[str, Points]


Block = Heading | Paragraph | Table | Sample | Curves

_ROWS = 12
"""Most rows of a table that stands for curves."""

_WIDTH, _HEIGHT, _MARGIN = 640, 240, 40


def markdown(title: str, blocks: Sequence[Block]) -> str:
    parts = [f"# {title}"]
    for block in blocks:
        match block:
            case Heading(text):
                parts.append(f"## {text}")
            case Paragraph(text):
                parts.append(text)
            case Table(head, rows):
                parts.append(_markdown_table(head, rows))
            case Sample(text):
                # Indented, so that no run of backticks in it can end it.
                parts.append("\n".join(f"    {line}" for line in text.split("\n")))
            case Curves():
                parts.append(_markdown_table(*_as_table(block)))
    return "\n\n".join(parts) + "\n"


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _as_table(curves: Curves) -> tuple[list[str], list[list[str]]]:
    """Each line's latest value at some of the steps of the line with the fewest points."""
    steps = [x for x, _ in min(filter(None, curves.lines.values()), key=len, default=())]
    stride = max(1, math.ceil(len(steps) / _ROWS))
    # Counted from the end, so that the last step is one of them.
    shown = [step for n, step in enumerate(steps) if (len(steps) - 1 - n) % stride == 0]
    rows = [[f"{step:g}", *(_at(line, step) for line in curves.lines.values())] for step in shown]
    return [curves.of, *curves.lines], rows


def _at(line: Points, step: float) -> str:
    values = [y for x, y in line if x <= step]
    return f"{values[-1]:.4f}" if values else ""


def page(title: str, blocks: Sequence[Block]) -> str:
    parts = [_START.format(title=escape(title))]
    for block in blocks:
        match block:
            case Heading(text):
                parts.append(f"<h2>{escape(text)}</h2>")
            case Paragraph(text):
                parts.append(f"<p>{escape(text)}</p>")
            case Table(head, rows):
                parts.append(_page_table(head, rows))
            case Sample(text):
                parts.append(f"<pre>{escape(text)}</pre>")
            case Curves():
                parts.append(_drawn(block))
    return "\n".join(parts) + "\n</main></html>\n"


_START = """<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
main {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 1rem }}
pre {{ border-left: 3px solid #8888; padding-left: 1rem; white-space: pre-wrap }}
pre {{ overflow-wrap: anywhere }}
table {{ border-collapse: collapse; display: block; overflow-x: auto }}
th, td {{ border-bottom: 1px solid #8886; padding: .25rem .75rem .25rem 0; text-align: left }}
main > svg {{ width: 100%; height: auto }}
polyline {{ fill: none; stroke-width: 2 }}
text {{ font-size: 11px; fill: currentColor }}
</style>
<main><h1>{title}</h1>"""


def _page_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    return f"<table><thead>{row(head, 'th')}</thead><tbody>{body}</tbody></table>"


def _drawn(curves: Curves) -> str:
    lines = {name: points for name, points in curves.lines.items() if points}
    if not lines:
        return ""
    xs = [x for points in lines.values() for x, _ in points]
    right = max(*xs, 1)
    # The first fiftieth falls from so high that it would flatten the rest.
    ys = [y for points in lines.values() for x, y in points if x >= right / 50]
    low, high = min(ys), max(ys)
    span = (high - low) or 1

    def place(x: float, y: float) -> str:
        across = _MARGIN + x / right * (_WIDTH - 2 * _MARGIN)
        down = _MARGIN + (high - y) / span * (_HEIGHT - 2 * _MARGIN)
        return f"{across:.1f},{down:.1f}"

    drawn, names = [], []
    for n, (name, points) in enumerate(lines.items()):
        colour = f"hsl({30 + 170 * n} 70% 45%)"
        path = " ".join(place(x, y) for x, y in points)
        drawn.append(f'<polyline points="{path}" style="stroke:{colour}"/>')
        names.append(
            f'<text x="{_MARGIN + 150 * n}" y="16" style="fill:{colour}">{escape(name)}</text>'
        )
    # A nested SVG clips; 2 more on each side keep a line's width.
    top, tall = _MARGIN - 2, _HEIGHT - 2 * _MARGIN + 4
    plot = (
        f'<svg y="{top}" width="{_WIDTH}" height="{tall}" viewBox="0 {top} {_WIDTH} {tall}">'
        f"{''.join(drawn)}</svg>"
    )
    labels = "".join(names) + "".join(
        f'<text x="{x}" y="{y}"{anchor}>{escape(text)}</text>'
        for x, y, anchor, text in (
            (2, _MARGIN, "", f"{high:.2f}"),
            (2, _HEIGHT - _MARGIN, "", f"{low:.2f}"),
            (_WIDTH - 2, _HEIGHT - 12, ' text-anchor="end"', f"{curves.of} {right:g}"),
        )
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(curves.of)}: '
        f'{escape(", ".join(lines))}">{plot}{labels}</svg>'
    )

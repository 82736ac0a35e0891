"""What the systems have reached, as a Markdown table. Knows runs."""

import math
from statistics import mean, stdev

from bench import markdown
from bench.learning.clock import marks
from bench.learning.runs import Run


def table(runs: list[Run], seconds: float) -> str:
    """Returns the rows as Markdown, and below them why a system is missing."""
    rows, missing = rows_of(runs, seconds)
    return "\n".join([markdown.table(rows, right=True), *(["", *missing] if missing else [])])


def rows_of(runs: list[Run], seconds: float) -> tuple[list[dict[str, str]], list[str]]:
    """Returns a row for each text and system, in the order of their first runs.

    Repeats are averaged. Beside them, why systems are missing.
    """
    columns = marks(seconds)
    rows = []
    for text, system in _pairs(runs):
        same = [run for run in runs if (run.text, run.system) == (text, system) and run.points]
        if same:
            row = {"text": text, "system": system}
            row |= {f"{mark:g} s": _cell([run.at(mark) for run in same]) for mark in columns}
            ends = _cell([run.end[1] for run in same])
            row["the end"] = f"{ends} ({mean(run.end[0] for run in same):.0f} s)"
            rows.append(row)
    missing = {f"{r.text}: no {r.system}, for {r.declined}." for r in runs if r.declined}
    return rows, sorted(missing)


def _pairs(runs: list[Run]) -> list[tuple[str, str]]:
    """Texts and systems, each once: texts in their order, systems in that of the first text."""
    texts = dict.fromkeys(run.text for run in runs)
    systems = dict.fromkeys(run.system for run in runs)
    return [(text, system) for text in texts for system in systems]


def _cell(losses: list[float]) -> str:
    if any(map(math.isnan, losses)):
        return "–"
    spread = f" ± {stdev(losses):.3f}" if len(losses) > 1 else ""
    return f"{mean(losses):.3f}{spread}"

"""What the systems have reached, as a Markdown table. Knows runs."""

import math
from statistics import mean, stdev

from bench.learning.clock import marks
from bench.learning.runs import Run


def table(runs: list[Run], seconds: float) -> str:
    """A row for each text and system, in the order of their first runs; repeats are averaged.

    Below it, why a system is missing.
    """
    columns = marks(seconds)
    heads = ["text", "system", *(f"{mark:g} s" for mark in columns), "the end"]
    lines = ["| " + " | ".join(heads) + " |", "| --- | --- |" + " --: |" * (len(columns) + 1)]
    for text, system in _pairs(runs):
        same = [run for run in runs if (run.text, run.system) == (text, system) and run.points]
        if same:
            cells = [_cell([run.at(mark) for run in same]) for mark in columns]
            ends = _cell([run.end[1] for run in same])
            cells.append(f"{ends} ({mean(run.end[0] for run in same):.0f} s)")
            lines.append(f"| {text} | {system} | " + " | ".join(cells) + " |")
    missing = {f"{r.text}: no {r.system}, for {r.declined}." for r in runs if r.declined}
    return "\n".join([*lines, *(["", *sorted(missing)] if missing else [])])


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

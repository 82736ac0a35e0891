"""Texts over HTTP by many at once: ours, a tutorial's server, LitServe's, and the decoder alone."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from statistics import median

import numpy as np

from bench.alone import Alone
from bench.chart import Axis, Colour, Dashes, Line, Panel
from bench.load import BUSY, Load, load
from bench.naive import network_of
from bench.report import samples
from bench.report.plan import Plan
from bench.report.samples import interleave
from bench.report.section import Section, Table
from bench.sample import PlainWay, best_plain
from bench.servers import Running, charloom_with_toy, litserve, tutorial

FAST, EXACT, LOOP, POOL, LITSERVE, ALONE = (
    "charloom, fast",
    "charloom, exact",
    "tutorial, event loop",
    "tutorial, threads",
    "LitServe",
    "decoder without HTTP, fast",
)

STYLES: Mapping[str, tuple[Colour, Dashes]] = {
    FAST: ("violet", ""),
    EXACT: ("lilac", ""),
    LOOP: ("red", ""),
    POOL: ("amber", ""),
    LITSERVE: ("green", ""),
    ALONE: ("grey", "dotted"),
}

ENDLESS = 1_000_000
"""Characters of a text, which none reaches here."""

LITSERVE_LENGTH = 100_000
"""As long for LitServe, whose server is a new one each time."""

Case = tuple[int, str]
"""How many streams, and of which system."""

Measure = Callable[[int], Load]


@dataclass(frozen=True, slots=True)
class Summary:
    """What the streams of one measurement got, in numbers."""

    rate: float
    wait: float
    gap: float
    long_gap: float
    reader: float
    memory: int

    @classmethod
    def of(cls, found: Load) -> "Summary":
        # Where text came once or never there is no gap, which is the longest one.
        low, high = math.inf, math.inf
        if found.gaps:
            low, high = (float(np.percentile(found.gaps, part)) for part in (50, 99))
        wait = float(median(found.waits))
        return cls(found.rate, wait, low, high, found.reader, found.memory)


def measure(plan: Plan, tell: Callable[[str], None]) -> Section:
    """Measures each number of streams with each system, in turn."""
    tell("finding the best way for the tutorial's server")
    way = best_plain(plan.hidden, 2, plan.seconds)
    with ExitStack() as stack:
        systems = dict(_systems(plan, way, stack))
        cases: dict[Case, Callable[[], Load]] = {
            (count, name): partial(system, count)
            for count in plan.streams
            for name, system in systems.items()
        }
        found = interleave(cases, plan.rounds, lambda case: tell(f"{case[1]}, {case[0]} streams"))
    return section(plan, {case: list(map(Summary.of, loads)) for case, loads in found.items()}, way)


def section(plan: Plan, summaries: Mapping[Case, list[Summary]], way: PlainWay) -> Section:
    """Returns what was measured as a table and pictures."""
    return Section(
        "serving",
        "Serving",
        [_table(plan, summaries, way)],
        [*_panels(plan, summaries)],
        _samples(summaries),
    )


def _systems(plan: Plan, way: PlainWay, stack: ExitStack) -> Iterator[tuple[str, Measure]]:
    """Starts the servers; gives what measures each."""
    ours = stack.enter_context(charloom_with_toy(plan.hidden))
    plain = stack.enter_context(tutorial(plan.hidden, onednn=way.onednn, threads=way.threads))
    for name, running, path in (
        (FAST, ours, f"/sample?model=toy&length={ENDLESS}&precision=fast"),
        (EXACT, ours, f"/sample?model=toy&length={ENDLESS}&precision=exact"),
        (LOOP, plain, f"/sample?length={ENDLESS}"),
        (POOL, plain, f"/pooled?length={ENDLESS}"),
    ):
        yield (
            name,
            partial(_load, plan, running, path),
        )
    if plan.with_litserve and find_spec("litserve"):
        yield LITSERVE, partial(_litserve, plan, way)
    alone = Alone(network_of(plan.hidden))
    yield ALONE, lambda count: Load(alone.rate(count, plan.seconds), [math.nan], [], 0.0, 0)


def _load(plan: Plan, running: Running, path: str, count: int, body: str | None = None) -> Load:
    running.settle()
    return load(
        running.port,
        path,
        count,
        plan.seconds,
        warm_up=plan.warm_up,
        patience=plan.patience,
        body=body,
        memory=running.memory,
    )


def _litserve(plan: Plan, way: PlainWay, count: int) -> Load:
    body = json.dumps({"length": LITSERVE_LENGTH})
    # A batch goes on to its end without readers, so what was asked before would be in the way.
    with litserve(plan.hidden, threads=way.threads) as running:
        return _load(plan, running, "/predict", count, body)


def _table(plan: Plan, found: Mapping[Case, list[Summary]], way: PlainWay) -> Table:
    rows = []
    for (count, name), loads in found.items():
        plain = [
            max(one.rate, other.rate)
            for one, other in zip(found[count, LOOP], found[count, POOL], strict=True)
        ]
        rates = [one.rate for one in loads]
        is_bound = any(one.reader >= BUSY for one in loads)
        row = {
            "streams": samples.whole(count),
            "system": name,
            "characters/s": "≥ " * is_bound + samples.spread(rates, samples.whole),
            "× tutorial": samples.times(median(samples.ratios(rates, plain))),
        }
        if name != ALONE:
            row |= _cells(loads)
        rows.append(row)
    return Table(
        f"Streams over HTTP, 2×{plan.hidden}",
        "Sum of all streams in characters a second (more is better); × tutorial is the ratio to "
        "the faster of the tutorial's two ways in the same round (more is better). First "
        "character: milliseconds from a stream's connection to its first text, the median of the "
        "streams. Gaps: milliseconds between two arrivals of text at a stream, median and 99th "
        "percentile. Memory: MB of all processes of the server while the streams are open. Less is "
        "better for these. Reader: the share of one core that the load generator takes.",
        f"./charloom bench --only serving --hidden {plan.hidden}",
        rows,
        [*_notes(plan, found, way)],
    )


def _cells(loads: list[Summary]) -> dict[str, str]:
    return {
        "first character, ms": samples.spread([one.wait for one in loads], samples.milliseconds),
        "gap p50, ms": samples.milliseconds(median(one.gap for one in loads)),
        "gap p99, ms": samples.spread([one.long_gap for one in loads], samples.milliseconds),
        "memory, MB": samples.megabytes(max(one.memory for one in loads)),
        "reader": samples.percent(max(one.reader for one in loads)),
    }


def _notes(plan: Plan, found: Mapping[Case, list[Summary]], way: PlainWay) -> Iterator[str]:
    window = plan.patience + plan.warm_up + plan.seconds
    yield (
        f"The tutorial's server computes with {way}, the fastest of four ways here. The decoder "
        "without HTTP has a thread for each core, and is what a server cannot exceed. *none*: for "
        f"half of the streams it did not come within {window:g} s, and a line in "
        "the pictures ends before it."
    )
    if any(one.reader >= BUSY for loads in found.values() for one in loads):
        yield (
            f"≥: the load generator took {BUSY:.0%} of a core or more, so it may be what limits "
            "the figure."
        )
    if not any(name == LITSERVE for _, name in found):
        why = "pip install litserve" if plan.with_litserve else "leave out --quick"
        yield f"LitServe was not measured: {why}."


def _panels(plan: Plan, found: Mapping[Case, list[Summary]]) -> Iterator[Panel]:
    title = f"2×{plan.hidden}, streams over HTTP"
    for above, value in (
        ("characters a second, all streams (more is better)", lambda one: one.rate),
        ("first character, ms (less is better)", lambda one: 1e3 * one.wait),
        (
            "gap between arrivals, 99th percentile, ms (less is better)",
            lambda one: 1e3 * one.long_gap,
        ),
    ):
        lines = [*_lines(plan, found, value)]
        if lines:
            values = [y for line in lines for _, *ys in line.bounds for y in ys]
            x, y = Axis.at(plan.streams), Axis.around(values, is_log=True)
            yield Panel(title, above, "streams", x, y, lines)


def _lines(
    plan: Plan, found: Mapping[Case, list[Summary]], value: Callable[[Summary], float]
) -> Iterator[Line]:
    for name, (colour, dashes) in STYLES.items():
        bounds = []
        points = []
        for count in plan.streams:
            values = [value(one) for one in found.get((count, name), [])]
            known = [one for one in values if math.isfinite(one) and one > 0]
            # A median of those that came in time only would be too good.
            if values and len(known) == len(values):
                points.append((float(count), median(known)))
                bounds.append((float(count), min(known), max(known)))
        if points:
            short = name.replace("decoder without HTTP, fast", "without HTTP")
            yield Line(
                short, [points], colour, dashes, is_strong=name == FAST, dots=points, bounds=bounds
            )


def _samples(found: Mapping[Case, list[Summary]]) -> dict[str, list[float]]:
    return {
        f"{name}, {count} streams, characters/s": [one.rate for one in loads]
        for (count, name), loads in found.items()
    }

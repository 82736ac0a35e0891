"""How speed, waiting and memory grow with what a user can choose."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from bench.chart import Axis, Colour, Dashes, Line, Panel
from bench.load import first_text, load
from bench.naive import network_of
from bench.report import samples
from bench.report.plan import Plan
from bench.report.samples import Form, interleave
from bench.report.section import Section, Table
from bench.sample import PlainWay, best_plain, plain
from bench.servers import VOCABULARY, Running, charloom, vocabulary
from models.training.network import CharNetwork

COMMAND = "./charloom bench --only growth"

Curves = dict[str, dict[int, list[float]]]
"""Samples by the name of a curve and what grows."""

UNITS = ("cells of a layer", "layers", "characters")
"""What grows, in the order of the arguments of a network."""

PLAIN_STEPS = 4
"""Few, because with the largest network each takes a tenth of a second."""

PLAIN = "nn.LSTM, a character at a time"

STYLES: tuple[tuple[Colour, Dashes], ...] = (("violet", ""), ("lilac", ""), ("grey", "dotted"))


@dataclass(frozen=True, slots=True)
class Sizes:
    """Networks that differ in one size, by that; ``key`` begins the names of their models."""

    title: str
    unit: str
    key: str
    networks: Mapping[int, CharNetwork]

    def model(self, size: int) -> str:
        return f"{self.key}{size}"


Made = tuple[Table, Panel, Curves]


def measure(plan: Plan, tell: Callable[[str], None]) -> Section:
    """Measures a curve after the other, and the points of one in turn."""
    grown = plan.growing_hidden
    each = [
        _sizes(
            "Hidden size, 2 layers", "cells of a layer", [(s, 2, 100) for s in plan.hidden_sizes]
        ),
        _sizes(f"Layers of {grown}", "layers", [(grown, s, 100) for s in plan.layers]),
        _sizes(f"Vocabulary, 2×{grown}", "characters", [(grown, 2, s) for s in plan.vocabularies]),
    ]
    named = {some.model(at): network for some in each for at, network in some.networks.items()}
    way = best_plain(grown, 2, plan.seconds)
    with charloom(named | {"toy": network_of(plan.hidden)}) as running:
        made = [_speeds(plan, some, running, way, tell) for some in each]
        made.append(_primes(plan, running, tell))
    made.append(_models(plan, tell))
    return Section(
        "growth",
        "Growth",
        [table for table, _, _ in made],
        [panel for _, panel, _ in made],
        {
            f"{panel.title}: {name}, {at}": values
            for _, panel, curves in made
            for name, points in curves.items()
            for at, values in points.items()
        },
    )


def _sizes(title: str, unit: str, sizes: Sequence[tuple[int, int, int]]) -> Sizes:
    grows = UNITS.index(unit)
    networks = {each[grows]: network_of(*each) for each in sizes}
    return Sizes(title, unit, unit.split()[0], networks)


def _speeds(
    plan: Plan, sizes: Sizes, running: Running, way: PlainWay, tell: Callable[[str], None]
) -> Made:
    """Characters a second over HTTP."""
    cases: dict[tuple[str, int], Callable[[], float]] = {}
    for at, network in sizes.networks.items():
        path = f"/sample?model={sizes.model(at)}&length=1000000&precision=fast"
        # Loading one takes seconds where it is large.
        first_text(running.port, f"/sample?model={sizes.model(at)}&length=100&precision=fast")
        for count in plan.growing_streams:
            cases[_streams(count), at] = partial(_rate, plan, running, path, count)
        config = network.config
        each = config.hidden_size, config.num_layers, config.vocabulary_size
        cases[PLAIN, at] = partial(way.of, plain(*each, PLAIN_STEPS), plan.seconds)
    found = interleave(
        cases, plan.rounds, lambda case: tell(f"{sizes.title}: {case[1]}, {case[0]}")
    )
    curves: Curves = {}
    for (name, at), values in found.items():
        curves.setdefault(name, {})[at] = values
    about = (
        "Characters a second over HTTP, `fast`, of all streams; beside it the plain way in "
        f"process, with {way}. More is better."
    )
    above = "characters a second (more is better)"
    return _made(sizes.title, about, sizes.unit, above, curves, samples.whole)


def _streams(count: int) -> str:
    return f"{count} stream{'s' if count > 1 else ''}"


def _rate(plan: Plan, running: Running, path: str, count: int) -> float:
    running.settle()
    return load(running.port, path, count, plan.seconds, warm_up=plan.warm_up).rate


def _primes(plan: Plan, running: Running, tell: Callable[[str], None]) -> Made:
    """Waiting for the first character after a prime that nobody has sent, and that one again."""
    drawn = random.Random(0)
    curves: Curves = {"a new prime": {}, "the same again": {}}
    symbols = "".join(map(chr, vocabulary(VOCABULARY).symbols[1:]))

    def both(length: int) -> tuple[float, float]:
        running.settle()
        prime = "".join(drawn.choices(symbols, k=length))
        asked = json.dumps({"model": "toy", "prime": prime, "length": 100})
        new, again = (first_text(running.port, "/sample", asked) for _ in range(2))
        return new, again

    first_text(running.port, "/sample?model=toy&length=100")
    cases = {length: partial(both, length) for length in plan.primes}
    found = interleave(cases, plan.rounds, lambda at: tell(f"prime of {at} characters"))
    for length, pairs in found.items():
        curves["a new prime"][length] = [1e3 * new for new, _ in pairs]
        curves["the same again"][length] = [1e3 * again for _, again in pairs]
    return _made(
        f"Prime, 2×{plan.hidden}",
        "Milliseconds from a connection to the first character of a text that continues a prime: "
        "one that the server has not seen, and the same once more. Less is better.",
        "characters of the prime",
        "first character, ms (less is better)",
        curves,
        samples.figures,
    )


def _models(plan: Plan, tell: Callable[[str], None]) -> Made:
    """Memory of the server with ever more models that have written."""
    # Each has weights of its own: two models with the same ones would share a decoder.
    named = {
        f"model{number}": network_of(plan.growing_hidden, seed=number)
        for number in range(max(plan.models))
    }
    memory: dict[int, list[float]] = {at: [] for at in plan.models}
    waits: dict[int, list[float]] = {at: [] for at in plan.models}
    for _ in range(plan.rounds):
        with charloom(named) as running:
            for number, name in enumerate(named, 1):
                path = f"/sample?model={name}&length=100"
                first_text(running.port, path)
                if number in memory:
                    tell(f"{number} models")
                    memory[number].append(running.memory() / 1e6)
                    waits[number].append(1e3 * first_text(running.port, path))
    table, panel, curves = _made(
        f"Models loaded, 2×{plan.growing_hidden}",
        "MB of the server's process once so many models have each written a text, and milliseconds "
        "to the first character of another text. Less is better.",
        "models",
        "memory of the server, MB (less is better)",
        {"memory, MB": memory},
        samples.figures,
    )
    both: Curves = {"memory, MB": memory, "first character, ms": waits}
    rows = _rows("models", both, samples.figures)
    return Table(table.title, table.about, table.command, rows), panel, curves | both


def _made(title: str, about: str, unit: str, above: str, curves: Curves, form: Form) -> Made:
    table = Table(title, about, COMMAND, _rows(unit, curves, form))
    sizes = sorted({at for points in curves.values() for at in points})
    # Memory has a beginning; the others are compared by how many times they grow.
    is_log = "memory" not in above
    every = [v for points in curves.values() for values in points.values() for v in values if v > 0]
    lines = [
        _line(name, points, style, is_strong=number == 0)
        for number, ((name, points), style) in enumerate(zip(curves.items(), STYLES, strict=False))
        if any(value > 0 for values in points.values() for value in values)
    ]
    x = Axis.at(sizes, is_log=is_log)
    return (
        table,
        Panel(title, above, unit, x, Axis.around(every or [1.0], is_log=is_log), lines),
        curves,
    )


def _line(
    name: str, points: dict[int, list[float]], style: tuple[Colour, Dashes], is_strong: bool
) -> Line:
    colour, dashes = style
    # A logarithm of nothing does not exist.
    drawn = {float(at): [v for v in values if v > 0] for at, values in points.items()}
    curve = [(at, median(values)) for at, values in drawn.items() if values]
    bounds = [(at, min(values), max(values)) for at, values in drawn.items() if values]
    label = "nn.LSTM" if name == PLAIN else name
    return Line(label, [curve], colour, dashes, is_strong=is_strong, dots=curve, bounds=bounds)


def _rows(unit: str, curves: Curves, form: Form) -> Sequence[dict[str, str]]:
    sizes = sorted({at for points in curves.values() for at in points})
    return [
        {unit: samples.whole(at)}
        | {
            name: samples.spread(points[at], form)
            for name, points in curves.items()
            if at in points
        }
        for at in sizes
    ]

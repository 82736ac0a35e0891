"""How speed, waiting and memory grow with what a user can choose."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import median

from bench.chart import Axis, Colour, Dashes, Line, Panel
from bench.load import first_text, load
from bench.naive import network_of
from bench.report import samples
from bench.report.plan import Plan
from bench.report.samples import Form, interleave
from bench.report.section import Section, Table
from bench.sample import best_plain
from bench.servers import VOCABULARY, Running, charloom, vocabulary
from models.training.network import CharNetwork

STREAMS = (1, 32)
COMMAND = "./charloom bench --only growth"

Curves = dict[str, dict[int, list[float]]]
"""Samples by the name of a curve and what grows."""

PLAIN = "nn.LSTM, a character at a time"

STYLES: tuple[tuple[Colour, Dashes], ...] = (("violet", ""), ("lilac", ""), ("grey", "dotted"))


def measure(plan: Plan, tell: Callable[[str], None]) -> Section:
    """Measures a curve after the other, and the points of one in turn."""
    made = [*_speeds(plan, tell), _primes(plan, tell), _models(plan, tell)]
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


Made = tuple[Table, Panel, Curves]


def _speeds(plan: Plan, tell: Callable[[str], None]) -> Iterator[Made]:
    """Characters a second over HTTP, of networks that differ in one size."""
    grown = plan.growing_hidden
    for title, unit, sizes in (
        ("Hidden size, 2 layers", "cells of a layer", [(s, 2, 100) for s in plan.hidden_sizes]),
        (f"Layers of {grown}", "layers", [(grown, s, 100) for s in plan.layers]),
        (f"Vocabulary, 2×{grown}", "characters", [(grown, 2, s) for s in plan.vocabularies]),
    ):
        values = {"cells of a layer": 0, "layers": 1, "characters": 2}[unit]
        networks = {size[values]: network_of(*size) for size in sizes}
        curves = _rates(plan, networks, partial(_tell, tell, title))
        about = (
            "Characters a second over HTTP, `fast`, of one stream and of "
            f"{STREAMS[1]} together; beside it the plain way in process with what suits it best. "
            "More is better."
        )
        yield _made(
            title, about, unit, "characters a second (more is better)", curves, samples.whole
        )


def _tell(tell: Callable[[str], None], title: str, at: int) -> None:
    tell(f"{title}: {at}")


def _rates(plan: Plan, networks: dict[int, CharNetwork], tell: Callable[[int], None]) -> Curves:
    named = {f"size{at}": network for at, network in networks.items()}
    with charloom(named) as running:
        cases: dict[tuple[str, int], Callable[[], float]] = {}
        for at, network in networks.items():
            path = f"/sample?model=size{at}&length=1000000&precision=fast"
            # Loading one takes seconds where it is large.
            first_text(running.port, path)
            for count in STREAMS:
                cases[_streams(count), at] = partial(_rate, plan, running, path, count)
            config = network.config
            cases[PLAIN, at] = partial(
                _plain, config.hidden_size, config.num_layers, config.vocabulary_size, plan.seconds
            )
        found = interleave(cases, plan.rounds, lambda case: tell(case[1]))
    curves: Curves = {}
    for (name, at), values in found.items():
        curves.setdefault(name, {})[at] = values
    return curves


def _streams(count: int) -> str:
    return f"{count} stream{'s' if count > 1 else ''}"


def _rate(plan: Plan, running: Running, path: str, count: int) -> float:
    running.settle()
    return load(running.port, path, count, plan.seconds, warm_up=plan.warm_up).rate


def _plain(hidden: int, layers: int, symbols: int, seconds: float) -> float:
    return best_plain(hidden, layers, seconds / 4, symbols).rate


def _primes(plan: Plan, tell: Callable[[str], None]) -> Made:
    """Waiting for the first character after a prime that nobody has sent, and that one again."""
    drawn = random.Random(0)
    curves: Curves = {"a new prime": {}, "the same again": {}}
    symbols = "".join(map(chr, vocabulary(VOCABULARY).symbols[1:]))

    def both(length: int) -> tuple[float, float]:
        prime = "".join(drawn.choices(symbols, k=length))
        asked = json.dumps({"model": "toy", "prime": prime, "length": 100})
        new, again = (first_text(running.port, "/sample", asked) for _ in range(2))
        return new, again

    with charloom({"toy": network_of(plan.hidden)}) as running:
        first_text(running.port, "/sample?model=toy&length=100")
        cases = {length: partial(both, length) for length in plan.primes}
        found = interleave(cases, plan.rounds, lambda at: tell(f"prime of {at}"))
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
    network = network_of(plan.growing_hidden)
    memory: dict[int, list[float]] = {at: [] for at in plan.models}
    waits: dict[int, list[float]] = {at: [] for at in plan.models}
    named = {f"model{number}": network for number in range(max(plan.models))}
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
    every = [v for points in curves.values() for values in points.values() for v in values]
    # Memory has a beginning; the others are compared by how many times they grow.
    is_log = "memory" not in above
    lines = [
        _line(name, points, style, is_strong=number == 0)
        for number, ((name, points), style) in enumerate(zip(curves.items(), STYLES, strict=False))
    ]
    x = Axis.at(sizes, is_log=is_log)
    return table, Panel(title, above, unit, x, Axis.around(every, is_log=is_log), lines), curves


def _line(
    name: str, points: dict[int, list[float]], style: tuple[Colour, Dashes], is_strong: bool
) -> Line:
    colour, dashes = style
    curve = [(float(at), median(values)) for at, values in points.items()]
    bounds = [(float(at), min(values), max(values)) for at, values in points.items()]
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

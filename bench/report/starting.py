"""How long a server takes until it writes, and what it holds: ours, the tutorial's, LitServe's."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from statistics import median

from bench.load import first_text
from bench.naive import network_of
from bench.report import samples
from bench.report.plan import Plan
from bench.report.samples import interleave
from bench.report.section import Section, Table
from bench.servers import Running, charloom, litserve, publish, tutorial
from models.training.network import CharNetwork

SERVER, WHOLE, TUTORIAL, LITSERVE = (
    "charloom, the server",
    "charloom up, all processes",
    "tutorial",
    "LitServe",
)
MODELS = 10
COMMAND = "./charloom bench --only start"


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a server: seconds since it, and bytes of its processes.

    ``published`` and ``loaded`` are the seconds to write a checkpoint and, from then, to the first
    character of it; ``many`` the bytes once ``MODELS`` models have written. Ours only.
    """

    listening: float
    first: float
    idle: int
    used: int
    published: float = 0.0
    loaded: float = 0.0
    many: int = 0


def measure(plan: Plan, tell: Callable[[str], None]) -> Section:
    """Starts each server once a round, and stops it again."""
    # Each has weights of its own: two models with the same ones would share a decoder.
    networks = [network_of(plan.hidden, seed=number) for number in range(MODELS)]
    cases = dict(_cases(plan, networks))
    found = interleave(cases, plan.rounds, lambda name: tell(f"start of {name}"))
    ours = found[SERVER]
    drawn = {
        f"{name}, to its first character, s": [s.first for s in got] for name, got in found.items()
    }
    drawn |= {f"{name}, idle, MB": [s.idle / 1e6 for s in got] for name, got in found.items()}
    drawn["checkpoint to first character, s"] = [one.loaded for one in ours]
    drawn[f"{SERVER}, {MODELS} models, MB"] = [one.many / 1e6 for one in ours]
    return Section(
        "start", "Start and memory", [_starts(plan, found), _loads(plan, ours)], samples=drawn
    )


def _cases(
    plan: Plan, networks: Sequence[CharNetwork]
) -> Iterator[tuple[str, Callable[[], Start]]]:
    toy = {"toy": networks[0]}
    ours = "/sample?model=toy&length=100"
    yield SERVER, partial(_start, lambda: charloom(toy), ours, None, networks[1:])
    yield WHOLE, partial(_start, lambda: charloom(toy, whole=True), ours)
    plain = partial(tutorial, plan.hidden, onednn=False, threads=1)
    yield TUTORIAL, partial(_start, plain, "/sample?length=100")
    if plan.with_litserve and find_spec("litserve"):
        batched = partial(litserve, plan.hidden, threads=1)
        yield LITSERVE, partial(_start, batched, "/predict", json.dumps({"length": 100}))


def _start(
    opened: Callable[[], AbstractContextManager[Running]],
    path: str,
    body: str | None = None,
    networks: Sequence[CharNetwork] = (),
) -> Start:
    """Starts a server, and publishes more models in it, which only ours can have."""
    with opened() as running:
        idle = running.memory()
        first_text(running.port, path, body)
        first, used = time.perf_counter() - running.began, running.memory()
        if not networks:
            return Start(running.seconds, first, idle, used)
        published, loaded = [], []
        for number, network in enumerate(networks):
            began = time.perf_counter()
            publish(running.data, f"model{number}", network)
            published.append(time.perf_counter() - began)
            loaded.append(first_text(running.port, f"/sample?model=model{number}&length=100"))
        many = running.memory()
        return Start(running.seconds, first, idle, used, median(published), median(loaded), many)


def _starts(plan: Plan, found: Mapping[str, list[Start]]) -> Table:
    rows = [
        {
            "server": name,
            "listens, s": samples.spread([one.listening for one in starts], samples.figures),
            "first character, s": samples.spread([one.first for one in starts], samples.figures),
            "idle, MB": samples.spread([one.idle for one in starts], samples.megabytes),
            "after a text, MB": samples.spread([one.used for one in starts], samples.megabytes),
            f"{MODELS} models, MB": samples.spread([one.many for one in starts], samples.megabytes)
            if name == SERVER
            else "–",
        }
        for name, starts in found.items()
    ]
    return Table(
        f"From its start, 2×{plan.hidden}",
        "Seconds from the start of the process until it listens, and until the first character of "
        "its first text. Memory in MB of all processes, what several have mapped counted once: as "
        f"soon as it listens, after a text, and after a text of each of {MODELS} models. Less is "
        "better everywhere.",
        f"{COMMAND} --hidden {plan.hidden}",
        rows,
        ["The tutorial's server and LitServe have one model in a process."],
    )


def _loads(plan: Plan, starts: list[Start]) -> Table:
    row = {
        "network": f"2×{plan.hidden}",
        "publish, ms": samples.spread([one.published for one in starts], samples.milliseconds),
        "first character, ms": samples.spread([one.loaded for one in starts], samples.milliseconds),
    }
    return Table(
        "From a checkpoint",
        "Milliseconds to write a new checkpoint to disk, and then from a request to its first "
        "character, while the server runs: it reads, checks, quantises and loads the model "
        "between. Less is better.",
        f"{COMMAND} --hidden {plan.hidden}",
        [row],
    )

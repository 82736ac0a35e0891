"""Training: the loss after some seconds, beside what people would use instead, and its speed."""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import torch

from bench.learning.picture import panels
from bench.learning.runs import Run, System, product, rival, run
from bench.learning.table import rows_of
from bench.report import samples
from bench.report.plan import Plan
from bench.report.section import Section, Table
from bench.train import Compared, compare, open_text, own_text

HELD_OUT = 0.1


def measure(plan: Plan, text: Path | None, tell: Callable[[str], None]) -> Section:
    """Trains on a text, or on this project's own code and documents."""
    with tempfile.TemporaryDirectory() as directory:
        if text is None:
            text = Path(directory) / "charloom"
            part = own_text()[: plan.text_bytes].decode("utf-8", errors="ignore")
            text.write_text(part, encoding="utf-8")
        runs = _learned(plan, text, tell)
        tell("training steps")
        corpus = open_text(text.read_bytes(), Path(directory), HELD_OUT)
        steps = compare(
            corpus,
            torch.device("cpu"),
            (2, plan.hidden),
            (plan.batch, plan.length),
            plan.steps,
        )
    named = "" if text.name == "charloom" else f" --text {text.name}"
    losses = {
        f"{name}, nats": [one.end[1] for one in runs if one.system == name and one.points]
        for name in plan.systems
    }
    rates = {
        f"training 2×{plan.hidden}, {way}, characters/s": steps.rates(way) for way in steps.seconds
    }
    return Section(
        "training",
        "Training",
        [_losses(plan, runs, named), _steps(plan, steps, named)],
        panels(runs, plan.learn_seconds),
        losses | rates,
    )


def _learned(plan: Plan, text: Path, tell: Callable[[str], None]) -> list[Run]:
    cases = {
        name: partial(run, _system(name), text, plan.learn_seconds, HELD_OUT)
        for name in plan.systems
    }
    runs = []
    for seed in range(plan.learn_rounds):
        for name, learn in cases.items():
            tell(f"{name} learns for {plan.learn_seconds:g} s")
            runs.append(learn(seed))
    return runs


def _system(name: str) -> System:
    return product("ours") if name == "ours" else rival(name)


def _losses(plan: Plan, runs: Sequence[Run], named: str) -> Table:
    rows, missing = rows_of(list(runs), plan.learn_seconds)
    return Table(
        "Time to quality",
        "Held-out loss in nats per character after some seconds of training (less is better); in "
        f"brackets, when the run ended. Mean and deviation of runs: {plan.learn_rounds} of each. "
        "Each system has the machine to itself, one after the other. *ours* is a job with all "
        "defaults, the others are the recipes of char-rnn, makemore (lists only), nanoGPT and an "
        "n-gram model. `.venv/bin/python -m bench.learn` compares more texts and earlier commits.",
        f"./charloom bench --only training{named}",
        rows,
        missing,
    )


def _steps(plan: Plan, found: Compared, named: str) -> Table:
    rows = []
    for way, kind in (("ours", found.options.precision), ("plain", "fp32")):
        rates = found.rates(way)
        ratio = median(samples.ratios(rates, found.rates("plain")))
        rows.append(
            {
                "way": {"ours": "charloom", "plain": "`nn.Embedding`, `nn.LSTM`"}[way],
                "precision": kind,
                "characters/s": samples.spread(rates, samples.whole),
                "× plain": samples.times(ratio),
                "held-out loss": f"{found.held_out[way]:.3f}",
            }
        )
    options = found.options
    return Table(
        f"Speed of training, 2×{plan.hidden}, batches of "
        f"{options.batch_size}×{options.sequence_length}",
        "Characters a second that are trained on (more is better), of the same network from the "
        f"same weights on the same batches, a step each in turn, {options.max_steps} steps; and "
        "the held-out loss after them in nats per character (less is better).",
        f"./charloom bench --only training --hidden {plan.hidden}{named}",
        rows,
    )

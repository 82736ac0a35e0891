"""Runs an experiment of the essay through the service, and reports the result.

Trains as ``charloom train`` does, samples as any client does, checks the samples
(``app.essay.checks``), and checks held-out text too, which shows how the real thing fares. Knows
the contents of a report, not its looks.
"""

import os
import platform
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from app.essay import checks
from app.essay.checks import Count
from app.essay.experiments import Experiment
from app.essay.report import Block, Curves, Heading, Paragraph, Sample, Table, markdown, page
from app.supervisor.errors import UserError
from app.terminal import commands, jobs
from app.terminal.client import Client
from app.terminal.connect import Reached
from app.terminal.output import duration
from models.text.cleaning import NotUtf8, cleaned
from models.text.novelty import longest_run
from models.units import bits

HELD_OUT = 0.05
"""Share of the text, its end: the service's own default."""

NAMES = 10_000
_SHOWN = 1500
"""Characters of a sample in the report."""

_SHOWN_NAMES = 40
_NAME_SAMPLES = 10


@dataclass(frozen=True, slots=True)
class Request:
    """An experiment to run.

    Attributes:
        name: of the experiment.
        text: the corpus; may be None if there is a model.
        model: an existing one; None trains one.
        minutes: how long to train; None takes the essay's settings, however long that takes.
        command: the command line, for the report.
    """

    name: str
    experiment: Experiment
    text: Path | None
    model: str | None
    minutes: float | None
    command: str


@dataclass(frozen=True)
class Text:
    """A corpus as checks need it: the part for training, and the part held out."""

    train: str
    held_out: str

    @classmethod
    def read(cls, path: Path) -> "Text":
        try:
            text = cleaned(path)
        except NotUtf8:
            text = path.read_bytes().decode("utf-8", "replace")
        cut = len(text) - max(1, int(len(text) * HELD_OUT))
        return cls(text[:cut], text[cut:])

    @cached_property
    def words(self) -> Collection[str]:
        return set(checks.words(self.train))

    @cached_property
    def points(self) -> Any:
        return _points(self.train)


def _points(text: str) -> Any:
    return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")


CheckFunction = Callable[[str, Text | None], Count | None]


def _words(text: str, corpus: Text | None) -> Count | None:
    return checks.real_words(text, corpus.words) if corpus else None


def _functions(text: str, _corpus: Text | None) -> Count | None:
    found = checks.compiler()
    return checks.c_functions(text, found) if found else None


def _speakers(text: str, corpus: Text | None) -> Count | None:
    """Counts lines that are a speaker's name, as ``ROMEO:``, and those the corpus has too."""
    pattern = re.compile(r"(?m)^([A-Z][A-Za-z' ]+):$")
    if corpus is None:
        return None
    known = set(pattern.findall(corpus.train))
    found = pattern.findall(text)
    return Count(sum(name in known for name in found), len(found))


def _links(text: str, _corpus: Text | None) -> Count:
    """Counts wiki links, and those that end before their line does, or another begins."""
    begun = text.split("[[")[1:]
    return Count(sum("]]" in link.partition("\n")[0] for link in begun), len(begun))


def _dollars(text: str, _corpus: Text | None) -> Count:
    """Counts paragraphs with formulas, and those whose dollars are paired."""
    numbers = [paragraph.count("$") for paragraph in text.split("\n\n")]
    return Count(sum(n > 0 and n % 2 == 0 for n in numbers), sum(n > 0 for n in numbers))


CHECKS: Mapping[str, tuple[str, CheckFunction]] = {
    "words": ("words that the text trained on has", _words),
    "brackets": ("brackets closed in order", lambda text, _: checks.brackets(text)),
    "quotes": ("paragraphs whose quotes are paired", lambda text, _: checks.quotes(text)),
    "string quotes": ("lines whose quotes are paired", lambda text, _: checks.quotes(text, "\n")),
    "comments": ("comments closed before the next", lambda text, _: checks.closed_comments(text)),
    "functions": ("C functions that a compiler's parser accepts", _functions),
    "tags": ("XML tags closed in order", lambda text, _: checks.tags(text)),
    "links": ("[[links]] closed in their line", _links),
    "environments": (
        "LaTeX environments closed in order",
        lambda text, _: checks.environments(text),
    ),
    "dollars": ("paragraphs whose $ are paired", _dollars),
    "speakers": ("speakers that the text trained on has", _speakers),
}
"""Titles and functions; these return None if they lack a corpus or a compiler."""


@dataclass
class ExperimentRun:
    """A running experiment: what it works with, and what it found so far."""

    request: Request
    client: Client
    model: str
    job: dict[str, Any] | None
    seconds: float
    corpus: Text | None

    @property
    def experiment(self) -> Experiment:
        return self.request.experiment

    def sample(self, temperature: float, length: int, model: str = "", seed: int = 0) -> str:
        fields = {
            "model": model or self.model,
            "temperature": temperature,
            "length": length,
            "seed": seed,
        }
        text: str = self.client.post("/sample", fields)["text"]
        return text

    def reference(self) -> str:
        """Returns as much held-out text as a sample has; none without a corpus."""
        return self.corpus.held_out[: self.experiment.length] if self.corpus else ""


def run(reached: Reached, request: Request, directory: Path) -> list[Path]:
    """Runs an experiment and writes ``report.md`` and ``report.html`` into a directory.

    Raises:
        UserError: the service refuses, or training was cancelled.
        OSError: the text cannot be read, or the report not be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    job = None
    model = request.model or f"essay-{request.name}"
    if request.model is None:
        job = _train(reached, request, model)
    corpus = Text.read(request.text) if request.text else None
    seconds = time.monotonic() - began
    made = ExperimentRun(request, reached.client, model, job, seconds, corpus)
    blocks = [*_about(made), *_SECTIONS[request.experiment.about](made)]
    files = {
        directory / "report.md": markdown(request.experiment.title, blocks),
        directory / "report.html": page(request.experiment.title, blocks),
    }
    for path, content in files.items():
        path.write_text(content, "utf-8")
    return list(files)


def _train(reached: Reached, request: Request, model: str) -> dict[str, Any]:
    assert request.text
    options = training_options(request.experiment, request.minutes)
    if not _is_utf8(request.text):
        options["tokens"] = "bytes"
    with request.text.open("rb") as file:
        job = jobs.start(reached.client, file, options | {"model": model})
    code = jobs.watch(reached, job)
    if code:
        raise UserError(f"no report, because job {job['id']} did not finish")
    finished: dict[str, Any] = reached.client.get(f"/jobs/{job['id']}")
    return finished


def training_options(experiment: Experiment, minutes: float | None) -> dict[str, Any]:
    """Returns the essay's settings; or those that suit text and machine, for so many minutes."""
    if minutes is None:
        return dict(experiment.options)
    return {"preset": "auto", **experiment.reduced, "max_seconds": 60 * minutes}


def _is_utf8(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            while file.read(1 << 20):
                pass
    except UnicodeDecodeError:
        return False
    return True


# The beginning of every report


def _about(made: ExperimentRun) -> Iterator[Block]:
    request, experiment = made.request, made.request.experiment
    yield Heading("The essay")
    yield Paragraph(experiment.essay)
    yield Heading("Here")
    model = made.client.get(f"/models/{made.model}")
    yield Table(("", ""), list(_facts(made, model)))
    history = made.client.get(f"/models/{made.model}/history")["points"]
    curves = {
        name: [(point["step"], point[key]) for point in history if point[key] is not None]
        for name, key in (("training", "train_loss"), ("validation", "val_loss"))
    }
    if any(curves.values()):
        yield Heading("Losses")
        yield Paragraph("Nats per character, over the steps.")
        yield Curves("step", curves)
    if request.text is None and experiment.checks:
        yield Paragraph(
            "Checks that compare with the text were skipped, since it was not given: "
            f"{request.command} --corpus FILE runs them."
        )
    if "functions" in experiment.checks and checks.compiler() is None:
        yield Paragraph("No C compiler is on the path: functions were not parsed.")


def _facts(made: ExperimentRun, model: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    config = model["config"]
    yield "command", made.request.command
    yield "machine", _machine()
    yield (
        "network",
        (
            f"{model['network'].upper()}, {config['num_layers']} × {config['hidden_size']}, "
            f"dropout {config['dropout']:g}, {model['parameters']:,} parameters"
        ),
    )
    if made.job:
        options, progress = made.job["options"], made.job["progress"] or {}
        yield (
            "training",
            (
                f"{options['optimizer']}, batches of {options['batch_size']} × "
                f"{options['sequence_length']}, {progress.get('step', 0):,} steps, "
                f"{progress.get('epoch', 0):.2f} passes over the text"
            ),
        )
        spent = duration(progress["elapsed_seconds"])
        yield "time", f"{duration(made.seconds)}, {spent} of it training"
    if made.request.text:
        yield "text", f"{made.request.text.name}, {made.request.text.stat().st_size:,} bytes"
    yield "validation loss", _loss(model["val_loss"])
    if baseline := model["baseline"]:
        yield f"n-gram of order {baseline['ngram_order']}", _loss(baseline["val_loss"])


def _loss(loss: float | None) -> str:
    if loss is None:
        return "unknown"
    return f"{loss:.4f} nats per character, {bits(loss):.4f} bits"


def _machine() -> str:
    name = platform.processor() or platform.machine()
    with suppress(OSError):
        models = re.findall(r"(?m)^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text())
        name = models[0] if models else name
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"


def _checked(made: ExperimentRun, texts: Sequence[tuple[str, str]]) -> Iterator[Block]:
    """Yields the table of checks of several texts, each a column; the held-out text is the last."""
    texts = [(name, text) for name, text in texts if text]
    rows = []
    for check in made.experiment.checks:
        title, count = CHECKS[check]
        counts = [count(text, made.corpus) for _, text in texts]
        if any(found and found.of for found in counts):
            rows.append((title, *map(_share, counts)))
    if made.corpus:
        runs = [longest_run(_points(text), made.corpus.points).length for _, text in texts]
        rows.append(("longest run that the text trained on has", *map(str, runs)))
    if rows:
        yield Heading("Checks")
        yield Table(("", *(name for name, _ in texts)), rows)


def _share(count: Count | None) -> str:
    if count is None:
        return ""
    return f"{_percent(count)} of {count.of:,}"


def _percent(count: Count) -> str:
    return "none" if count.share is None else f"{count.share:.1%}"


def _shown(samples: Sequence[tuple[str, str]]) -> Iterator[Block]:
    for name, text in samples:
        yield Heading(f"Sample, {name}")
        yield Sample(text[:_SHOWN])


# The subjects of reports


def _samples(made: ExperimentRun) -> Iterator[Block]:
    experiment = made.experiment
    samples = [
        (f"temperature {temperature:g}", made.sample(temperature, experiment.length))
        for temperature in experiment.temperatures
    ]
    yield from _checked(made, [*samples, ("held-out text", made.reference())])
    yield from _shown(samples)


def _names(made: ExperimentRun) -> Iterator[Block]:
    yield Heading("Novelty")
    known = set((made.corpus.train + made.corpus.held_out).split("\n")) if made.corpus else set()
    rows = []
    shown = []
    for temperature in made.experiment.temperatures:
        lines = _lines(made, temperature)
        found = checks.novelty(lines, known)
        rows.append(
            (
                f"{temperature:g}",
                f"{found.lines:,}",
                _percent(Count(found.distinct, found.lines)),
                _percent(Count(found.novel_distinct, found.distinct)) if known else "",
                _percent(Count(found.novel, found.lines)) if known else "",
            )
        )
        new = list(dict.fromkeys(line for line in lines if line and line not in known))
        shown.append((temperature, new[:_SHOWN_NAMES]))
    yield Paragraph(
        "Names drawn one after the other, how many of them are distinct, and how many of the "
        "distinct ones, and of all, are not in the text, its held-out part included."
    )
    head = ("temperature", "drawn", "distinct", "novel of these", "novel of all drawn")
    yield Table(head, rows)
    for temperature, new in shown:
        yield Heading(f"Novel names, temperature {temperature:g}")
        yield Paragraph(", ".join(new))


def _lines(made: ExperimentRun, temperature: float) -> list[str]:
    """Returns lines that the model writes, ten thousand if they are as short as names are."""
    lines: list[str] = []
    for seed in range(_NAME_SAMPLES):
        # The last line of a sample is cut off.
        lines += made.sample(temperature, made.experiment.length, seed=seed).split("\n")[:-1]
        if len(lines) >= NAMES:
            break
    return lines[:NAMES]


def _evolution(made: ExperimentRun) -> Iterator[Block]:
    samples = made.client.get(f"/models/{made.model}/history")["samples"]
    stages = [(f"step {sample['step']}", sample["text"]) for sample in samples]
    yield from _checked(made, [*stages, ("held-out text", made.reference())])
    yield from _shown(stages)


def _cells(made: ExperimentRun) -> Iterator[Block]:
    found = commands.ranking(made.client, made.model)
    yield Heading("Cells")
    if found["share"] is None:
        yield Paragraph("The model carries no held-out text to test its cells on.")
        return
    yield Paragraph(
        f"{found['share']:.1%} of the cells track something that was looked for, on held-out text."
    )
    rows = []
    for one in found["hypotheses"]:
        best = one["cells"][0]
        sign = "" if best["sign"] > 0 else ", low"
        cell = f"layer {best['layer']}, cell {best['cell']}{sign}"
        rows.append((one["title"], cell, one["metric"], f"{best['score']:.3f}"))
    yield Table(("tracks", "cell", "measure", "score"), rows)
    for one in found["hypotheses"]:
        yield Heading(one["title"].capitalize())
        yield Sample(one["excerpt"])


def _ngram(made: ExperimentRun) -> Iterator[Block]:
    experiment = made.experiment
    samples = [
        (f"{name}, {temperature:g}", made.sample(temperature, experiment.length, model))
        for temperature in experiment.temperatures
        for name, model in (("network", made.model), ("n-gram", f"{made.model}:ngram"))
    ]
    yield from _checked(made, [*samples, ("held-out text", made.reference())])
    yield from _shown(samples)


_SECTIONS: Mapping[str, Callable[[ExperimentRun], Iterator[Block]]] = {
    "samples": _samples,
    "names": _names,
    "evolution": _evolution,
    "cells": _cells,
    "ngram": _ngram,
}

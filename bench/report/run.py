"""Measures the sections and writes the report, as far as it has come, after each of them."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.markdown import table
from bench.report import ceilings, growth, serving, starting, training
from bench.report.machine import QUIET, Watch, describe
from bench.report.plan import Plan
from bench.report.section import Section

Tell = Callable[[str], None]
Measure = Callable[[Plan, Tell], Section]

REPORT, SAMPLES = "bench.md", "bench.json"


def sections(text: Path | None) -> dict[str, Measure]:
    """Returns what measures each section, in the order of the report.

    ``text`` is what is learned from; None is this project's own.
    """
    return {
        "serving": serving.measure,
        "training": lambda plan, tell: training.measure(plan, text, tell),
        "start": starting.measure,
        "ceilings": ceilings.measure,
        "growth": growth.measure,
    }


@dataclass(slots=True)
class Report:
    """What was measured so far.

    Args:
        command: how somebody else makes this report.
    """

    plan: Plan
    command: str
    directory: Path
    machine: Mapping[str, str] = field(default_factory=describe)
    _watch: Watch = field(default_factory=Watch)
    _began: datetime = field(default_factory=lambda: datetime.now(UTC))
    _blocks: list[str] = field(default_factory=list)
    _samples: dict[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return self.directory / REPORT

    def add(self, section: Section) -> None:
        self._blocks.append(section.write(self.directory))
        self._samples[section.name] = section.samples
        self.write()

    def fail(self, name: str, reason: str) -> None:
        """Says in the report why a section is missing."""
        self._blocks.append(f"## {name.capitalize()}\n\nNot measured:\n\n```\n{reason}\n```")
        self.write()

    def write(self) -> None:
        others = self._watch.others
        rows = [{"what": name, "here": value} for name, value in self.machine.items()]
        rows.append({"what": "Used by others meanwhile", "here": f"{others:.0%} of the cores"})
        blocks = [
            "# What charloom's bench measured",
            f"Made by `{self.command}`, begun {self._began:%Y-%m-%d %H:%M} UTC, in "
            f"{self._watch.seconds / 60:.1f} minutes. Clients and servers share this machine.",
            f"A figure is the median of {self.plan.rounds} rounds with the least and the most in "
            "brackets. In a round each thing is measured once, one after the other, so a ratio of "
            "two of them counts more than a speed. In pictures a vertical stroke goes from the "
            "least to the most.",
            *([_warning(others)] if others > QUIET else []),
            f"## The machine\n\n{table(rows)}",
            *self._blocks,
        ]
        self.path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
        said = {"machine": {**self.machine}, "others": others, "samples": _finite(self._samples)}
        text = json.dumps(said, indent=1, ensure_ascii=False, allow_nan=False)
        (self.directory / SAMPLES).write_text(f"{text}\n", encoding="utf-8")


def _warning(others: float) -> str:
    return (
        f"**The machine was not quiet**: other processes used {others:.0%} of its cores. Speeds "
        "are too low and spreads too wide; measure again when it has nothing else to do."
    )


def _finite(samples: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """Returns samples as JSON has them: what did not end in time is null."""
    return {
        section: {
            name: [value if math.isfinite(value) else None for value in values]
            for name, values in found.items()
        }
        for section, found in samples.items()
    }


def measure(report: Report, chosen: Mapping[str, Measure], tell: Tell) -> bool:
    """Measures sections and adds each to the report; returns whether all got to their ends."""
    report.directory.mkdir(parents=True, exist_ok=True)
    is_whole = True
    for name, section in chosen.items():
        try:
            report.add(section(report.plan, lambda what, name=name: tell(f"{name}: {what}")))  # type: ignore[misc]
        except RuntimeError as error:
            is_whole = False
            report.fail(name, str(error))
    return is_whole

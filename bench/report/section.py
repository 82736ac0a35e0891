"""A part of the report: tables, pictures and words. Measures nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.chart import Panel, draw
from bench.markdown import table


@dataclass(frozen=True, slots=True)
class Table:
    """What was measured, a row for each thing; cells are text.

    Attributes:
        about: what it shows, in which units, and which way is better.
        command: measures only this.
    """

    title: str
    about: str
    command: str
    rows: Sequence[Mapping[str, str]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        blocks = [f"### {self.title}", self.about, table(self.rows, right=True), *self.notes]
        return "\n\n".join([*blocks, f"Command: `{self.command}`"])


@dataclass(frozen=True, slots=True)
class Section:
    """Tables about one question, and their picture.

    ``samples`` has each single measurement, by what was measured.
    """

    name: str
    title: str
    tables: Sequence[Table]
    panels: Sequence[Panel] = ()
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def picture(self) -> str:
        """The name of its picture's file."""
        return f"{self.name}.svg"

    def write(self, directory: Path) -> str:
        """Writes the picture, if there is one; returns the section as Markdown."""
        blocks = [f"## {self.title}"]
        if self.panels:
            (directory / self.picture).write_text(draw(self.panels, self.title), encoding="utf-8")
            blocks.append(f"![{self.title}]({self.picture})")
        return "\n\n".join([*blocks, *(one.markdown() for one in self.tables)])

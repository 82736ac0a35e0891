"""The Markdown that ``bench.device`` writes. Knows rows; measures nothing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

TITLES = {
    "facts": "The machine",
    "tests": "Tests that need a GPU",
    "speed": "Training steps",
    "learn": "A training as a job does it",
    "decode": "Decoding, characters a second",
}


def in_words(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns what the parts found, as Markdown, with what went wrong."""
    blocks = ["# bench.device"]
    for name, part in found.items():
        blocks.append(f"## {TITLES[name]}")
        if part["rows"]:
            blocks.append(table(part["rows"]))
        if "error" in part:
            blocks.append(f"This part did not get to its end:\n\n```\n{part['error']}\n```")
    return "\n\n".join(blocks) + "\n"


def table(rows: Sequence[Row]) -> str:
    """Returns rows as a table, with the columns that any of them has."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [_line(columns), _line("---" for _ in columns)]
    lines += [_line(_cell(row.get(name)) for name in columns) for row in rows]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    words = "; ".join(map(str, value)) if isinstance(value, list) else str(value)
    return " ".join(words.replace("|", "\\|").split())

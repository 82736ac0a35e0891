"""Rows as a Markdown table. Measures nothing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def table(rows: Sequence[Row], *, right: bool = False) -> str:
    """Returns rows as a table, with the columns that any of them has.

    With ``right``, columns of which each cell begins with a number, or is empty, are aligned there.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name)) for name in columns] for row in rows]
    rules = [
        "--:" if right and all(map(_is_figure, column)) else "---"
        for column in zip(*cells, strict=True)
    ]
    return "\n".join([_line(columns), _line(rules), *map(_line, cells)])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _is_figure(cell: str) -> bool:
    return cell in ("", "–") or cell.startswith("none") or cell.lstrip("≥ ")[:1].isdigit()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    words = "; ".join(map(str, value)) if isinstance(value, list) else str(value)
    return " ".join(words.replace("|", "\\|").split())

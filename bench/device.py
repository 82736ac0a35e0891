"""What a GPU makes of training and decoding: one command, eight minutes, one table.

    python -m bench.device [--to .] [--text FILE] [--only tests speed …] [--dry-run]

It needs no network. First come the tests that need a GPU (``tests/models/test_on_a_gpu.py``), then
the speed of training in several ways with the names of the kernels, a training of 60 s as a job
does it, and decoding against the CPU's decoder. Each part runs in a process of its own: one that
fails, or takes too long, is reported, and the others run. What was measured until then counts.

Writes ``device.json`` and ``device.md``. ``--text`` is what the training of 60 s reads, the Linux
source of docs/measured.md if you have it; without it the text is this project's own. ``--dry-run``
takes every path on a CPU, with small networks, and measures nothing.
"""

import argparse
import json
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.device_parts import PARTS, Asked
from bench.device_table import in_words

SECONDS = 480.0
"""Of all parts together."""

LIMITS = {"facts": 60.0, "tests": 150.0, "speed": 150.0, "learn": 140.0, "decode": 80.0}
"""Seconds after which a part is ended."""

Found = dict[str, Any]
"""What a part found: ``rows``, ``seconds``, and its ``error`` if it did not get to its end."""


def run_here(name: str, asked: Asked, rows: Path) -> None:
    """Runs a part in this process, and writes down each row as it is measured."""
    with rows.open("a") as file:
        for row in PARTS[name](asked):
            file.write(json.dumps(row) + "\n")
            file.flush()


def run_part(name: str, asked: Asked, directory: Path, seconds: float | None) -> Found:
    """Runs a part, in a process of its own if its time is limited."""
    rows = directory / f"{name}.jsonl"
    rows.write_text("")
    began = time.monotonic()
    error: str | None = None
    if seconds is None:
        try:
            run_here(name, asked, rows)
        except Exception:
            error = traceback.format_exc(limit=-3)
    else:
        error = _run_apart(name, asked, rows, seconds)
    found: Found = {"rows": [json.loads(line) for line in rows.read_text().splitlines()]}
    found["seconds"] = round(time.monotonic() - began, 1)
    return found | ({"error": error} if error else {})


def _run_apart(name: str, asked: Asked, rows: Path, seconds: float) -> str | None:
    """Returns what went wrong, if anything did."""
    command = [sys.executable, "-m", "bench.device", "--part", name, "--rows", str(rows)]
    command += ["--dry-run"] * asked.is_dry
    command += ["--text", str(asked.text)] if asked.text else []
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, errors="replace"
        )
    except subprocess.TimeoutExpired:
        return f"it was not over after {seconds:.0f} s"
    if ended.returncode == 0:
        return None
    last = "\n".join(ended.stderr.strip().splitlines()[-12:])
    return f"it ended with {ended.returncode}: {last}"


def measure(asked: Asked, names: Sequence[str], directory: Path) -> dict[str, Found]:
    """Runs the parts, as long as there is time."""
    ends = time.monotonic() + SECONDS
    found: dict[str, Found] = {}
    for name in names:
        left = ends - time.monotonic()
        if left < 5:
            found[name] = {"rows": [], "seconds": 0.0, "error": "no time was left for it"}
            continue
        limit = None if asked.is_dry else min(LIMITS[name], left)
        print(f"{name} …", file=sys.stderr, flush=True)
        found[name] = run_part(name, asked, directory, limit)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", type=Path, default=Path(), help="the folder to write to")
    parser.add_argument("--text", type=Path, help="what the training of 60 s reads")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--dry-run", action="store_true", help="on a CPU, small, and quick")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    asked = Asked(given.dry_run, given.text)
    if given.part:
        run_here(given.part, asked, given.rows)
        return 0
    if problem := asked.problem():
        print(f"bench.device: {problem}", file=sys.stderr)
        return 2
    given.to.mkdir(parents=True, exist_ok=True)
    parts = given.to / "device-parts"
    parts.mkdir(exist_ok=True)
    found = measure(asked, given.only, parts)
    (given.to / "device.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    table = in_words(found)
    (given.to / "device.md").write_text(table)
    print(table)
    return 1 if any("error" in part for part in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

"""The Markdown that ``bench.device`` writes. Knows rows; measures nothing."""

from collections.abc import Mapping
from typing import Any

from bench.markdown import table

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

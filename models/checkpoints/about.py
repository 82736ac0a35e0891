"""What people say of a model: notes, and that it is pinned.

One file beside the model's checkpoints, which goes with the last of them. Callers that change it
hold the registry's lock. Knows no checkpoint.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from models.files import CheckpointError, parse_object, read_bounded, write_durably
from models.places import is_there, tell_once

ABOUT = "about.json"
MAX_NOTES = 4000
"""Characters."""

_MAX_FILE = 64 << 10


@dataclass(frozen=True, slots=True)
class About:
    notes: str = ""
    is_pinned: bool = False


def read_about(directory: Path) -> About:
    """Returns what is said of the model in a directory; nothing where that is damaged."""
    path = directory / ABOUT
    if not is_there(path):
        return About()
    try:
        said = parse_object(read_bounded(path, _MAX_FILE), ABOUT)
    except CheckpointError as error:
        tell_once(f"the notes of {directory.name} are lost: {error}")
        return About()
    notes, pinned = said.get("notes"), said.get("pinned")
    return About(notes[:MAX_NOTES] if isinstance(notes, str) else "", pinned is True)


def write_about(directory: Path, about: About) -> None:
    said = {"notes": about.notes, "pinned": about.is_pinned}
    write_durably(directory / ABOUT, json.dumps(said).encode())

"""The state that training resumes from, on disk as two generations: the newer may be damaged.

A generation is a directory ``<root>/<number>/``, written beside, synced and renamed into place:

    tensors.safetensors
    rest.json            all values but tensors, and the sha256 of the tensors

Knows nothing of what is saved but its step.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.files import open_file, read_bounded, sync_directory, write_durably
from worker.records import MAX_RECORD

if TYPE_CHECKING:
    from torch import Tensor

    from models.training.trainer import TrainerState

KEPT = 2

_NUMBER = re.compile(r"\d{8}", re.ASCII)
_STAGED = ".stage"

_DAMAGE = (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError)
"""What reading a damaged file may raise: JSON has infinity, and may be nested without end."""


def save(
    root: Path,
    tensors: dict[str, "Tensor"],
    rest: "TrainerState",
    *,
    turn: str = "0",
    check: Callable[[], None] | None = None,
) -> None:
    """Adds a generation and removes all but the newest two.

    Args:
        root: the directory of all.
        tensors: what is saved.
        rest: the values beside them.
        turn: the caller's (``worker.fence``): no other process writes under its name.
        check: raises an error if another has taken over; asked once all is written.
    """
    from safetensors.torch import save_file

    root.mkdir(exist_ok=True)
    staged = root / f"{_STAGED}-{turn}"
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    try:
        path = staged / "tensors.safetensors"
        save_file(tensors, path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        write_durably(staged / "rest.json", json.dumps({"sha256": digest, "rest": rest}).encode())
        if check:
            check()
        before = _numbers(root)
        staged.rename(root / f"{max(before, default=0) + 1:08d}")
        sync_directory(root)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    for number in _numbers(root)[:-KEPT]:
        shutil.rmtree(root / f"{number:08d}", ignore_errors=True)


def load(root: Path) -> Iterator[tuple[dict[str, "Tensor"], "TrainerState"]]:
    """Tensors and rest of the sound generations, the newest first."""
    return (found for found in load_all(root) if found is not None)


def load_all(root: Path) -> Iterator[tuple[dict[str, "Tensor"], "TrainerState"] | None]:
    """Tensors and rest of every generation, the newest first; None for a damaged one."""
    from safetensors import SafetensorError
    from safetensors.torch import load as parse

    for number in reversed(_numbers(root)):
        directory = root / f"{number:08d}"
        try:
            described = _described(directory)
            with open_file(directory / "tensors.safetensors") as file:
                data = file.read()
            is_sound = hashlib.sha256(data).hexdigest() == described["sha256"]
            found = (parse(data), described["rest"]) if is_sound else None
        except (*_DAMAGE, SafetensorError):
            found = None
        yield found


def discard_newest(root: Path) -> None:
    """Removes the newest generation."""
    for number in _numbers(root)[-1:]:
        shutil.rmtree(root / f"{number:08d}")
        sync_directory(root)


def newest_step(root: Path) -> int:
    """The step of the newest readable generation, 0 if there is none."""
    for number in reversed(_numbers(root)):
        try:
            return int(_described(root / f"{number:08d}")["rest"]["step"])
        except _DAMAGE:
            continue
    return 0


def _described(directory: Path) -> Any:
    """The content of ``rest.json``. Raises one of ``_DAMAGE``."""
    return json.loads(read_bounded(directory / "rest.json", MAX_RECORD))


def _numbers(root: Path) -> list[int]:
    if not root.is_dir():
        return []
    return sorted(int(p.name) for p in root.iterdir() if _NUMBER.fullmatch(p.name))

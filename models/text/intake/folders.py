"""Finds the files of a text on this machine: those named, and those in folders.

Folders are walked in the order of their names, and no link is followed. Knows no archive.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO

from models.text.intake.members import MAX_MEMBERS, Budget, Member, fault_of_mode, fault_of_name


def members_at(paths: Sequence[Path]) -> list[Member]:
    """Returns the files at paths, each named by its path in the folder that was named.

    Raises:
        OSError: a path or a folder cannot be read.
        TooMuch: there are more files and folders than a text may be made of.
    """
    found: list[Member] = []
    budget = Budget(0)
    for path in paths:
        # Whoever names a link means the file.
        is_folder = stat.S_ISDIR(path.stat().st_mode)
        if is_folder:
            found += _walked(path, "", budget)
        else:
            found.append(Member(path.name, _opening(path)))
    return found


def _walked(folder: Path, prefix: str, budget: Budget) -> Iterator[Member]:
    with os.scandir(folder) as entries:
        # One more than there may be is enough to tell.
        inside = sorted(islice(entries, MAX_MEMBERS + 1), key=lambda entry: entry.name)
    budget.count(len(inside))
    for entry in inside:
        name, path = prefix + entry.name, Path(entry.path)
        mode = entry.stat(follow_symlinks=False).st_mode
        reason = fault_of_name(name)
        if stat.S_ISDIR(mode) and reason is None:
            yield from _walked(path, f"{name}/", budget)
        else:
            yield Member(name, _opening(path), reason or fault_of_mode(mode))


def _opening(path: Path) -> Callable[[], IO[bytes]]:
    return lambda: path.open("rb")

"""The fence around a job: of all the processes that worked on it, only the last may write.

Each turn at a job has a number, its epoch, which rises and is kept in the job's directory, since
Redis may lose everything. A process that was frozen or cut off while another took its job finds a
later epoch there, and writes nothing more.

Looking and then writing leaves a moment between the two, in which a process may be frozen. So a
writer first prepares: it writes beside the place, or opens the file to append to. Then it looks;
then it renames, or appends. A new turn raises the epoch first and then takes away what others
prepared (``sweep``, ``worker.events.detach``). What a former owner still does misses its place.

Knows no lock and no Redis.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from models.errors import CharloomError
from models.files import write_durably
from models.places import is_there, remove
from worker.records import Count, DamagedRecord, Records

NAME = "epoch.json"


class Fenced(CharloomError):
    """Another process has taken the job since: this one may not write any more."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The content of ``epoch.json``: the newest turn at a job, and the id of who has it."""

    epoch: Count
    owner: Annotated[str, Field(max_length=100)]
    ended: bool = False
    """Whether its owner gave the job up in good order; said only where no lock tells it."""

    def is_of(self, turn: "Fence") -> bool:
        return (self.epoch, self.owner) == (turn.epoch, turn.owner)


_TURNS = Records(Turn)


@dataclass(frozen=True, slots=True)
class Fence:
    """One turn at the job in a directory.

    Two that take a job in the same moment may draw the same number: then the last to begin has it.
    """

    directory: Path
    epoch: int
    owner: str

    def check(self) -> None:
        """Raises Fenced if there was a later turn. A file that is damaged or gone says nothing."""
        try:
            newest = _TURNS.read(self.directory / NAME)
        except DamagedRecord:
            return
        if newest and not newest.is_of(self):
            raise Fenced(
                f"{newest.owner} has taken over with epoch {newest.epoch}: "
                f"this process, with epoch {self.epoch}, writes nothing more"
            )

    def end(self) -> None:
        """Writes down that the turn has ended, unless there was a later one."""
        newest = _newest(self.directory)
        if newest and newest.is_of(self):
            _write(self.directory, Turn(self.epoch, self.owner, ended=True))


def is_open(directory: Path) -> bool:
    """Whether a turn began, and has not ended as far as is known."""
    newest = _newest(directory)
    return newest is not None and not newest.ended


def has_begun(directory: Path) -> bool:
    """Whether there was a turn: releases up to 0.1.0 knew none, and their processes heed none."""
    return is_there(directory / NAME)


def next_epoch(directory: Path) -> int:
    """The number of the turn after the newest."""
    try:
        newest = _TURNS.read(directory / NAME)
    except DamagedRecord:
        # One that nobody can have had.
        return int(time.time())
    return newest.epoch + 1 if newest else 1


def begin(directory: Path, epoch: int, owner: str) -> Fence:
    """Begins a turn; the caller has taken the job."""
    _write(directory, Turn(epoch, owner))
    return Fence(directory, epoch, owner)


def _write(directory: Path, turn: Turn) -> None:
    kept = asdict(turn) if turn.ended else {"epoch": turn.epoch, "owner": turn.owner}
    write_durably(directory / NAME, json.dumps(kept).encode())


def _newest(directory: Path) -> Turn | None:
    try:
        return _TURNS.read(directory / NAME)
    except DamagedRecord:
        return None


def sweep(directory: Path) -> None:
    """Takes away what former owners were about to put into place."""
    for staged in (*directory.glob(".*"), *(directory / "state").glob(".*")):
        remove(staged)

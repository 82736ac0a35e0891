"""A job's events on disk, one JSON object a line: the data of each kind, read and appended.

A line that is damaged hides only itself. Knows no job but its directory, and nothing of Redis.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NotRequired

from pydantic import with_config

# Not typing's: before Python 3.12 pydantic cannot check those.
from typing_extensions import TypedDict

from models.files import CheckpointError, open_file, write_durably
from models.json_lines import one_line
from models.places import is_there, set_aside
from worker.clock import timestamp
from worker.records import RECORD, Count, DamagedRecord, Number, Records

EndStatus = Literal["finished", "cancelled", "failed"]


@with_config(RECORD)
class ProgressData(TypedDict):
    """Of ``progress``. Losses in nats per character, times in seconds."""

    step: Count
    max_steps: Count
    epoch: Number
    train_loss: Number
    val_loss: Number | None
    best_val_loss: Number | None
    bpc: Number | None
    learning_rate: Number
    chars_per_second: Number
    elapsed_seconds: Number
    eta_seconds: Number


@with_config(RECORD)
class EvaluationData(TypedDict):
    """Of ``evaluation``; ``best`` if no earlier loss was lower."""

    step: Count
    val_loss: Number
    bpc: Number
    best: bool


@with_config(RECORD)
class SampleData(TypedDict):
    """Of ``sample``."""

    step: Count
    temperature: Number
    text: str
    style: NotRequired[str]


@with_config(RECORD)
class CheckpointData(TypedDict):
    """Of ``checkpoint``; ``model`` is ``name:tag``."""

    step: Count
    model: str
    digest: str
    val_loss: Number | None


@with_config(RECORD)
class NoticeData(TypedDict):
    """Of ``notice``; ``step`` is the one that diverged training went back to."""

    code: str
    text: str
    step: NotRequired[Count]


@with_config(RECORD)
class ErrorText(TypedDict):
    """Why a job failed or is paused, in words for clients that name no path."""

    title: str
    detail: str


@with_config(RECORD)
class EndData(TypedDict):
    """Of ``end``."""

    status: EndStatus
    error: ErrorText | None


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One thing that happened; ids increase over the job's whole life.

    ``data`` is what the file holds, which may have been written by another release. ``at`` is when
    it was written; None if a former release did, or if it came from Redis.
    """

    id: int
    event: str
    data: Mapping[str, Any]
    at: str | None = field(default=None, compare=False)


@with_config(RECORD)
class _EventLine(TypedDict):
    id: Count
    at: NotRequired[str]
    event: str
    data: dict[str, Any]


_LINES = Records(_EventLine)
_KINDS: dict[str, Records[Any]] = {
    # Parts may be missing: another release may not write them.
    "progress": Records(ProgressData, partial=True),
    "evaluation": Records(EvaluationData, partial=True),
    "sample": Records(SampleData, partial=True),
    "checkpoint": Records(CheckpointData, partial=True),
    "notice": Records(NoticeData, partial=True),
    "end": Records(EndData, partial=True),
}

_END_BYTES = 1 << 16


class EventTail:
    """Reads a job's events as they are written, each whole one once.

    A line that a crash tore is not an event: the next writer cuts it off.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "events.jsonl"
        self._offset = 0
        self._newest: JobEvent | None = None

    def read(self, end: EndData | None = None) -> list[JobEvent]:
        """The events since the last call.

        Args:
            end: of a job that has ended; it stands for the event where that is lost, since who
                follows a job waits for it.
        """
        try:
            with open_file(self.path) as file:
                file.seek(self._offset)
                data = file.read()
        except CheckpointError:
            data = b""
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        found = list(self._in_order(list(_events(whole))))
        newest = found[-1] if found else self._newest
        if end is not None and (newest is None or newest.event != "end"):
            newest = JobEvent(newest.id + 1 if newest else 1, "end", {**end})
            found.append(newest)
        self._newest = newest
        return found

    def _in_order(self, events: list[JobEvent]) -> Iterator[JobEvent]:
        """Leaves out events whose id is wrong: after it the right ones would look old."""
        last = self._newest.id if self._newest else 0
        for event, following in pairwise([*events, None]):
            assert event is not None
            is_early = event.id <= last
            is_late = following is not None and last < following.id <= event.id
            if not is_early and not is_late:
                last = event.id
                yield event

    @property
    def offset(self) -> int:
        """Bytes up to the end of the last whole event read."""
        return self._offset


def _events(lines: bytes) -> Iterator[JobEvent]:
    for line in lines.splitlines():
        try:
            record = _LINES.parse(line, "an event")
            event, data = record["event"], record["data"]
            if event in _KINDS:
                _KINDS[event].check(data, "an event")
        except DamagedRecord:
            # After a power cut a line may hold anything; the events around it still count.
            continue
        yield JobEvent(record["id"], event, data, record.get("at"))


def last_event(directory: Path) -> JobEvent | None:
    """A job's newest event, without reading the others; None if its line is not whole or long."""
    try:
        with open_file(directory / "events.jsonl") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _END_BYTES))
            data = file.read()
    except CheckpointError:
        return None
    lines = data.splitlines(keepends=True)
    return next(_events(lines[-1]), None) if lines and lines[-1].endswith(b"\n") else None


def detach(directory: Path) -> None:
    """Puts a copy in the place of a job's events: a former owner may have the old file open.

    Raises:
        OSError: the disk has no room for it; the events are unchanged.
    """
    path = directory / "events.jsonl"
    try:
        with open_file(path) as file:
            data = file.read()
    except CheckpointError:
        # There are none, or whoever appends sets aside what is in their place.
        return
    write_durably(path, data[: data.rfind(b"\n") + 1])


def _may() -> None:
    """Of a log that nobody is kept from."""


def _is_writable(path: Path) -> bool:
    is_plain = not path.is_symlink() and path.is_file()
    return is_plain and os.access(path, os.R_OK | os.W_OK)


class EventLog:
    """Appends events to a job; the caller holds the job's lock.

    Args:
        directory: the job's.
        check: raises an error if this process may not write any more (``worker.fence``).
    """

    def __init__(self, directory: Path, check: Callable[[], None] | None = None) -> None:
        self.path = directory / "events.jsonl"
        self._check = check or _may
        if is_there(self.path) and not _is_writable(self.path):
            set_aside(self.path)
        tail = EventTail(directory)
        self.last_id = max((event.id for event in tail.read()), default=0)
        self._end = tail.offset

    def append(self, event: str, data: Mapping[str, Any]) -> JobEvent:
        """Writes an event; an end is synced to disk.

        Raises:
            OSError: it cannot be written; the log is as it was.
        """
        at = timestamp()
        record = {"id": self.last_id + 1, "at": at, "event": event, "data": data}
        line = one_line(record).encode() + b"\n"
        with self.path.open("ab") as file:
            # Not before it is open: see worker.fence.
            self._check()
            if os.fstat(file.fileno()).st_size > self._end:
                # A crash or a full disk left a line incomplete.
                file.truncate(self._end)
            try:
                file.write(line)
                file.flush()
                if event == "end":
                    os.fsync(file.fileno())
            except BaseException:
                file.truncate(self._end)
                raise
        self._end += len(line)
        self.last_id += 1
        return JobEvent(self.last_id, event, data, at)

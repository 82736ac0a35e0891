"""A job's events on disk, one JSON object a line: the data of each kind, read and appended.

Knows no job but its directory, and nothing of Redis.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from models.json_lines import one_line

EndStatus = Literal["finished", "cancelled", "failed"]


class ProgressData(TypedDict):
    """Of ``progress``. Losses in nats per character, times in seconds."""

    step: int
    max_steps: int
    epoch: float
    train_loss: float
    val_loss: float | None
    best_val_loss: float | None
    bpc: float | None
    learning_rate: float
    chars_per_second: float
    elapsed_seconds: float
    eta_seconds: float


class EvaluationData(TypedDict):
    """Of ``evaluation``; ``best`` if no earlier loss was lower."""

    step: int
    val_loss: float
    bpc: float
    best: bool


class SampleData(TypedDict):
    """Of ``sample``."""

    step: int
    temperature: float
    text: str


class CheckpointData(TypedDict):
    """Of ``checkpoint``; ``model`` is ``name:tag``."""

    step: int
    model: str
    digest: str
    val_loss: float | None


class NoticeData(TypedDict):
    """Of ``notice``; ``step`` is the one that diverged training went back to."""

    code: str
    text: str
    step: NotRequired[int]


class ErrorText(TypedDict):
    """Why a job failed or is paused, in words for clients that name no path."""

    title: str
    detail: str


class EndData(TypedDict):
    """Of ``end``."""

    status: EndStatus
    error: ErrorText | None


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One thing that happened; ids increase over the job's whole life.

    ``data`` is what the file holds, which may have been written by another release.
    """

    id: int
    event: str
    data: Mapping[str, Any]


class EventTail:
    """Reads a job's events as they are written, each whole one once.

    A line that a crash tore is not an event: the next writer cuts it off.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "events.jsonl"
        self._offset = 0

    def read(self) -> list[JobEvent]:
        """The events since the last call."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return []
        with file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [event for line in whole.splitlines() if (event := _parse_event(line))]

    @property
    def offset(self) -> int:
        """Bytes up to the end of the last whole event read."""
        return self._offset


def _parse_event(line: bytes) -> JobEvent | None:
    try:
        record = json.loads(line)
        return JobEvent(record["id"], record["event"], record["data"])
    except (ValueError, KeyError, TypeError):
        # After a power cut a line may hold anything; the events around it still count.
        return None


class EventLog:
    """Appends events to a job; the caller holds the job's lock."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "events.jsonl"
        tail = EventTail(directory)
        self.last_id = max((event.id for event in tail.read()), default=0)
        self._end = tail.offset

    def _cut(self) -> None:
        """Removes a line that a crash or a full disk left incomplete."""
        if self.path.exists() and self.path.stat().st_size > self._end:
            os.truncate(self.path, self._end)

    def append(self, event: str, data: Mapping[str, Any]) -> JobEvent:
        """Writes an event; an end is synced to disk.

        Raises:
            OSError: it cannot be written; the log is as it was.
        """
        record = {"id": self.last_id + 1, "event": event, "data": data}
        line = one_line(record).encode() + b"\n"
        self._cut()
        try:
            with self.path.open("ab") as file:
                file.write(line)
                if event == "end":
                    file.flush()
                    os.fsync(file.fileno())
        except BaseException:
            self._cut()
            raise
        self._end += len(line)
        self.last_id += 1
        return JobEvent(self.last_id, event, data)

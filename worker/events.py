"""A job's events on disk."""

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; ids increase over the job's whole life."""

    id: int
    event: str
    data: dict[str, Any]


def timestamp() -> str:
    """Now, RFC 3339 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class EventTail:
    """Reads a job's events as they are written, each whole one once.

    A line that a crash tore is no event: the next writer cuts it off.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "events.jsonl"
        self._offset = 0

    def read(self) -> list[Event]:
        """What was written since the last call."""
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


def _parse_event(line: bytes) -> Event | None:
    try:
        record = json.loads(line)
        return Event(record["id"], record["event"], record["data"])
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
        self._cut()

    def _cut(self) -> None:
        if self.path.exists() and self.path.stat().st_size > self._end:
            os.truncate(self.path, self._end)

    def append(self, event: str, data: dict[str, Any], *, durable: bool = False) -> Event:
        """Raises OSError, with the log as it was, where it can't be written."""
        record = {"id": self.last_id + 1, "event": event, "data": data}
        line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        try:
            with self.path.open("ab") as file:
                file.write(line)
                if durable or event == "end":
                    file.flush()
                    os.fsync(file.fileno())
        except BaseException:
            self._cut()
            raise
        self._end += len(line)
        self.last_id += 1
        return Event(self.last_id, event, data)

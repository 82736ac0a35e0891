"""A job: one training run, whose directory ``worker.jobs`` describes.

Anyone may read it. Whoever writes holds its lock and has a turn at it (``worker.fence``), and tells
the storage, which makes true what is written. Knows no other job.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar

from models import locks
from models.files import is_disk_full, write_durably
from models.places import is_there, remove
from models.storage import ONE_DISK, Storage
from worker import fence
from worker.events import (
    EndData,
    EndStatus,
    ErrorText,
    EventLog,
    EventTail,
    JobEvent,
    ProgressData,
    detach,
)
from worker.job_errors import Ended, UnknownJob
from worker.job_files import (
    JobResult,
    JobSpec,
    NGramFigures,
    Running,
    read_result,
    read_running,
)

Written = TypeVar("Written")

Status = Literal["queued", "running", "paused", "cancelling", "finished", "cancelled", "failed"]

LOCK_PATIENCE = 2.0
"""Seconds that a worker waits for a lock: reading a status holds it for an instant."""
_CANCEL_PATIENCE = 0.2
"""The same for a client, who waits for the answer."""

RESERVE = 16 << 10
"""Bytes kept on disk until a job has ended, so that its end can be written on a full disk."""


class JobSummary(TypedDict):
    """A job as clients see it (docs/http-api.md); ``damaged`` says what is wrong with its files."""

    id: str
    model: str
    status: Status
    created_at: str
    started_at: str | None
    finished_at: str | None
    options: Mapping[str, Any]
    corpus_id: str
    device: str | None
    progress: ProgressData | None
    baseline: NGramFigures | None
    error: ErrorText | None
    damaged: list[str]
    links: Mapping[str, str]


class Job:
    """One training run. Anyone may read it; writing takes ``lock()``.

    ``spec_damage`` says what is wrong with ``spec.json``; its values are made up then.
    """

    def __init__(
        self,
        directory: Path,
        spec: JobSpec,
        spec_damage: str | None = None,
        storage: Storage = ONE_DISK,
    ) -> None:
        self.directory = directory
        self.spec = spec
        self.spec_damage = spec_damage
        self._storage = storage
        self._fence: fence.Fence | None = None

    @property
    def id(self) -> str:
        return self.directory.name

    @property
    def model(self) -> str:
        return self.spec["model"]

    @property
    def state_directory(self) -> Path:
        return self.directory / "state"

    @property
    def lock_file(self) -> Path:
        return self.directory / "lock"

    def result(self) -> JobResult | None:
        """The terminal state, once the job has ended."""
        return read_result(self.directory, self.spec_damage)[0]

    def end(self) -> EndData | None:
        """The data of the last event, once the job has ended."""
        result = self.result()
        return {"status": result["status"], "error": result["error"]} if result else None

    def running(self) -> Running:
        """The values of the last ``set_running``; empty before the job started."""
        return read_running(self.directory)[0]

    def status(self) -> Status:
        return self._status(self.result(), self.running())

    def _status(self, result: JobResult | None, running: Running) -> Status:
        if result is not None:
            return result["status"]
        if self.cancel_requested():
            return "cancelling"
        if running.get("paused"):
            return "paused"
        return "running" if self.is_locked() else "queued"

    def view(self) -> JobSummary:
        running, running_damage = read_running(self.directory)
        result, damage = read_result(self.directory, self.spec_damage)
        own = f"/jobs/{self.id}"
        return {
            "id": self.id,
            "model": self.model,
            "status": self._status(result, running),
            "created_at": self.spec["created_at"],
            "started_at": running.get("started_at"),
            "finished_at": result.get("finished_at") if result else None,
            "options": running.get("options") or self.spec["options"],
            "corpus_id": self.spec["corpus_id"],
            "device": running.get("device"),
            "progress": running.get("progress"),
            "baseline": running.get("baseline"),
            "error": result["error"] if result else running.get("paused"),
            "damaged": [one for one in (damage, running_damage) if one],
            "links": {
                "self": own,
                "events": f"{own}/events",
                "cancel": f"{own}/cancel",
                "model": f"/models/{self.model}",
            },
        }

    @contextmanager
    def lock(self, patience: float = LOCK_PATIENCE) -> Iterator[bool]:
        """Holds the job's lock during the block; False if another process has it."""
        with locks.held(self.lock_file, patience) as descriptor:
            yield descriptor is not None

    def is_locked(self) -> bool:
        """Whether a process works on it right now, on any host.

        A lock tells at once that its process has died. Where hosts share none, a job counts as
        worked on until its turn has ended, or another takes it over.
        """
        return locks.is_held(self.lock_file) or self.is_taken_elsewhere()

    def is_taken_elsewhere(self, *, is_needed: bool = False) -> bool:
        """Whether a process has it on a host whose locks are not seen here.

        Raises:
            StorageAway: it ``is_needed``, and cannot be known.
        """
        if self._storage.shares_locks:
            return False
        self.refresh(is_needed=is_needed)
        return fence.is_open(self.directory)

    def refresh(self, *, is_needed: bool = False) -> None:
        """Brings what other hosts wrote; raises StorageAway where that ``is_needed``."""
        self._storage.refresh(self.directory, is_needed=is_needed)

    def on(self, storage: Storage) -> "Job":
        """The same job and turn, with another storage."""
        same = Job(self.directory, self.spec, self.spec_damage, storage)
        same._fence = self._fence
        return same

    def events_here(self) -> AbstractContextManager[None]:
        """Brings its events, as far as they are written, for the block."""
        return self._storage.using(self.directory / "events.jsonl")

    def states_here(self) -> AbstractContextManager[None]:
        """Brings the states to resume from, for the block."""
        return self._storage.using(self.state_directory)

    def begin_turn(self, epoch: int, owner: str, *, is_forced: bool = True) -> None:
        """Fences off all earlier owners; the caller has taken the job (``worker.ownership``).

        Args:
            epoch: the number of the turn.
            owner: whose it is.
            is_forced: an earlier owner may live. Else the lock says that it died, and a disk that
                is too full for a copy of the events need not keep the job from its end.
        """
        with self.events_here():
            self._fence = self._storage.change(
                self.directory, lambda: self._begin_turn(epoch, owner, is_forced)
            )

    def _begin_turn(self, epoch: int, owner: str, is_forced: bool) -> fence.Fence:
        begun = self._with_room(lambda: fence.begin(self.directory, epoch, owner))
        fence.sweep(self.directory)
        try:
            detach(self.directory)
        except OSError as error:
            if is_forced or not is_disk_full(error):
                raise
        return begun

    def end_turn(self) -> None:
        """Gives the job up in good order, where no lock tells it."""
        turn = self._fence
        if turn and not self._storage.shares_locks:
            self._storage.change(self.directory, turn.end)

    def join_turn(self, epoch: int, owner: str) -> None:
        """Makes this process share the turn of another, which started it."""
        self._fence = fence.Fence(self.directory, epoch, owner)

    def heeds_fence(self) -> bool:
        """Whether who holds the lock looks for later turns.

        A process of a former release does not: what it works on is never taken from it.
        """
        return fence.has_begun(self.directory)

    def check(self) -> None:
        """Raises Fenced if another process has taken the job since."""
        if self._fence:
            self._fence.check()

    @property
    def turn(self) -> str:
        """This process's turn, in names of files that no other writes; 0 without one."""
        return f"{self._fence.epoch}-{self._fence.owner}" if self._fence else "0"

    def event_log(self) -> EventLog:
        """The log for who has the job."""
        return EventLog(self.directory, self.check)

    def write(self, name: str, data: bytes) -> None:
        """Replaces one of its files, unless another process has taken the job."""
        path = self.directory / name
        self._storage.change(self.directory, lambda: write_durably(path, data, check=self.check))

    def cancel_requested(self) -> bool:
        return is_there(self.directory / "cancel")

    def request_cancel(self) -> JobEvent | None:
        """Asks the worker to stop. A job without one ends here and now.

        Where the disk is too full to write the end, it is only asked for: the reconciler writes it.

        Returns:
            The ``end`` event if it ended here.

        Raises:
            Ended: it has ended already.
            UnknownJob: it has been deleted.
        """
        with self.events_here():
            return self._storage.change(self.directory, self._cancel)

    def _cancel(self) -> JobEvent | None:
        # A process may work on it whose spec was damaged meanwhile.
        if self.result() is not None and not (self.spec_damage and self.is_locked()):
            raise Ended("the job has ended already")
        try:
            self._with_room(lambda: (self.directory / "cancel").touch())
            with self.lock(_CANCEL_PATIENCE) as held:
                if held and self.result() is None and not self.is_taken_elsewhere():
                    self._with_room(self._end_turns)
                    return self._finish("cancelled", None)
        except FileNotFoundError:
            raise UnknownJob(self.id) from None
        except OSError as error:
            if not is_disk_full(error) or not self.cancel_requested():
                raise
        return None

    def _end_turns(self) -> None:
        self._fence = fence.begin(self.directory, fence.next_epoch(self.directory), "a client")
        if not self._storage.shares_locks:
            self._fence.end()

    def finish(self, status: EndStatus, error: ErrorText | None = None) -> JobEvent:
        """Writes the terminal state, on a full disk too; the caller holds the lock."""
        with self.events_here():
            return self._storage.change(self.directory, lambda: self._finish(status, error))

    def _finish(self, status: EndStatus, error: ErrorText | None) -> JobEvent:
        end: EndData = {"status": status, "error": error}
        event = self._with_room(lambda: self.event_log().append("end", end))
        result: JobResult = {"status": status, "error": error, "finished_at": event.at}
        path, data = self.directory / "result.json", json.dumps(result).encode()
        self._with_room(lambda: write_durably(path, data, check=self.check))
        remove(self.directory / "reserve")
        return event

    def tell(self, event: str, data: Mapping[str, Any]) -> JobEvent:
        """Appends an event; the caller holds the lock."""
        with self.events_here():
            return self._storage.change(
                self.directory, lambda: self.event_log().append(event, data)
            )

    def _with_room(self, write: Callable[[], Written]) -> Written:
        """Writes; on a full disk once more, in the place of the reserve."""
        try:
            return write()
        except OSError as error:
            if not is_disk_full(error):
                raise
            remove(self.directory / "reserve")
            return write()

    def set_running(self, values: Running) -> None:
        """Replaces ``running()``. Not synced: after a power cut it may be older."""
        self._storage.change(self.directory, lambda: self._set_running(values))

    def _set_running(self, values: Running) -> None:
        staged = self.directory / f".running.{self.turn}.json"
        try:
            staged.write_text(json.dumps(values, allow_nan=False))
            self.check()
            staged.replace(self.directory / "running.json")
        finally:
            staged.unlink(missing_ok=True)

    def events(self, after: int = 0) -> list[JobEvent]:
        """Events with a greater id. An ``end`` that a resume followed is left out."""
        end = self.end()
        with self.events_here():
            read = EventTail(self.directory).read(end)
        found = [event for event in read if event.id > after]
        last = found[-1] if found and end else None
        return [event for event in found if event.event != "end" or event is last]


def reserve(directory: Path) -> None:
    """Takes the room for a job's end, in bytes that no file system stores in less."""
    (directory / "reserve").write_bytes(os.urandom(RESERVE))

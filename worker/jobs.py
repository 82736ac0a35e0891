"""Jobs on disk: the truth about every training run.

A job is a directory ``<root>/<id>/``:

    spec.json      what was asked: written whole and synced before the job exists
    plan.json      every value decided, from before step 1: a resume goes by it
    baseline.json  the n-gram model that it is compared with, once counted
    running.json   how far it is: options as resolved, device, last progress
    events.jsonl   every event, one a line, with increasing ids
    state/         the trainer's last two generations
    attempts.json  how often it died without getting further
    cancel         there once somebody asked to stop
    result.json    the terminal state; what has one never changes by itself
    lock           held (flock) by whoever works on it: the kernel says who, not a clock

Knows no Redis, no torch and no HTTP.
"""

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from models.errors import Conflict, NotFound
from models.files import sync_directory, write_durably
from worker.events import Event, EventLog, EventTail, timestamp

Status = Literal["queued", "running", "paused", "cancelling", "finished", "cancelled", "failed"]
ENDED: tuple[Status, ...] = ("finished", "cancelled", "failed")

JOB_ID = re.compile(r"[0-9a-f]{22}", re.ASCII)
_LOCK_PATIENCE = 2.0
"""Seconds that a worker waits for a lock: whoever reads a status holds it for an instant."""
_CANCEL_PATIENCE = 0.2
"""The same for a client, who waits for the answer."""


class UnknownJob(NotFound):
    """No such job."""

    code = "unknown_job"


class NameTaken(Conflict):
    """A job of that model name is not finished; ``job_id`` names it."""

    code = "name_taken"

    def __init__(self, model: str, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"job {job_id} is still training {model}: cancel it or wait for its end")


class Ended(Conflict):
    """The job has ended already."""

    code = "job_ended"


class NotEnded(Conflict):
    """The job has not ended yet."""

    code = "job_not_ended"


class JobStore:
    """The jobs below one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / ".keys").mkdir(parents=True, exist_ok=True)

    def create(
        self, model: str, corpus_id: str, options: dict[str, Any], idempotency_key: str | None
    ) -> tuple["Job", bool]:
        """A durable job, and whether it is new: a known key gives the first job again.

        Raises:
            NameTaken: an unfinished job has that model name.
        """
        with self._creating():
            key_file = self._key_file(idempotency_key) if idempotency_key else None
            if key_file and (earlier := self._keyed(key_file)):
                return earlier, False
            for job in self.unended():
                if job.model == model:
                    raise NameTaken(model, job.id)
            job_id = f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(5)}"
            if key_file:
                # Before the job: a key that names no job is ignored, a job whose key was lost
                # would be made twice.
                write_durably(key_file, job_id.encode())
            spec = {
                "id": job_id,
                "model": model,
                "corpus_id": corpus_id,
                "options": options,
                "created_at": timestamp(),
            }
            staged = self.root / f".stage-{job_id}"
            staged.mkdir()
            write_durably(staged / "spec.json", json.dumps(spec).encode())
            staged.rename(self.root / job_id)
            sync_directory(self.root)
        return self.get(job_id), True

    @contextmanager
    def _creating(self) -> Iterator[None]:
        with (self.root / ".create").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _key_file(self, key: str) -> Path:
        return self.root / ".keys" / hashlib.sha256(key.encode()).hexdigest()

    def _keyed(self, key_file: Path) -> "Job | None":
        try:
            return self.get(key_file.read_text("ascii"))
        except (FileNotFoundError, UnknownJob):
            return None

    def get(self, job_id: str) -> "Job":
        """Raises UnknownJob."""
        if not JOB_ID.fullmatch(job_id):
            raise UnknownJob(job_id)
        try:
            spec = json.loads((self.root / job_id / "spec.json").read_bytes())
        except FileNotFoundError:
            raise UnknownJob(job_id) from None
        return Job(self.root / job_id, spec)

    def ids(self) -> list[str]:
        """Every job's id, newest first."""
        found = (p.name for p in self.root.iterdir() if JOB_ID.fullmatch(p.name))
        return sorted(found, reverse=True)

    def unended(self) -> Iterator["Job"]:
        """Jobs without a terminal state, oldest first."""
        for job_id in reversed(self.ids()):
            if not (self.root / job_id / "result.json").exists():
                try:
                    yield self.get(job_id)
                except UnknownJob:
                    continue

    def delete(self, job_id: str) -> None:
        """Removes an ended job and its resume state.

        Raises:
            UnknownJob: there is none.
            NotEnded: it has not ended.
        """
        with self._creating():
            job = self.get(job_id)
            if job.result() is None:
                raise NotEnded("the job has not ended: cancel it first")
            doomed = self.root / f".gone-{job_id}"
            job.directory.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def resume(self, job_id: str, raised: dict[str, Any]) -> "Job":
        """Lets an ended job go on from its last state; ``raised`` options replace the asked ones.

        Raises:
            UnknownJob: there is none.
            NotEnded: it has not ended.
            NameTaken: another unfinished job has its model's name.
        """
        with self._creating():
            job = self.get(job_id)
            if job.result() is None:
                raise NotEnded("the job has not ended: it needs no resume")
            for other in self.unended():
                if other.model == job.model:
                    raise NameTaken(job.model, other.id)
            if raised:
                spec = job.spec | {"options": job.spec["options"] | raised}
                write_durably(job.directory / "spec.json", json.dumps(spec).encode())
            for name in ("cancel", "attempts.json"):
                (job.directory / name).unlink(missing_ok=True)
            # The ended state goes last: until then it has ended, from then on it is unended.
            (job.directory / "result.json").unlink()
            sync_directory(job.directory)
        return self.get(job_id)


class Job:
    """One training run. Reading is open to all; who writes holds ``lock()``."""

    def __init__(self, directory: Path, spec: dict[str, Any]) -> None:
        self.directory = directory
        self.spec = spec

    @property
    def id(self) -> str:
        return self.directory.name

    @property
    def model(self) -> str:
        return str(self.spec["model"])

    @property
    def state_directory(self) -> Path:
        return self.directory / "state"

    def result(self) -> dict[str, Any] | None:
        """``{"status", "error", "finished_at"}`` once ended."""
        return self._read("result.json")

    def running(self) -> dict[str, Any]:
        """What the worker last wrote with ``set_running``; empty before it started."""
        try:
            return self._read("running.json") or {}
        except ValueError:
            # It is not synced, and a power cut may have left anything.
            return {}

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            value: dict[str, Any] = json.loads((self.directory / name).read_bytes())
        except FileNotFoundError:
            return None
        return value

    def status(self) -> Status:
        result = self.result()
        if result is not None:
            status: Status = result["status"]
            return status
        if self.cancel_requested():
            return "cancelling"
        if self.running().get("paused"):
            return "paused"
        return "running" if self.is_locked() else "queued"

    def view(self) -> dict[str, Any]:
        """The job as clients see it (docs/http-api.md)."""
        running = self.running()
        result = self.result() or {}
        own = f"/jobs/{self.id}"
        return {
            "id": self.id,
            "model": self.model,
            "status": self.status(),
            "created_at": self.spec["created_at"],
            "started_at": running.get("started_at"),
            "finished_at": result.get("finished_at"),
            "options": running.get("options") or self.spec["options"],
            "corpus_id": self.spec["corpus_id"],
            "device": running.get("device"),
            "progress": running.get("progress"),
            "baseline": running.get("baseline"),
            "error": result.get("error") or running.get("paused"),
            "links": {
                "self": own,
                "events": f"{own}/events",
                "cancel": f"{own}/cancel",
                "model": f"/models/{self.model}",
            },
        }

    @contextmanager
    def lock(self, patience: float = _LOCK_PATIENCE) -> Iterator[bool]:
        """Holds the job's lock for the block; False if somebody else has it."""
        with self.lock_file(patience) as descriptor:
            yield descriptor is not None

    @contextmanager
    def lock_file(self, patience: float = _LOCK_PATIENCE) -> Iterator[int | None]:
        """As ``lock``, and gives the descriptor that holds it.

        A process that inherits the descriptor holds the lock too, also after the block.
        """
        with (self.directory / "lock").open("a") as file:
            yield file.fileno() if _try_lock(file.fileno(), patience) else None

    def is_lock_file(self, descriptor: int) -> bool:
        """Whether a descriptor is of this job's lock."""
        try:
            return os.path.samestat(os.fstat(descriptor), (self.directory / "lock").stat())
        except OSError:
            return False

    def is_locked(self) -> bool:
        """Whether somebody works on it right now, on any host that shares the disk."""
        try:
            file = (self.directory / "lock").open("rb")
        except FileNotFoundError:
            return False
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def cancel_requested(self) -> bool:
        return (self.directory / "cancel").exists()

    def request_cancel(self) -> "Event | None":
        """Asks for an end. A job nobody works on ends here and now, with the event returned.

        Raises:
            Ended: it has ended already.
        """
        if self.result() is not None:
            raise Ended("the job has ended already")
        (self.directory / "cancel").touch()
        with self.lock(_CANCEL_PATIENCE) as held:
            if held and self.result() is None:
                return self.finish("cancelled")
        return None

    def finish(self, status: Status, error: dict[str, str] | None = None) -> Event:
        """Writes the terminal state; the lock is held by the caller."""
        event = EventLog(self.directory).append("end", {"status": status, "error": error})
        result = {"status": status, "error": error, "finished_at": timestamp()}
        write_durably(self.directory / "result.json", json.dumps(result).encode())
        return event

    def set_running(self, values: dict[str, Any]) -> None:
        """Replaces what ``running()`` gives. Not synced: after a power cut it may be older."""
        staged = self.directory / ".running.json"
        staged.write_text(json.dumps(values, allow_nan=False))
        staged.replace(self.directory / "running.json")

    def events(self, after: int = 0) -> list[Event]:
        """Events with a greater id. An ``end`` that a resume followed is left out."""
        ended = self.result() is not None
        found = [event for event in EventTail(self.directory).read() if event.id > after]
        last = found[-1] if found and ended else None
        return [event for event in found if event.event != "end" or event is last]


def _try_lock(descriptor: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        else:
            return True

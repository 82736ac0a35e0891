"""Jobs on disk: the truth about every training run.

A job is a directory ``<root>/<id>/``:

    spec.json      what was asked for: written whole and synced before the job exists
    plan.json      every value decided, from before step 1: a resumed job follows it
    baseline.json  the n-gram model that it is compared with, once counted
    running.json   its progress: options as resolved, device, last progress event
    events.jsonl   every event, one a line, with increasing ids
    state/         the trainer's last two generations
    attempts.json  how often it was attempted without further progress
    reserve        room on the disk for its end; gone once it has ended
    cancel         present once a client asked to cancel
    result.json    the terminal state; a job that has one never changes by itself
    resumed        the id of the last event before the newest resume
    lock           held (flock) by the process that works on it: the kernel says so, not a clock
    epoch.json     the number of the newest turn at it, and whose that is: others may not write

Any of them may be damaged (``worker.job_files``). Knows no Redis, no torch and no HTTP.
"""

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar

from models.files import is_disk_full, sync_directory, write_durably
from models.places import (
    is_there,
    locked,
    make_directory,
    names_in,
    remove,
    tell_once,
)
from worker import fence, locks
from worker.clock import timestamp
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
from worker.job_errors import Ended, JobDamaged, NameTaken, NotEnded, UnknownJob
from worker.job_files import (
    JobResult,
    JobSpec,
    NGramFigures,
    Running,
    lost_spec,
    note_resume,
    read_result,
    read_running,
    read_spec,
)

Written = TypeVar("Written")

Admit = Callable[[], str]
"""Says whose a new job is, or raises; no other job is made meanwhile. Empty is nobody's."""

Status = Literal["queued", "running", "paused", "cancelling", "finished", "cancelled", "failed"]

JOB_ID = re.compile(r"[0-9a-f]{22}", re.ASCII)
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


class JobStore:
    """The jobs below one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        make_directory(root)
        make_directory(root / ".keys")

    def create(
        self,
        model: str,
        corpus_id: str,
        options: Mapping[str, Any],
        idempotency_key: str | None,
        admit: Admit = str,
    ) -> tuple["Job", bool]:
        """Makes a durable job, unless ``admit`` raises.

        Returns:
            The job, and whether it is new: a known key gives the first job again.

        Raises:
            NameTaken: an unfinished job has that model name.
        """
        with self._creating():
            key_file = self._key_file(idempotency_key) if idempotency_key else None
            if key_file and (earlier := self._keyed(key_file)):
                return earlier, False
            self.check_name(model)
            owner = admit()
            job_id = f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(5)}"
            if key_file:
                # Before the job: a key that names no job is ignored, but a job whose key was
                # lost would be made twice.
                write_durably(key_file, job_id.encode())
            spec: JobSpec = {
                "id": job_id,
                "model": model,
                "corpus_id": corpus_id,
                "options": options,
                "owner": owner,
                "created_at": timestamp(),
            }
            staged = self.root / f".stage-{job_id}"
            staged.mkdir()
            write_durably(staged / "spec.json", json.dumps(spec).encode())
            reserve(staged)
            staged.rename(self.root / job_id)
            sync_directory(self.root)
        return self.get(job_id), True

    def check_name(self, model: str) -> None:
        """Raises NameTaken: an unended job is to publish under the name."""
        for job in self.unended():
            if job.model == model:
                raise NameTaken(model, job.id)

    def needing(self, corpus_id: str) -> str | None:
        """The id of a job that needs a corpus, or may: one that has no end and no spec."""
        for job_id in reversed(self.ids()):
            if is_there(self.root / job_id / "result.json"):
                continue
            with suppress(UnknownJob):
                job = self.get(job_id)
                if job.spec_damage or (job.spec["corpus_id"] == corpus_id and not job.result()):
                    return job_id
        return None

    def _creating(self) -> AbstractContextManager[None]:
        return locked(self.root / ".create")

    def _key_file(self, key: str) -> Path:
        return self.root / ".keys" / hashlib.sha256(key.encode()).hexdigest()

    def _keyed(self, key_file: Path) -> "Job | None":
        try:
            job = self.get(key_file.read_text("ascii"))
        except (OSError, UnicodeDecodeError, UnknownJob):
            return None
        return None if job.spec_damage else job

    def get(self, job_id: str) -> "Job":
        """Raises UnknownJob."""
        directory = self.root / job_id
        if not JOB_ID.fullmatch(job_id) or not is_there(directory):
            raise UnknownJob(job_id)
        spec, damage = read_spec(directory)
        if spec is not None:
            return Job(directory, spec)
        if not is_there(directory):
            # It was deleted meanwhile.
            raise UnknownJob(job_id)
        tell_once(f"job {job_id} is damaged: {damage}; it can be deleted as ended ones are")
        return Job(directory, lost_spec(directory), damage)

    def ids(self) -> list[str]:
        """Every job's id, newest first."""
        return sorted(filter(JOB_ID.fullmatch, names_in(self.root)), reverse=True)

    def unended(self) -> Iterator["Job"]:
        """Jobs without a terminal state, oldest first."""
        for job_id in reversed(self.ids()):
            # First what is quick: most jobs have one.
            if not is_there(self.root / job_id / "result.json"):
                with suppress(UnknownJob):
                    job = self.get(job_id)
                    if job.result() is None:
                        yield job

    def delete(self, job_id: str) -> None:
        """Removes an ended job and its resume state.

        Raises:
            UnknownJob: there is none.
            NotEnded: it has not ended.
        """
        with self._creating():
            job = self.get(job_id)
            if job.result() is None or (job.spec_damage and job.is_locked()):
                raise NotEnded("the job has not ended: cancel it first")
            doomed = self.root / f".gone-{job_id}"
            remove(doomed)
            job.directory.rename(doomed)
        remove(doomed)

    def sweep(self) -> None:
        """Removes what killed processes left half made or half deleted."""
        with self._creating():
            # Whoever stages holds the lock.
            left = [*self.root.glob(".stage-*"), *(self.root / ".keys").glob(".*")]
        for path in (*left, *self.root.glob(".gone-*")):
            remove(path)

    def resume(self, job_id: str, raised: Mapping[str, Any], admit: Admit = str) -> "Job":
        """Makes an ended job continue from its last state, unless ``admit`` raises.

        Args:
            job_id: the job.
            raised: options that replace those in the spec.

        Raises:
            UnknownJob: there is none.
            NotEnded: it has not ended.
            NameTaken: another unfinished job has its model's name.
            JobDamaged: its spec cannot be read.
        """
        with self._creating():
            job = self.get(job_id)
            if job.spec_damage:
                raise JobDamaged(job.spec_damage)
            if job.result() is None:
                raise NotEnded("the job has not ended: it needs no resume")
            self.check_name(job.model)
            admit()
            reserve(job.directory)
            if raised:
                spec = JobSpec(**job.spec)
                spec.setdefault("asked", spec["options"])
                spec["options"] = {**spec["options"], **raised}
                write_durably(job.directory / "spec.json", json.dumps(spec).encode())
            for name in ("cancel", "attempts.json"):
                remove(job.directory / name)
            note_resume(job.directory)
            # The result goes last: until then the job has ended, from then on it has not.
            remove(job.directory / "result.json")
            sync_directory(job.directory)
        return self.get(job_id)


class Job:
    """One training run. Anyone may read it; writing takes ``lock()``.

    ``spec_damage`` says what is wrong with ``spec.json``; its values are made up then.
    """

    def __init__(self, directory: Path, spec: JobSpec, spec_damage: str | None = None) -> None:
        self.directory = directory
        self.spec = spec
        self.spec_damage = spec_damage
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
        """Whether a process works on it right now, on any host that shares the disk."""
        return locks.is_held(self.lock_file)

    def begin_turn(self, epoch: int, owner: str, *, is_forced: bool = True) -> None:
        """Fences off all earlier owners; the caller has taken the job (``worker.ownership``).

        Args:
            epoch: the number of the turn.
            owner: whose it is.
            is_forced: an earlier owner may live. Else the lock says that it died, and a disk that
                is too full for a copy of the events need not keep the job from its end.
        """
        self._fence = self._with_room(lambda: fence.begin(self.directory, epoch, owner))
        fence.sweep(self.directory)
        try:
            detach(self.directory)
        except OSError as error:
            if is_forced or not is_disk_full(error):
                raise

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
        write_durably(self.directory / name, data, check=self.check)

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
        # A process may work on it whose spec was damaged meanwhile.
        if self.result() is not None and not (self.spec_damage and self.is_locked()):
            raise Ended("the job has ended already")
        try:
            self._with_room(lambda: (self.directory / "cancel").touch())
            with self.lock(_CANCEL_PATIENCE) as held:
                if held and self.result() is None:
                    self._with_room(self._end_turns)
                    return self.finish("cancelled")
        except FileNotFoundError:
            raise UnknownJob(self.id) from None
        except OSError as error:
            if not is_disk_full(error) or not self.cancel_requested():
                raise
        return None

    def _end_turns(self) -> None:
        self._fence = fence.begin(self.directory, fence.next_epoch(self.directory), "a client")

    def finish(self, status: EndStatus, error: ErrorText | None = None) -> JobEvent:
        """Writes the terminal state, on a full disk too; the caller holds the lock."""
        end: EndData = {"status": status, "error": error}
        event = self._with_room(lambda: self.event_log().append("end", end))
        result: JobResult = {"status": status, "error": error, "finished_at": event.at}
        data = json.dumps(result).encode()
        self._with_room(lambda: self.write("result.json", data))
        remove(self.directory / "reserve")
        return event

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
        found = [event for event in EventTail(self.directory).read(end) if event.id > after]
        last = found[-1] if found and end else None
        return [event for event in found if event.event != "end" or event is last]


def reserve(directory: Path) -> None:
    """Takes the room for a job's end, in bytes that no file system stores in less."""
    (directory / "reserve").write_bytes(os.urandom(RESERVE))

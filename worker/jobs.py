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
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from models.errors import NotFound
from models.files import sync_directory, write_durably
from models.locks import locked
from models.places import is_there, make_directory, names_in, remove, tell_once
from models.storage import ONE_DISK, Storage
from worker.clock import timestamp
from worker.job import LOCK_PATIENCE as LOCK_PATIENCE
from worker.job import RESERVE as RESERVE
from worker.job import Job as Job
from worker.job import Status as Status
from worker.job import reserve as reserve
from worker.job_errors import JobDamaged, NameTaken, NotEnded, UnknownJob
from worker.job_files import SPECS, JobSpec, lost_spec, note_resume, read_spec
from worker.records import DamagedRecord

Admit = Callable[[], str]
"""Says whose a new job is, or raises; no other job is made meanwhile. Empty is nobody's."""

JOB_ID = re.compile(r"[0-9a-f]{22}", re.ASCII)


class JobStore:
    """The jobs below one directory."""

    def __init__(self, root: Path, storage: Storage = ONE_DISK) -> None:
        self.root = root
        self._storage = storage
        make_directory(root)
        make_directory(root / ".keys")

    def create(
        self,
        model: str,
        corpus_id: str,
        options: Mapping[str, Any],
        idempotency_key: str | None,
        admit: Admit = str,
    ) -> tuple[Job, bool]:
        """Makes a durable job, unless ``admit`` raises.

        Returns:
            The job, and whether it is new: a known key gives the first job again.

        Raises:
            NameTaken: an unfinished job has that model name.
        """
        with self._creating():
            key_file = self._key_file(idempotency_key) if idempotency_key else None
            if key_file:
                self._storage.refresh(key_file, is_needed=True)
                if earlier := self._keyed(key_file):
                    return earlier, False
            self.check_name(model)
            job_id = f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(5)}"
            spec: JobSpec = {
                "id": job_id,
                "model": model,
                "corpus_id": corpus_id,
                "options": options,
                "owner": admit(),
                "created_at": timestamp(),
            }
            if key_file:
                spec["key"] = key_file.name
            try:
                self._claim_name(spec)
            except NameTaken:
                # By the same request, perhaps, on another host.
                if key_file and (earlier := self._keyed(key_file)):
                    return earlier, False
                raise
            job = self._made(spec)
        return job, job.id == job_id

    def _made(self, spec: JobSpec) -> Job:
        """Makes a job that has claimed its name, unless it is there or its key is another job's.

        Returns:
            The job that there is.
        """
        job_id, key = spec["id"], spec.get("key")
        if key:
            # Before the job: a key that names no job is ignored, but a job whose key was lost would
            # be made twice.
            file = self.root / ".keys" / key
            earlier = self._storage.change(file, lambda: self._claim_key(file, job_id))
            if earlier:
                return earlier

        def make() -> None:
            if is_there(self.root / job_id):
                return
            staged = self.root / f".stage-{job_id}"
            staged.mkdir(exist_ok=True)
            write_durably(staged / "spec.json", json.dumps(spec).encode())
            reserve(staged)
            staged.rename(self.root / job_id)
            sync_directory(self.root)

        self._storage.change(self.root / job_id, make)
        return self.get(job_id)

    def _claim_name(self, spec: JobSpec) -> None:
        """Makes a name the job's, before it is there, so that no other host gives it away.

        Who finds the name of a job that is not there yet makes that job: its maker may be dead.

        Raises:
            NameTaken: another unended job has it.
        """
        file = self.root / ".names" / spec["model"]

        def claim() -> None:
            with suppress(DamagedRecord):
                other = SPECS.read(file)
                if other and other["id"] != spec["id"] and self._is_unended(other):
                    raise NameTaken(spec["model"], other["id"])
            make_directory(file.parent)
            write_durably(file, json.dumps(spec).encode())

        self._storage.exclude(file, claim)

    def _is_unended(self, spec: JobSpec) -> bool:
        """Whether a job that has claimed a name is unended; makes it if it is not there yet."""
        with suppress(NotFound):
            job = self._made(spec)
            return job.id == spec["id"] and job.result() is None
        return False

    def _claim_key(self, key_file: Path, job_id: str) -> Job | None:
        """Makes an idempotency key the job's; returns the earlier job if it has one."""
        if earlier := self._keyed(key_file):
            return earlier
        write_durably(key_file, job_id.encode())
        return None

    def check_name(self, model: str) -> None:
        """Raises NameTaken: an unended job is to publish under the name."""
        self._storage.refresh(self.root, is_needed=True)
        for job in self.unended():
            if job.model == model:
                raise NameTaken(model, job.id)

    def rename_model(self, name: str, new: str) -> None:
        """Lets the ended jobs of a model follow it to its new name, so that a resume trains it."""
        with self._creating():
            for job_id in self.ids():
                rename = partial(self._rename_model, job_id, name, new)
                with suppress(UnknownJob):
                    if self.get(job_id).model == name:
                        self._storage.change(self.root / job_id, rename)

    def _rename_model(self, job_id: str, name: str, new: str) -> None:
        job = self.get(job_id)
        # One that is being trained publishes under the name that it was given.
        if job.model == name and not job.spec_damage and job.result() is not None:
            spec = JobSpec(**job.spec)
            spec["model"] = new
            write_durably(job.directory / "spec.json", json.dumps(spec).encode())

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

    def _creating(self) -> AbstractContextManager[Callable[[], None]]:
        return locked(self.root / ".create")

    def _key_file(self, key: str) -> Path:
        return self.root / ".keys" / hashlib.sha256(key.encode()).hexdigest()

    def _keyed(self, key_file: Path) -> Job | None:
        try:
            job = self.get(key_file.read_text("ascii"))
        except (OSError, UnicodeDecodeError, UnknownJob):
            return None
        return None if job.spec_damage else job

    def get(self, job_id: str) -> Job:
        """Raises UnknownJob."""
        directory = self.root / job_id
        if not JOB_ID.fullmatch(job_id):
            raise UnknownJob(job_id)
        self._storage.refresh(directory)
        if not is_there(directory):
            # Another host may have made it a moment ago.
            self._storage.refresh(directory, is_needed=True)
        if not is_there(directory):
            raise UnknownJob(job_id)
        spec, damage = read_spec(directory)
        if spec is not None:
            return Job(directory, spec, storage=self._storage)
        if not is_there(directory):
            # It was deleted meanwhile.
            raise UnknownJob(job_id)
        tell_once(f"job {job_id} is damaged: {damage}; it can be deleted as ended ones are")
        return Job(directory, lost_spec(directory), damage, self._storage)

    def ids(self) -> list[str]:
        """Every job's id, newest first."""
        self._storage.refresh(self.root)
        return sorted(filter(JOB_ID.fullmatch, names_in(self.root)), reverse=True)

    def unended(self) -> Iterator[Job]:
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
        doomed = self.root / f".gone-{job_id}"

        def delete() -> None:
            job = self.get(job_id)
            if job.result() is None or (job.spec_damage and job.is_locked()):
                raise NotEnded("the job has not ended: cancel it first")
            remove(doomed)
            job.directory.rename(doomed)

        with self._creating():
            self._storage.change(self.root / job_id, delete)
        remove(doomed)

    def sweep(self) -> None:
        """Removes what killed processes left half made or half deleted."""
        with self._creating():
            # Whoever stages holds the lock.
            left = [*self.root.glob(".stage-*"), *(self.root / ".keys").glob(".*")]
        for path in (*left, *self.root.glob(".gone-*")):
            remove(path)

    def resume(self, job_id: str, raised: Mapping[str, Any], admit: Admit = str) -> Job:
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

        def resume() -> None:
            job = self.get(job_id)
            if job.spec_damage:
                raise JobDamaged(job.spec_damage)
            if job.result() is None:
                raise NotEnded("the job has not ended: it needs no resume")
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

        with self._creating():
            job = self.get(job_id)
            if not job.spec_damage and job.result() is not None:
                self.check_name(job.model)
                admit()
                self._claim_name(job.spec)
            with job.events_here():
                self._storage.change(job.directory, resume)
        return self.get(job_id)

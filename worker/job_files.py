"""The records in a job's directory (``worker.jobs``): what each holds, read without trust.

Without a spec the job has failed, whatever else it says, and can only be deleted. A result that is
lost is taken from the last event. Everything else is unknown where it is damaged. Knows no job but
its directory.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired

from pydantic import with_config

# Not typing's: before Python 3.12 pydantic cannot check those.
from typing_extensions import TypedDict

from models.files import read_bounded, write_durably
from models.places import is_there
from worker.clock import timestamp
from worker.events import EndStatus, ErrorText, EventLog, ProgressData, last_event
from worker.records import RECORD, Count, DamagedRecord, Number, Records


@with_config(RECORD)
class JobSpec(TypedDict):
    """``spec.json``; ``options`` are ``models.options.TrainingOptions`` as JSON.

    ``asked`` are the first ones, once a resume has raised some. ``owner`` is whose it is, as
    ``worker.owners`` has it; jobs of earlier releases are nobody's. ``key`` is the digest of the
    ``Idempotency-Key`` that it was asked for with.
    """

    id: str
    model: str
    corpus_id: str
    options: Mapping[str, Any]
    asked: NotRequired[Mapping[str, Any]]
    owner: NotRequired[str]
    key: NotRequired[str]
    created_at: str


@with_config(RECORD)
class NGramFigures(TypedDict):
    """``models.checkpoints.card.BaselineFigures``, without the numpy that comes with it."""

    ngram_order: Count
    val_loss: Number
    bpc: Number


@with_config(RECORD)
class Running(TypedDict, total=False):
    """``running.json``: empty before the first attempt.

    ``paused`` says why a job waits, ``until`` when it resumes at the earliest, in seconds since the
    epoch, and ``needs_bytes`` for how much room on the disk it waits then.
    """

    started_at: str
    options: Mapping[str, Any]
    device: str
    progress: ProgressData | None
    baseline: NGramFigures | None
    needs_bytes: Count
    paused: ErrorText
    until: Number


@with_config(RECORD)
class JobResult(TypedDict):
    """``result.json``."""

    status: EndStatus
    error: ErrorText | None
    finished_at: str | None


DAMAGED = "Damaged"
"""Title of the error of a job whose files are damaged."""

_LAST_SECOND = 253402300799
"""Of the year 9999."""

SPECS = Records(JobSpec)
_RUNNING = Records(Running, partial=True)
_RESULTS = Records(JobResult)


def read_spec(directory: Path) -> tuple[JobSpec | None, str | None]:
    """What was asked for, or what is wrong with its file."""
    try:
        spec = SPECS.read(directory / "spec.json")
    except DamagedRecord as error:
        return None, str(error)
    return spec, None if spec else "spec.json is missing"


def lost_spec(directory: Path) -> JobSpec:
    """As much of a spec as is known without its file; unknown texts are empty."""
    return {
        "id": directory.name,
        "model": "",
        "corpus_id": "",
        "options": {},
        # An id begins with the milliseconds of its making, unless a stranger made it up.
        "created_at": timestamp(min(int(directory.name[:12], 16) / 1000, _LAST_SECOND)),
    }


def read_running(directory: Path) -> tuple[Running, str | None]:
    """The progress, and what is wrong with its file; empty then, and before the job started."""
    try:
        return _RUNNING.read(directory / "running.json") or {}, None
    except DamagedRecord as error:
        # It is not synced, and a power cut may have left anything.
        return {}, str(error)


def read_result(directory: Path, spec_damage: str | None) -> tuple[JobResult | None, str | None]:
    """The terminal state, if the job has one, and what is wrong with its file.

    Where the file is lost, the last event tells it.
    """
    found: JobResult | None = None
    damage: str | None = None
    try:
        found = _RESULTS.read(directory / "result.json")
    except DamagedRecord as error:
        damage = str(error)
    if spec_damage:
        return _damaged(spec_damage, found["finished_at"] if found else None), spec_damage
    if found:
        return found, None
    if recovered := _result_of_events(directory, is_certain=damage is not None):
        return recovered, damage or "result.json is missing"
    return (_damaged(damage, None), damage) if damage else (None, None)


def _damaged(damage: str, finished_at: str | None) -> JobResult:
    detail = f"{damage}. Delete the job; the models that it published stay."
    error: ErrorText = {"title": DAMAGED, "detail": detail}
    return {"status": "failed", "error": error, "finished_at": finished_at}


def _result_of_events(directory: Path, *, is_certain: bool) -> JobResult | None:
    """The terminal state that the last event tells, unless a resume may have followed it.

    A former release kept no record of a resume; nor do its events tell their time.
    """
    last = last_event(directory)
    if last is None or last.event != "end" or "status" not in last.data:
        return None
    if not is_certain and (last.at is None or last.id <= _resumed_after(directory)):
        return None
    status, error = last.data["status"], last.data.get("error")
    return {"status": status, "error": error, "finished_at": last.at}


def note_resume(directory: Path) -> None:
    """Notes that the end up to now is no longer one, before its result is removed."""
    write_durably(directory / "resumed", str(EventLog(directory).last_id).encode())


def _resumed_after(directory: Path) -> float:
    """The last event before the newest resume; infinity if that is unreadable."""
    path = directory / "resumed"
    if not is_there(path):
        return 0
    try:
        return int(read_bounded(path, 100))
    except ValueError:
        return math.inf

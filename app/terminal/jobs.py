"""What the terminal does with jobs."""

import sys
import time
from collections.abc import Iterator, Mapping
from typing import IO, Any

from app.terminal.client import ApiError, Client
from app.terminal.connect import Reached
from app.terminal.output import INTERRUPTED, Failed, day, number, table, tell
from app.terminal.progress import duration, view

_RETRY_PAUSE = 0.5
PATIENCE = 60.0
"""Seconds that a service which went away is waited for; a job goes on without its watchers."""


def jobs(client: Client, query: Mapping[str, Any]) -> None:
    rows = [("JOB", "MODEL", "STATUS", "STEP", "VALIDATION", "LEFT", "CREATED")]
    for job in client.pages("/jobs", "jobs", query):
        progress = job["progress"] or {}
        left = progress.get("eta_seconds") if job["status"] == "running" else None
        rows.append(
            (
                job["id"],
                job["model"],
                job["status"],
                f"{progress['step']}/{progress['max_steps']}" if progress else "-",
                number(progress.get("best_val_loss")),
                "-" if left is None else duration(left),
                day(job["created_at"]),
            )
        )
    table(rows, "no such jobs" if query else "no jobs yet")


def cancel(client: Client, job_id: str) -> None:
    client.post(f"/jobs/{job_id}/cancel")
    status = _follow_quietly(client, job_id)
    tell(f"job {job_id} is {status}")


def follow(reached: Reached, job_id: str) -> int:
    """Shows a job's progress to its end; gives the exit code."""
    return watch(reached, reached.client.get(f"/jobs/{job_id}"))


def train(reached: Reached, text: IO[bytes], options: Mapping[str, Any]) -> int:
    """Sends a text, and shows the progress of the job that comes of it; gives the exit code."""
    return watch(reached, start(reached.client, text, options))


def start(client: Client, text: IO[bytes], options: Mapping[str, Any]) -> dict[str, Any]:
    """Sends a text, and gives the job that comes of it."""
    job: dict[str, Any] = client.upload("/train", options, text)
    corpus = job["corpus"] or {}
    tell(f"job {job['id']} trains {job['model']} on {corpus.get('characters', 0):,} characters")
    for warning in corpus.get("warnings", []):
        tell(f"note: {warning}")
    return job


def watch(reached: Reached, job: Mapping[str, Any]) -> int:
    """Shows a job's progress to its end; gives the exit code."""
    try:
        return _watch(reached.client, job)
    except KeyboardInterrupt:
        return _interrupted(reached, job)


def _watch(client: Client, job: Mapping[str, Any]) -> int:
    shown = view(job["model"], sys.stdout)
    for name, data in _events(client, job["id"]):
        if name == "end":
            return _ended(client, job, data)
        shown.show(name, data)
    raise AssertionError("events end with an end")


def _ended(client: Client, job: Mapping[str, Any], end: Mapping[str, Any]) -> int:
    if end["status"] == "failed":
        error = end["error"] or {}
        raise Failed(f"{error.get('title', 'the job failed')}: {error.get('detail', '')}")
    progress = client.get(f"/jobs/{job['id']}")["progress"] or {}
    loss = progress.get("best_val_loss")
    reached = "" if loss is None else f": the best validation loss was {loss:.3f}"
    tell(f"job {job['id']} is {end['status']}{reached}")
    if loss is not None:
        tell(f"./charloom sample --model {job['model']} writes with it")
    return 0 if end["status"] == "finished" else 1


def _events(client: Client, job_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """A job's events to its end. A service that goes away is waited for."""
    last_id = ""
    silent_since: float | None = None
    while True:
        broke_off = ApiError("the service ends its answers early")
        try:
            for event in client.events("GET", f"/jobs/{job_id}/events", last_id=last_id):
                silent_since = None
                if event.name:
                    last_id = event.id
                    yield event.name, event.data
                if event.name == "end":
                    return
        except ApiError as error:
            if error.status:
                raise
            broke_off = error
        # From the first failure on, not from the last event: that a connection is dead shows late.
        silent_since = silent_since or time.monotonic()
        if time.monotonic() - silent_since > PATIENCE:
            raise broke_off
        time.sleep(_RETRY_PAUSE)


def _follow_quietly(client: Client, job_id: str) -> str:
    return next(str(data["status"]) for name, data in _events(client, job_id) if name == "end")


def _interrupted(reached: Reached, job: Mapping[str, Any]) -> int:
    """After Ctrl-C: the job goes on unless somebody says that it shall not."""
    later = "goes on when the service is started again" if reached.started else "goes on"
    if sys.stdin.isatty() and sys.stdout.isatty():
        question = "keep the job for later" if reached.started else "let the job go on"
        if not _agrees(f"{question}? [Y/n] "):
            cancel(reached.client, job["id"])
            return INTERRUPTED
    tell(f"job {job['id']} {later}; ./charloom jobs {job['id']} shows it")
    return INTERRUPTED


def _agrees(question: str) -> bool:
    try:
        return input(f"\n{question}").strip().lower() not in ("n", "no")
    except (EOFError, KeyboardInterrupt):
        return True

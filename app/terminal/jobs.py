"""The terminal's commands on jobs: start, list, follow, cancel, resume and delete them.

Knows no command line, nor how the service is found or a job's progress is drawn.
"""

import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import IO, Any

from app.supervisor.errors import UserError
from app.supervisor.installation import COMMAND
from app.terminal.client import Client, Passing, Unreachable
from app.terminal.connect import Reached
from app.terminal.output import INTERRUPTED, day, note, number, table, tell
from app.terminal.patience import Patience
from app.terminal.problems import in_options
from app.terminal.progress import view


def jobs(client: Client, query: Mapping[str, Any]) -> None:
    """Lists jobs."""
    rows = []
    for job in client.pages("/jobs", "jobs", query):
        progress = job["progress"] or {}
        left = progress.get("eta_seconds") if job["status"] == "running" else None
        rows.append(
            (
                job["id"],
                job["model"] or "-",
                job["status"],
                f"{progress['step']}/{progress['max_steps']}" if progress else "-",
                number(progress.get("best_val_loss")),
                "-" if left is None else str(timedelta(seconds=round(left))),
                day(job["created_at"]),
            )
        )
    head = ("JOB", "MODEL", "STATUS", "STEP", "LOSS", "LEFT", "CREATED")
    table(head, rows, "no such jobs" if query else "no jobs yet")


def cancel(client: Client, job_id: str) -> None:
    """Cancels a job and waits for its end."""
    client.post(f"/jobs/{job_id}/cancel")
    status = _follow_quietly(client, job_id)
    tell(f"job {job_id} is {status}")


def delete(client: Client, job_id: str) -> None:
    """Deletes an ended job, or one whose files are damaged."""
    client.delete(f"/jobs/{job_id}")
    tell(f"job {job_id} is deleted; the models that it published stay")


def resume(reached: Reached, job_id: str) -> int:
    """Resumes a job and shows its progress to its end; returns the exit code."""
    return watch(reached, reached.client.post(f"/jobs/{job_id}/resume"))


def follow(reached: Reached, job_id: str) -> int:
    """Shows a job's progress to its end; returns the exit code."""
    return watch(reached, reached.client.get(f"/jobs/{job_id}"))


def train(reached: Reached, text: IO[bytes], options: Mapping[str, Any]) -> int:
    """Uploads a text and shows the progress of its job; returns the exit code."""
    return watch(reached, start(reached.client, text, options))


def start(client: Client, text: IO[bytes], options: Mapping[str, Any]) -> dict[str, Any]:
    """Uploads a text and returns the job that trains on it."""
    job: dict[str, Any] = _uploaded(client, text, options)
    corpus = job["corpus"] or {}
    tell(f"job {job['id']} trains {job['model']} on {corpus.get('characters', 0):,} characters")
    for warning in corpus.get("warnings", []):
        note(f"note: {in_options(warning)}")
    return job


def _uploaded(client: Client, text: IO[bytes], options: Mapping[str, Any]) -> Any:
    """Uploads a text, again where that breaks off: the service makes one job of it all the same."""
    key, patience = secrets.token_hex(16), Patience()
    begin = text.tell() if text.seekable() else None
    is_again = False
    while True:
        try:
            return client.upload("/train", options, text, key)
        except Passing as error:
            was_lost = error.moves or (isinstance(error, Unreachable) and error.was_there)
            # What has been read from a pipe is gone.
            if begin is None or not (was_lost or is_again):
                raise
            if not is_again:
                note("note: the upload broke off; sending it again")
            is_again = True
            patience.wait(error)
            text.seek(begin)


def watch(reached: Reached, job: Mapping[str, Any]) -> int:
    """Shows a job's progress to its end; returns the exit code."""
    try:
        return _watch(reached.client, job)
    except KeyboardInterrupt:
        return _interrupted(reached, job)


def _watch(client: Client, job: Mapping[str, Any]) -> int:
    with view(job["model"], sys.stdout) as shown:
        for name, data in _events(client, job["id"]):
            if name == "end":
                break
            # A part may be missing, in an event of another release.
            with suppress(KeyError):
                shown.show(name, data)
    return _ended(client, job, data)


def _ended(client: Client, job: Mapping[str, Any], end: Mapping[str, Any]) -> int:
    if end["status"] == "failed":
        raise _failure(end)
    record = client.get(f"/jobs/{job['id']}")
    # One whose files were damaged after its end.
    if record["status"] == "failed":
        raise _failure(record)
    progress = record["progress"] or {}
    loss = progress.get("best_val_loss")
    reached = "" if loss is None else f": the best validation loss was {loss:.3f}"
    tell(f"job {job['id']} is {end['status']}{reached}")
    if loss is not None:
        tell(f"{COMMAND} sample --model {job['model']} writes with it")
    return 0 if end["status"] == "finished" else 1


def _failure(record: Mapping[str, Any]) -> UserError:
    error = record["error"] or {}
    title, detail = error.get("title", "the job failed"), error.get("detail", "")
    return UserError(in_options(f"{title}: {detail}"))


def _events(client: Client, job_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields a job's events up to its end, and asks again if the service goes away meanwhile."""
    last_id, patience = "", Patience()
    while True:
        try:
            for event in client.events("GET", f"/jobs/{job_id}/events", last_id=last_id):
                last_id = event.id
                yield event.name, event.data
            return
        except Passing as error:
            # The job runs on without its watchers.
            patience.wait(error)


def _follow_quietly(client: Client, job_id: str) -> str:
    return next(str(data["status"]) for name, data in _events(client, job_id) if name == "end")


def _interrupted(reached: Reached, job: Mapping[str, Any]) -> int:
    """After Ctrl-C: the job continues unless the user answers that it should not."""
    later = "resumes when the service starts again" if reached.started else "continues"
    if sys.stdin.isatty() and sys.stdout.isatty():
        question = "keep the job for later" if reached.started else "let the job continue"
        if not _agrees(f"{question}? [Y/n] "):
            cancel(reached.client, job["id"])
            return INTERRUPTED
    tell(f"job {job['id']} {later}; {COMMAND} jobs {job['id']} shows it")
    return INTERRUPTED


def _agrees(question: str) -> bool:
    try:
        return input(f"\n{question}").strip().lower() not in ("n", "no")
    except (EOFError, KeyboardInterrupt):
        return True

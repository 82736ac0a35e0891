"""A job's events on disk: whole ones in order, whatever a crash or a full disk leaves."""

import os

import pytest

from worker.events import EventLog
from worker.jobs import JobStore

CORPUS = "c" * 64


def test_an_event_that_a_crash_tore_never_was(store: JobStore) -> None:
    job, _ = store.create("linux", CORPUS, {}, None)
    log = EventLog(job.directory)
    log.append("progress", {"step": 1})
    log.append("progress", {"step": 2})
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + b'{"id": 3, "event": "prog')
    assert [event.id for event in job.events()] == [1, 2]
    event = EventLog(job.directory).append("notice", {"code": "x", "text": "Ж\n"})
    assert event.id == 3
    assert [event.event for event in job.events()] == ["progress", "progress", "notice"]


def test_a_line_of_rubbish_hides_only_itself(store: JobStore) -> None:
    job, _ = store.create("linux", CORPUS, {}, None)
    log = EventLog(job.directory)
    log.append("progress", {"step": 1})
    with log.path.open("ab") as file:
        file.write(b"\0\0\0\0\n[]\n{}\n")
    EventLog(job.directory).append("progress", {"step": 2})
    assert [event.data["step"] for event in job.events()] == [1, 2]


def test_an_event_that_cannot_be_written_leaves_the_log_as_it_was(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = store.create("linux", CORPUS, {}, None)
    log = EventLog(job.directory)
    log.append("progress", {"step": 1})

    def fail(_descriptor: int) -> None:
        raise OSError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="no room"):
            log.append("end", {})
    assert log.append("progress", {"step": 2}).id == 2
    assert [event.data["step"] for event in job.events()] == [1, 2]


def test_numbers_that_are_none_are_refused(store: JobStore) -> None:
    job, _ = store.create("linux", CORPUS, {}, None)
    with pytest.raises(ValueError, match="JSON"):
        EventLog(job.directory).append("progress", {"train_loss": float("nan")})
    assert job.events() == []

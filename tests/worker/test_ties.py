"""Of jobs that are taken in one moment, as many begin as may, and not none."""

import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from worker.jobs import Job, JobStore
from worker.trainer import tally, ties
from worker.trainer.ties import has_place


@pytest.fixture
def jobs(store: JobStore) -> list[Job]:
    """Of one owner, the oldest first."""
    made = [store.create(name, "c" * 64, {}, None, lambda: "owner")[0] for name in "abc"]
    return sorted(made, key=lambda job: job.id)


def test_the_younger_yields_and_the_older_waits_for_that(
    jobs: list[Job], store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ties, "PATIENCE", 60.0)
    older, younger, _ = jobs
    answers: list[bool] = []
    with ExitStack() as held, older.lock():
        held.enter_context(younger.lock())
        assert not has_place(younger, store, 1)
        asking = threading.Thread(target=lambda: answers.append(has_place(older, store, 1)))
        asking.start()
        held.close()
        asking.join(60)
    assert answers == [True]


def test_a_younger_one_that_has_begun_keeps_its_place(jobs: list[Job], store: JobStore) -> None:
    older, younger, _ = jobs
    with older.lock(), younger.lock():
        tally.begin(younger)
        assert not has_place(older, store, 1)
        assert has_place(older, store, 2) and has_place(older, store, None)


def test_nobody_waits_for_ever(
    jobs: list[Job], store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ties, "PATIENCE", 0.1)
    older, younger, _ = jobs
    with older.lock(), younger.lock():
        assert not has_place(older, store, 1)


def test_others_jobs_are_in_nobodys_way(
    jobs: list[Job], store: JobStore, make: Callable[[str], Job]
) -> None:
    theirs, nobodys = make("theirs"), make("")
    with ExitStack() as held:
        for job in jobs:
            held.enter_context(job.lock())
        assert has_place(theirs, store, 1) and has_place(nobodys, store, 1)


@pytest.fixture
def make(store: JobStore) -> Callable[[str], Job]:
    """Makes a job of an owner."""
    return lambda owner: store.create(f"of-{owner}", "c" * 64, {}, None, lambda: owner)[0]

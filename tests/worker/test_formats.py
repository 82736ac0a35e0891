"""What a worker writes has the form that release 0.1.0 wrote, so that either may take up a job.

But for a job with n-gram features, which that release does not know.
"""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.support import ROOT, StartWorker, all_events
from worker.jobs import JobStore
from worker.queue import Queue
from worker.settings import WorkerSettings

EARLIER = "01a2217d4ad78c464bc581"
"""A job of ``bottles`` that release 0.1.0 finished."""


ADDED = {"ngram_orders", "ngram_buckets", "ngram_characters", "owner", "ema_decay"}
"""Fields that the release before did not write, and that are read without."""


def shape(value: Any) -> Any:
    """The fields of an object, in their order, and of those below it."""
    if not isinstance(value, dict):
        return None
    return [(name, shape(part)) for name, part in value.items() if name not in ADDED]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    with tarfile.open(ROOT / "tests" / "fixtures" / "data-0.1.0.tar.gz") as archive:
        archive.extractall(directory, filter="data")
    return directory


def test_files_have_the_form_of_the_release_before(
    settings: WorkerSettings, queue: Queue, start_worker: StartWorker
) -> None:
    store, registry = JobStore(settings.data.jobs), Registry(settings.data.models)
    earlier = store.get(EARLIER)
    job, _ = store.create("again", earlier.spec["corpus_id"], earlier.spec["options"], None)
    queue.enqueue(job.id)
    start_worker()
    assert all_events(queue, job)[-1].data["status"] == "finished"

    for name in ("spec", "plan", "baseline", "running", "result"):
        files = [one.directory / f"{name}.json" for one in (job, earlier)]
        ours, theirs = (shape(json.loads(file.read_bytes())) for file in files)
        assert ours == theirs, name
    ours, theirs = ({e.event: shape(e.data) for e in one.events()} for one in (job, earlier))
    assert ours == theirs
    ours, theirs = (registry.entry(Reference(model)) for model in ("again", "bottles"))
    assert shape(ours.card) == shape(theirs.card)
    ours, theirs = (registry.history(Reference(model)) for model in ("again", "bottles"))
    assert {str(shape(line)) for line in ours} == {str(shape(line)) for line in theirs}

"""Snapshots are whole, whatever is published, deleted and appended while they are taken."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.support import SmallDisk
from tests.toys import toy_checkpoint
from worker.corpora import CorpusStore
from worker.data import DataDirectory
from worker.events import EventLog
from worker.jobs import Job, JobStore
from worker.model_owners import ModelOwners
from worker.owners import Owners, owner_named
from worker.snapshot import snapshot

CHECKPOINTS = [toy_checkpoint(seed=seed) for seed in range(3)]


def taken(data: Path) -> dict[str, bytes]:
    with snapshot(DataDirectory(data)) as found:
        files = {}
        for name in found.names():
            with found.open(name) as file:
                files[name] = file.read()
        return files


@contextmanager
def busy(*works: Callable[[], object]) -> Iterator[None]:
    """Does each again and again during the block."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def work(once: Callable[[], object]) -> None:
        try:
            while not stop.is_set():
                once()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(once,)) for once in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []


def test_what_is_half_done_locked_or_made_anew_is_left_out(
    data: Path, toy_corpus: str, job: Job
) -> None:
    Registry(data / "models").publish(Reference("toy"), CHECKPOINTS[0])
    CorpusStore(data / "corpora").open(toy_corpus, "characters", 0.1)
    (data / "models" / "toy" / f".stage-{'0' * 16}").mkdir()
    (data / "redis").mkdir()
    (data / "redis" / "dump.rdb").touch()
    (data / "format-1").write_text("0.1.0\n")
    with job.lock():
        names = taken(data).keys()
    corpus = {name.split("/")[2] for name in names if name.startswith("corpora/")}
    assert corpus == {"original", "characters.json"}
    assert {name.split("/")[0] for name in names} == {"corpora", "format-1", "jobs", "models"}
    assert not [name for name in names if "/." in name or name.endswith("/lock")]
    assert list(data.glob(".snapshot-*")) == []


def test_models_tags_and_notes_may_have_any_name(data: Path) -> None:
    """Also those that other things have, which are left out or grow."""
    registry, owner = Registry(data / "models"), owner_named("somebody")
    tags = ("a.ids", "x.sha256", "lock", "events.jsonl", "result.json")
    for tag in tags:
        registry.publish(Reference("lock", tag), CHECKPOINTS[0])
    with Owners(data / "owners").changing(owner):
        Owners(data / "owners").note(owner, "0" * 64, 1)
    ModelOwners(data / "owners" / "models").train(owner, "lock", lambda: tags)
    files = taken(data)
    there = {str(p.relative_to(data)): p.read_bytes() for p in data.glob("models/lock/*/*")}
    assert {Path(name).name for name in there} >= {*tags}
    assert {name: files.get(name) for name in there} == there
    notes = {name for name in files if name.startswith("owners/")}
    assert notes == {f"owners/{owner}/corpora/{'0' * 64}", "owners/models/lock"}


def test_models_that_come_and_go_are_there_whole_or_not_at_all(data: Path) -> None:
    registry = Registry(data / "models")
    # So many that another is published between the first and the tags.
    for seed in range(40):
        checkpoint = toy_checkpoint(seed=seed, hidden_size=8)
        registry.publish(Reference("stays", f"v{seed}"), checkpoint)
    registry.publish(Reference("stays"), CHECKPOINTS[0])
    seeds = iter(range(10**9))

    def publish() -> None:
        registry.publish(Reference("stays"), CHECKPOINTS[next(seeds) % 3])
        registry.publish(Reference("goes"), CHECKPOINTS[1])
        registry.delete_name("goes")

    with busy(publish):
        for _ in range(20):
            files = taken(data)
            tags = {name: text for name, text in files.items() if "/tags/" in name}
            assert "models/stays/tags/latest" in tags
            for name, text in tags.items():
                _, model, *_ = name.split("/")
                digest = text.decode().split()[0]
                assert f"models/{model}/{digest}/model.safetensors" in files
                assert f"models/{model}/{digest}/manifest.json" in files


def test_a_job_that_is_deleted_meanwhile_is_there_whole_or_not_at_all(
    data: Path, toy_corpus: str
) -> None:
    store = JobStore(data / "jobs")
    whole = {"spec.json", "events.jsonl", "result.json"}

    def come_and_go() -> None:
        job, _ = store.create("m", toy_corpus, {}, None)
        with job.lock():
            job.finish("finished")
        store.delete(job.id)

    with busy(come_and_go):
        for _ in range(30):
            found: dict[str, dict[str, bytes]] = {}
            for name, content in taken(data).items():
                if name.startswith("jobs/"):
                    _, job_id, file = name.split("/")
                    found.setdefault(job_id, {})[file] = content
            for files in found.values():
                assert "spec.json" in files
                if "result.json" in files:
                    assert whole <= files.keys() and b'"end"' in files["events.jsonl"]


def test_a_job_with_an_end_has_the_event_and_its_corpus(data: Path, toy_corpus: str) -> None:
    job, _ = JobStore(data / "jobs").create("m", toy_corpus, {}, None)
    with job.lock():
        job.finish("finished")
    files = taken(data)
    assert b'"end"' in files[f"jobs/{job.id}/events.jsonl"]
    assert f"corpora/{toy_corpus}/original" in files


def test_events_are_those_of_the_moment_up_to_a_whole_line(data: Path, job: Job) -> None:
    log = EventLog(job.directory)
    log.append("notice", {"code": "one", "text": "one"})
    before = log.path.read_bytes()
    with log.path.open("ab") as file:
        file.write(b'{"id": 2, "to')
    with snapshot(DataDirectory(data)) as found:
        name = f"jobs/{job.id}/events.jsonl"
        EventLog(job.directory).append("notice", {"code": "two", "text": "two"})
        with found.open(name) as content:
            assert content.read() == before
        assert found.size(name) == len(before) + 13


def test_no_corpus_goes_while_it_is_taken(data: Path, toy_corpus: str) -> None:
    corpora = CorpusStore(data / "corpora")
    gone = threading.Event()

    def delete() -> None:
        corpora.delete(toy_corpus, lambda _: None)
        gone.set()

    with corpora.all_kept():
        thread = threading.Thread(target=delete)
        thread.start()
        assert corpora.has(toy_corpus)
    thread.join()
    assert gone.is_set() and not corpora.has(toy_corpus)


def test_a_part_on_another_disk_is_copied(data: Path) -> None:
    disk = SmallDisk(data / "models")
    if not disk.mount():
        pytest.skip("nobody but root may mount a small disk")
    try:
        digest = Registry(disk.root).publish(Reference("toy"), CHECKPOINTS[0])
        files = taken(data)
        there = disk.root / "toy" / digest / "model.safetensors"
        assert files[f"models/toy/{digest}/model.safetensors"] == there.read_bytes()
    finally:
        disk.unmount()

"""Two who share a disk, and two hosts that share a bucket, see and refuse the same."""

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.checkpoints.reference import ModelExists, Reference, UnknownModel
from models.checkpoints.registry import Registry
from models.files import CheckpointError
from models.places import names_in
from models.storage import StorageAway
from tests.buckets import S3Server
from tests.serving import eventually
from tests.support import TOY
from tests.toys import toy_checkpoint
from worker.clock import timestamp
from worker.corpora import CorpusInUse, CorpusStore, UnknownCorpus
from worker.data import DataDirectory
from worker.devices import Device, DeviceStore
from worker.fence import Fenced
from worker.job_errors import Ended, NameTaken, NotEnded, UnknownJob
from worker.job_files import JobSpec
from worker.jobs import JobStore
from worker.model_owners import ModelOwners
from worker.owners import Owners
from worker.storage import copies

Host = Callable[[str], DataDirectory]
Pair = tuple[DataDirectory, DataDirectory]


@pytest.fixture(params=["one disk", "a bucket"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Pair:
    if request.param == "one disk":
        return DataDirectory(tmp_path), DataDirectory(tmp_path)
    host: Host = request.getfixturevalue("host")
    return host("here"), host("there")


def jobs_of(pair: Pair) -> tuple[JobStore, JobStore]:
    here, there = (JobStore(data.jobs, data.storage) for data in pair)
    return here, there


def corpora_of(pair: Pair) -> tuple[CorpusStore, CorpusStore]:
    here, there = (CorpusStore(data.corpora, data.storage) for data in pair)
    return here, there


def models_of(pair: Pair) -> tuple[Registry, Registry]:
    here, there = (Registry(data.models, data.storage) for data in pair)
    return here, there


def upload(store: CorpusStore, text: str = TOY) -> str:
    with store.upload() as incoming:
        incoming.write(text.encode())
        return store.add(incoming, "characters")[0]


def test_a_job_is_there_for_both_and_ends_for_both(pair: Pair) -> None:
    here, there = jobs_of(pair)
    job, is_new = here.create("linux", "c" * 64, {"seed": 1}, None)
    assert is_new
    seen = there.get(job.id)
    assert seen.spec == job.spec
    assert seen.status() == "queued"
    end = seen.request_cancel()
    assert end and end.data["status"] == "cancelled"
    eventually(lambda: here.get(job.id).status() == "cancelled")
    assert [event.event for event in here.get(job.id).events()] == ["end"]
    with pytest.raises(Ended):
        here.get(job.id).request_cancel()
    here.resume(job.id, {"max_steps": 7})
    assert there.get(job.id).spec["options"] != {"seed": 1} or eventually(
        lambda: there.get(job.id).spec["options"] == {"seed": 1, "max_steps": 7}
    )
    with pytest.raises(NotEnded):
        there.delete(job.id)
    there.get(job.id).request_cancel()
    there.delete(job.id)
    eventually(lambda: here.ids() == [])
    with pytest.raises(UnknownJob):
        here.get(job.id)


def test_a_name_is_one_jobs_at_a_time(pair: Pair) -> None:
    here, there = jobs_of(pair)
    first, _ = here.create("linux", "c" * 64, {}, None)
    with pytest.raises(NameTaken, match=first.id):
        there.create("linux", "c" * 64, {}, None)
    first.request_cancel()
    second, _ = there.create("linux", "c" * 64, {}, None)
    with pytest.raises(NameTaken, match=second.id):
        here.resume(first.id, {})


def test_a_name_is_given_to_one_of_many_who_ask_at_once(pair: Pair) -> None:
    stores = jobs_of(pair)

    def ask(number: int) -> str | None:
        try:
            return stores[number % 2].create("linux", "c" * 64, {}, None)[0].id
        except NameTaken:
            return None

    with ThreadPoolExecutor(8) as pool:
        given = [found for found in pool.map(ask, range(8)) if found]
    assert len(given) == 1
    eventually(lambda: [store.ids() for store in stores] == [given, given])


def test_a_key_is_one_jobs_for_ever(pair: Pair) -> None:
    stores = jobs_of(pair)

    def ask(number: int) -> tuple[str, bool]:
        job, is_new = stores[number % 2].create("linux", "c" * 64, {}, "the key")
        return job.id, is_new

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert len({job_id for job_id, _ in found}) == 1
    assert sum(is_new for _, is_new in found) == 1
    stores[0].get(found[0][0]).request_cancel()
    assert ask(1) == (found[0][0], False)


def test_a_corpus_is_there_for_both_until_it_is_deleted(pair: Pair) -> None:
    here, there = corpora_of(pair)
    corpus_id = upload(here)
    assert there.ids() == [corpus_id] == here.ids()
    assert there.size(corpus_id) == len(TOY)
    there.verify(corpus_id)
    assert there.report(corpus_id) == here.report(corpus_id)
    assert upload(there) == corpus_id
    jobs, theirs = jobs_of(pair)
    with here.kept(corpus_id):
        job, _ = jobs.create("linux", corpus_id, {}, None)
    with pytest.raises(CorpusInUse, match=job.id):
        there.delete(corpus_id, theirs.needing)
    with here.kept(corpus_id):
        pass
    job.request_cancel()
    eventually(lambda: theirs.needing(corpus_id) is None)
    there.delete(corpus_id, theirs.needing)
    eventually(lambda: not here.has(corpus_id))
    with pytest.raises(UnknownCorpus):
        here.scan(corpus_id, "characters")
    assert upload(here) == corpus_id


def test_a_model_is_there_for_both_under_its_newest_tag(pair: Pair) -> None:
    here, there = models_of(pair)
    reference = Reference("toy")
    first = here.publish(reference, toy_checkpoint(seed=1))
    assert there.resolve(reference) == first
    assert there.entry(reference).card == here.entry(reference).card
    second = there.publish(reference, toy_checkpoint(seed=2), keep_before=True)
    eventually(lambda: here.resolve(reference) == second)
    assert len(list(here.references())) == 2
    for name, weight in here.load("toy", second).weights.items():
        assert (weight == there.load("toy", second).weights[name]).all()
    assert here.history(reference) == there.history(reference)
    here.delete(reference)
    eventually(lambda: there.names() == ["toy"] and len(list(there.references())) == 1)
    there.delete_name("toy")
    eventually(lambda: here.names() == [])
    with pytest.raises(UnknownModel):
        here.resolve(reference)
    with pytest.raises(CheckpointError):
        here.load("toy", first)


def test_a_model_is_renamed_for_both_with_all_that_it_has(pair: Pair) -> None:
    here, there = models_of(pair)
    first = here.publish(Reference("linux"), toy_checkpoint())
    kept = here.publish(Reference("linux", "v1"), toy_checkpoint(seed=1))
    ngram = here.publish_ngram("linux", b"counted")
    here.publish(Reference("linux"), toy_checkpoint(seed=2, ngram=ngram), keep_before=True)
    here.describe("linux", notes="Drivers only.", is_pinned=True)
    naming = here.naming("linux")
    eventually(lambda: there.naming("linux") == naming)
    there.rename("linux", "drivers")
    assert there.naming("drivers") == naming
    eventually(lambda: here.names() == ["drivers"])
    assert here.naming("drivers") == naming
    with pytest.raises(UnknownModel):
        here.entry(Reference("linux"))
    assert here.entry(Reference("drivers")).about.notes == "Drivers only."
    assert here.ngram_bytes("drivers", ngram) == b"counted"
    for digest in (first, kept):
        assert here.load("drivers", digest).weights.keys() == toy_checkpoint().weights.keys()
    # Its name is free.
    assert here.publish(Reference("linux"), toy_checkpoint(seed=3)) not in naming["latest"]
    with pytest.raises(ModelExists, match="the name drivers is taken"):
        here.rename("linux", "drivers")
    here.delete_name("linux")
    with pytest.raises(UnknownModel):
        here.rename("linux", "other")


def test_jobs_that_have_ended_follow_their_model(pair: Pair) -> None:
    here, there = jobs_of(pair)
    ended, _ = here.create("linux", "c" * 64, {"seed": 1}, None)
    ended.request_cancel()
    other, _ = here.create("other", "c" * 64, {}, None)
    queued, _ = here.create("linux", "c" * 64, {}, None)
    eventually(lambda: len(there.ids()) == 3)
    there.rename_model("linux", "drivers")
    eventually(lambda: here.get(ended.id).model == "drivers")
    assert [here.get(job.id).model for job in (other, queued)] == ["other", "linux"]
    assert here.get(ended.id).view()["links"]["model"] == "/models/drivers"
    here.resume(ended.id, {})
    with pytest.raises(NameTaken, match=ended.id):
        here.create("drivers", "c" * 64, {}, None)


def test_a_rename_that_a_bucket_cut_short_is_done_again(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is whole under both names until then."""
    here, there = models_of((host("here"), host("there")))
    digest = here.publish(Reference("linux"), toy_checkpoint())

    drop = copies.drop

    def lost(path: Path) -> None:
        if path.name == "linux":
            raise StorageAway
        drop(path)

    with monkeypatch.context() as patched:
        patched.setattr(copies, "drop", lost)
        with pytest.raises(StorageAway):
            here.rename("linux", "drivers")
    eventually(lambda: there.names() == ["drivers", "linux"])
    for name in ("linux", "drivers"):
        assert there.load(name, digest).config == toy_checkpoint().config
    there.rename("linux", "drivers")
    assert there.names() == ["drivers"]
    assert there.load("drivers", digest).config == toy_checkpoint().config


def test_what_another_host_publishes_during_a_rename_is_not_lost(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = models_of((host("here"), host("there")))
    here.publish(Reference("linux"), toy_checkpoint())
    link, published = copies.link, list[str]()

    def late(folder: Path, target: Path) -> None:
        link(folder, target)
        if not published:
            published.append(there.publish(Reference("linux", "v1"), toy_checkpoint(seed=1)))

    monkeypatch.setattr(copies, "link", late)
    here.rename("linux", "drivers")
    assert here.names() == ["drivers"]
    assert here.resolve(Reference("drivers", "v1")) == published[0]
    assert here.load("drivers", published[0]).config == toy_checkpoint().config


def test_owners_and_devices_are_known_to_both(pair: Pair) -> None:
    here, there = (Owners(data.owners, data.storage) for data in pair)
    here.note("a" * 16, "c" * 64, 100)
    assert there.owned("a" * 16, lambda _: True) == {"c" * 64: 100}
    there.forget("c" * 64)
    eventually(lambda: here.owned("a" * 16, lambda _: True) == {})
    mine, theirs = (ModelOwners(data.owners / "models", data.storage) for data in pair)
    mine.train("a" * 16, "toy", lambda: ())
    eventually(lambda: theirs.shares("toy").owner_of("latest") == "a" * 16)
    ours, known = (DeviceStore(data.devices, data.storage) for data in pair)
    device = Device("a processor", 1 << 30, 1e6, "2026-01-01T00:00:00Z")
    ours.record(device)
    eventually(lambda: known.devices() == [device])


def test_only_the_last_turn_may_write(pair: Pair) -> None:
    """Of two hosts, the one that lost a job hears of it at the latest when it writes."""
    here, there = jobs_of(pair)
    job, _ = here.create("linux", "c" * 64, {}, None)
    job.begin_turn(1, "here")
    job.set_running({"device": "here"})
    job.tell("notice", {"code": "one", "text": ""})
    later = there.get(job.id)
    later.begin_turn(2, "there")
    for write in (
        lambda: job.set_running({"device": "late"}),
        lambda: job.write("plan.json", b"{}"),
        lambda: job.tell("notice", {"code": "late", "text": ""}),
        lambda: job.finish("finished"),
    ):
        with pytest.raises(Fenced, match="there has taken over with epoch 2"):
            write()
    later.finish("finished")
    found = eventually(lambda: (one := here.get(job.id)).result() and one)
    assert [event.data.get("code") for event in found.events()] == ["one", None]
    assert found.running() == {"device": "here"}


def test_the_key_of_states_and_the_name_of_the_queue_are_shared(host: Host) -> None:
    here, there = host("here"), host("there")
    assert here.secret.read_bytes() == there.secret.read_bytes()
    assert here.secret.stat().st_mode & 0o777 == 0o600
    assert here.store_id() == there.store_id()


def test_nothing_is_promised_while_the_bucket_is_away(host: Host, bucket: S3Server) -> None:
    here, there = jobs_of((host("here"), host("there")))
    kept, _ = here.create("kept", "c" * 64, {}, None)
    bucket.failing = True
    with pytest.raises(StorageAway):
        here.create("lost", "c" * 64, {}, "a key")
    with pytest.raises(StorageAway):
        kept.request_cancel()
    assert here.get(kept.id).status() == "queued"
    bucket.failing = False
    again, is_new = eventually(lambda: _created(here, "lost"))
    assert is_new
    eventually(lambda: there.ids() == [again.id, kept.id])
    assert there.get(kept.id).status() == "queued"


def _created(store: JobStore, model: str) -> object:
    try:
        return store.create(model, "c" * 64, {}, "a key")
    except StorageAway:
        return None


def test_one_disk_stays_as_it_was(tmp_path: Path) -> None:
    """Without a bucket nothing more is written than before."""
    store = JobStore(tmp_path / "jobs")
    job, _ = store.create("linux", "c" * 64, {}, "a key")
    job.begin_turn(1, "we")
    job.end_turn()
    assert sorted(names_in(tmp_path / "jobs")) == [".create", ".keys", job.id]
    assert sorted(names_in(job.directory)) == ["epoch.json", "reserve", "spec.json"]


def half_made(store: JobStore, model: str, key: str | None = None) -> str:
    """Does what a host does that dies when it has claimed a job's name."""
    job_id = f"{time.time_ns() // 1_000_000:012x}{'0' * 10}"
    spec: JobSpec = {
        "id": job_id,
        "model": model,
        "corpus_id": "c" * 64,
        "options": {},
        "created_at": timestamp(),
    }
    if key:
        spec["key"] = hashlib.sha256(key.encode()).hexdigest()
    store._claim_name(spec)
    return job_id


def test_a_job_that_is_half_made_is_made_by_who_wants_its_name(host: Host) -> None:
    here, there = jobs_of((host("here"), host("there")))
    job_id = half_made(here, "linux", "a key")
    assert there.ids() == []
    job, is_new = there.create("linux", "c" * 64, {}, "a key")
    assert (job.id, is_new) == (job_id, False)
    other_id = half_made(here, "windows")
    with pytest.raises(NameTaken, match=other_id):
        there.create("windows", "c" * 64, {}, None)
    assert there.get(other_id).status() == "queued"


def test_a_half_made_job_whose_key_is_anothers_is_never_made(host: Host) -> None:
    here, there = jobs_of((host("here"), host("there")))
    first, _ = here.create("linux", "c" * 64, {}, "a key")
    job_id = half_made(here, "windows", "a key")
    second, is_new = there.create("windows", "c" * 64, {}, None)
    assert is_new
    assert sorted(there.ids()) == sorted([first.id, second.id])
    with pytest.raises(UnknownJob):
        here.get(job_id)


def test_a_half_made_job_that_was_deleted_stays_so(host: Host) -> None:
    """Whoever was about to make it was frozen for the whole of its life."""
    here, there = jobs_of((host("here"), host("there")))
    job, _ = here.create("linux", "c" * 64, {}, None)
    job.request_cancel()
    here.delete(job.id)
    assert not there._is_unended(job.spec)
    assert there.create("linux", "c" * 64, {}, None)[1]
    eventually(lambda: len(here.ids()) == 1)


def test_a_job_and_the_deletion_of_its_corpus_hear_of_each_other(host: Host) -> None:
    here, there = host("here"), host("there")
    corpora, others = corpora_of((here, there))
    corpus_id = upload(corpora)
    # The other host has said that it is about to delete, and looks for jobs next.
    directory = others.root / corpus_id
    assert others.has(corpus_id)
    there.storage.change(directory, lambda: (directory / "deleting").write_text("by another"))
    with pytest.raises(UnknownCorpus), corpora.kept(corpus_id):
        pass
    # A third finds a job, and takes back its own mark only.
    with pytest.raises(CorpusInUse):
        corpora.delete(corpus_id, lambda _: "a job")
    assert others.has(corpus_id)
    # It found one, or died: who sends the text again keeps it.
    assert upload(corpora) == corpus_id
    with corpora.kept(corpus_id):
        pass

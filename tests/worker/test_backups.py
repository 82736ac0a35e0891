"""A backup is whole or has no name, is made while jobs train, and is checked before it counts."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
import redis

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.serving import eventually
from tests.support import MakeJob, StartWorker
from tests.toys import toy_checkpoint
from tests.training import assert_same_training
from worker import backups
from worker.backups import MANIFEST, Amount, BackupError
from worker.corpora import CorpusStore
from worker.data import DataDirectory
from worker.jobs import Job, JobStore
from worker.owners import Owners, owner_named
from worker.queue import Queue
from worker.settings import WorkerSettings
from worker.trainer import generations

OWNER = owner_named("somebody")


def quiet(here: int, total: int) -> None:
    assert here <= total


def back_up(data: Path, target: Path) -> Amount:
    return backups.back_up(DataDirectory(data), target, "1.0", quiet)


def restore(source: Path, root: Path) -> Amount:
    root.mkdir(exist_ok=True)
    return backups.restore(source, root, quiet)


@pytest.fixture
def archive(data: Path, toy_corpus: str, tmp_path: Path) -> Path:
    """A backup of a small data directory."""
    Registry(data / "models").publish(Reference("toy"), toy_checkpoint())
    job, _ = JobStore(data / "jobs").create("m", toy_corpus, {}, "a key")
    with job.lock():
        job.finish("finished")
    (data / "secret").write_bytes(bytes(range(32)))
    (data / "format-1").write_text("1.0\n")
    with Owners(data / "owners").changing(OWNER):
        Owners(data / "owners").note(OWNER, toy_corpus, 1000)
    target = tmp_path / "backup.tar"
    back_up(data, target)
    return target


def content(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_all_that_matters_comes_back(data: Path, archive: Path, tmp_path: Path) -> None:
    amount = restore(archive, tmp_path / "new")
    found = content(tmp_path / "new")
    assert (
        amount
        == Amount(len(found), sum(map(len, found.values())))
        == backups.verify(archive, quiet)
    )
    before = content(data)
    assert found.items() <= before.items()
    left_out = {Path(name).name for name in before.keys() - found.keys()}
    assert left_out == {".changing", ".create", ".deleting", "lock"}
    for path in (archive, tmp_path / "new" / "secret"):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_request_that_was_accepted_before_is_known_after(
    data: Path, archive: Path, tmp_path: Path
) -> None:
    (job_id,) = JobStore(data / "jobs").ids()
    restore(archive, tmp_path / "new")
    store = JobStore(tmp_path / "new" / "jobs")
    job, is_new = store.create("m", store.get(job_id).spec["corpus_id"], {}, "a key")
    assert (job.id, is_new) == (job_id, False)


def test_what_counts_for_a_quota_before_counts_after(archive: Path, tmp_path: Path) -> None:
    restore(archive, tmp_path / "new")
    found = Owners(tmp_path / "new" / "owners").owned(OWNER, lambda _: True)
    assert [*found.values()] == [1000]


def test_jobs_and_the_format_come_after_what_they_are_of(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed: list[str] = []
    rename = Path.rename

    def noted(path: Path, target: Path) -> Path:
        placed.append(target.name)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", noted)
    restore(archive, tmp_path / "new")
    assert {"corpora", "models", "owners"} < {*placed[:-2]}
    assert {*placed[-2:]} == {"jobs", "format-1"}


def test_backups_of_a_job_that_trains_are_sound_and_end_as_it_ends(
    settings: WorkerSettings,
    queue: Queue,
    start_worker: StartWorker,
    make_job: MakeJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = make_job(max_steps=300, evaluate_every=100, sample_at=[100], dropout=0.2)
    queue.enqueue(job.id)
    worker = start_worker()
    places: list[Path] = []
    eventually(lambda: generations.newest_step(job.state_directory), 60)
    while job.result() is None:
        place = tmp_path / f"restored-{len(places)}"
        back_up(settings.data.root, place.with_suffix(".tar"))
        restore(place.with_suffix(".tar"), place)
        assert_sound(JobStore(place / "jobs").get(job.id), Registry(place / "models"))
        places.append(place)
    worker.terminate()
    assert job.status() == "finished"
    unended = [p for p in places if JobStore(p / "jobs").get(job.id).result() is None]
    assert unended
    # All that Redis knew is lost, too.
    with redis.Redis.from_url(settings.redis_url) as client:
        client.flushall()
    monkeypatch.setenv("CHARLOOM_DATA", str(unended[0]))
    start_worker()
    again = JobStore(unended[0] / "jobs").get(job.id)
    eventually(again.result, 60)
    assert again.status() == "finished"
    assert_same_training(again, job, queue)


def assert_sound(job: Job, registry: Registry) -> None:
    # An end is told an instant before it is written down, and is known from either.
    assert job.view()["damaged"] in ([], ["result.json is missing"])
    # The older state may be half gone, as a newer one replaces it.
    assert next(generations.load_all(job.state_directory)) is not None
    for entry in registry.entries():
        registry.load(entry.reference.name, entry.digest)
    events = job.events()
    assert [event.id for event in events] == [*range(1, len(events) + 1)]
    if any(event.event == "checkpoint" for event in events):
        assert not registry.entry(Reference(job.model)).damaged


# What must not count


def test_a_changed_byte_in_any_file_is_found(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive) as tar:
        members = [member for member in tar.getmembers() if member.size]
    whole = archive.read_bytes()
    for member in members:
        for place in {member.offset_data, member.offset_data + member.size - 1}:
            changed = bytearray(whole)
            changed[place] ^= 1
            archive.write_bytes(changed)
            with pytest.raises(BackupError, match=r"damaged|incomplete|format"):
                backups.verify(archive, quiet)
    with pytest.raises(BackupError):
        restore(archive, tmp_path / "new")
    assert content(tmp_path / "new") == {}


def test_a_part_of_a_backup_is_none(archive: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    with tarfile.open(archive) as tar:
        ends = [member.offset for member in tar.getmembers()]
    for end in (0, 100, 512, ends[1], ends[1] + 700, ends[-1], ends[-1] + 512, ends[-1] + 600):
        archive.write_bytes(whole[:end])
        with pytest.raises(BackupError, match=r"not a whole backup|incomplete|damaged"):
            restore(archive, tmp_path / "new")
        assert content(tmp_path / "new") == {}, end


def forged(path: Path, *members: tuple[tarfile.TarInfo, bytes], form: int = 1) -> Path:
    """An archive whose manifest is right, whatever its files are."""
    files = {info.name: hashlib.sha256(data).hexdigest() for info, data in members}
    manifest = {"format": form, "version": "9.9", "created_at": "", "files": files}
    last = tarfile.TarInfo(MANIFEST)
    with tarfile.open(path, "w") as tar:
        for info, data in (*members, (last, json.dumps(manifest).encode())):
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/evil",
        "models/../../evil",
        "models//evil",
        "models/./evil",
        "charloom.lock",
        "redis/dump.rdb",
        ".restore-0/secret",
        MANIFEST,
    ],
)
def test_a_forged_backup_writes_nowhere_else(tmp_path: Path, name: str) -> None:
    path = forged(tmp_path / "forged.tar", (tarfile.TarInfo(name), b"evil"))
    with pytest.raises(BackupError, match="its files are not those of its manifest"):
        restore(path, tmp_path / "new")
    assert content(tmp_path / "new") == {} and not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_forged_backup_makes_no_links(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("models/link")
    info.type, info.linkname = kind, "/etc/passwd"
    with pytest.raises(BackupError, match="its files are not those of its manifest"):
        restore(forged(tmp_path / "forged.tar", (info, b"")), tmp_path / "new")


def test_a_backup_of_a_later_format_says_so(tmp_path: Path) -> None:
    path = forged(tmp_path / "later.tar", (tarfile.TarInfo("models/x"), b""), form=2)
    with pytest.raises(BackupError, match=r"charloom 9\.9 made this backup.*upgrade charloom"):
        restore(path, tmp_path / "new")


def test_nothing_is_overwritten(data: Path, archive: Path) -> None:
    before, backup = content(data), archive.read_bytes()
    with pytest.raises(BackupError, match=r"is not empty \(\w+\): restore into another"):
        restore(archive, data)
    with pytest.raises(BackupError, match="exists: move it away"):
        back_up(data, archive)
    assert (content(data), archive.read_bytes()) == (before, backup)


def test_an_empty_disk_has_room_for_a_backup(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "new" / "lost+found").mkdir(parents=True)
    (tmp_path / "new" / ".restore-0").mkdir()
    # As an operator chooses it, or the pods do.
    (tmp_path / "new" / "store-id").write_text("chosen")
    restore(archive, tmp_path / "new")
    assert DataDirectory(tmp_path / "new").store_id() == "chosen"


def test_a_directory_without_data_has_no_backup(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="has no data: name the data directory with --data"):
        back_up(tmp_path / "nowhere", tmp_path / "backup.tar")
    assert list(tmp_path.iterdir()) == []


def test_one_backup_at_a_time_writes_a_file(data: Path, toy_corpus: str, tmp_path: Path) -> None:
    """The second is told; the first is not disturbed."""
    assert CorpusStore(data / "corpora").has(toy_corpus)
    target = tmp_path / "other.tar"

    def meanwhile(here: int, total: int) -> None:
        if here == total:
            with pytest.raises(BackupError, match="another backup is writing"):
                back_up(data, target)

    backups.back_up(DataDirectory(data), target, "1.0", meanwhile)
    backups.verify(target, quiet)
    assert not list(tmp_path.glob("*.partial"))

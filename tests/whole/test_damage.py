"""Whatever is damaged in a data directory, the rest of it is served, and the damaged is deleted.

Each file and directory of a job, a model and a corpus, found by listing, is damaged in each way:
one copy of the job, the model or the corpus for each. One server serves them all, and every
endpoint that reads is asked for each of them. What the copies share is damaged once for each way.
"""

import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from models.checkpoints.reference import DIGEST, Reference
from models.checkpoints.registry import Registry
from tests.serving import TEXT, serve
from tests.support import ROOT
from tests.toys import toy_checkpoint
from worker.corpora import CorpusStore
from worker.devices import Device, DeviceStore
from worker.jobs import JobStore

ARCHIVE = ROOT / "tests" / "fixtures" / "data-0.1.0.tar.gz"


def _flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _removed(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _link(target: Path | None) -> Callable[[Path], None]:
    def link(path: Path) -> None:
        _removed(path)
        path.symlink_to(target or path)

    return link


def _directory(path: Path) -> None:
    path.unlink()
    (path / "stray").mkdir(parents=True)


def _file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_bytes(b"stray")


Damage = Callable[[Path], object]

OF_FILES: dict[str, Damage] = {
    "empty": lambda path: path.write_bytes(b""),
    "halved": lambda path: os.truncate(path, path.stat().st_size // 2),
    "flipped": _flipped,
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "removed": _removed,
    "[]": lambda path: path.write_text("[]"),
    "null": lambda path: path.write_text("null"),
    "object": lambda path: path.write_text('{"a": 1}\n'),
    "number": lambda path: path.write_text("9" * 5000),
    "not UTF-8": lambda path: path.write_bytes(b'{"id": "\xff\xfe"}\n'),
    "directory": _directory,
    "dangling link": _link(Path("/nowhere")),
    "looping link": _link(None),
}
OF_DIRECTORIES: dict[str, Damage] = {
    "removed": _removed,
    "file": _file,
    "dangling link": _link(Path("/nowhere")),
    "looping link": _link(None),
}
if os.geteuid():
    OF_FILES["unreadable"] = OF_DIRECTORIES["unreadable"] = lambda path: path.chmod(0)


ENDED = ("finished", "cancelled", "failed")
FINISHED, CANCELLED = "01a2217d4ad78c464bc581", "01a2217dbada22c87e427f"
JOBS = {
    FINISHED: "finished",
    "01a2217d4afdc242f907ac": "finished",
    CANCELLED: "cancelled",
    "01a2217dfea6eacd3b9642": "queued",
}
MODELS = ("bottles", "long", "people")
CORPORA = ("0004", "e8a6")
OF_THEIR_OWN = ("redis", "secret", "charloom.lock", "models/.pretrained")
"""What is read only at start, by what has tests of its own."""


EVERY = pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.chaos)])
"""A quarter of the damages of each file; all of them with ``-m chaos``."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with three models, two finished jobs, a cancelled and a queued one."""
    data = tmp_path_factory.mktemp("sound") / "data"
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(data, filter="data")
    Registry(data / "models").publish(Reference("people", "kept"), toy_checkpoint())
    DeviceStore(data / "devices").record(Device("cpu", 1 << 33, 1e9, "2026-01-01T00:00:00.000Z"))
    jobs = JobStore(data / "jobs")
    keyed, _ = jobs.create("keyed", "0" * 64, {}, "key")
    keyed.request_cancel()
    jobs.resume(keyed.id, {})
    assert keyed.request_cancel()
    return data


@pytest.fixture
def data(sound: Path, tmp_path: Path) -> Path:
    shutil.copytree(sound, tmp_path / "data", symlinks=True)
    return tmp_path / "data"


def _damages(place: Path) -> dict[str, Damage]:
    if place.is_dir():
        return OF_DIRECTORIES
    return {name: damage for name, damage in OF_FILES.items() if _can(name, place)}


def _can(name: str, place: Path) -> bool:
    """Nothing can be flipped in an empty file."""
    return name != "flipped" or place.stat().st_size > 0


def _parts(whole: Path) -> list[Path]:
    """What a directory holds, and itself, as paths below it."""
    return [Path(), *(path.relative_to(whole) for path in sorted(whole.rglob("*")))]


def _cases(whole: Path, every: int) -> Iterator[tuple[Path, str, Damage]]:
    """Every so manieth damage, so that each file meets others."""
    number = 0
    for part in _parts(whole):
        for name, damage in _damages(whole / part).items():
            if number % every == 0:
                yield part, name, damage
            number += 1


def _damaged_jobs(data: Path, every: int) -> dict[str, str]:
    """Copies of jobs, each damaged in one way; what was done to them, by id."""
    made = {}
    jobs = data / "jobs"
    everything = [(source, case) for source in JOBS for case in _cases(jobs / source, every)]
    seen = set()
    for number, (source, (part, name, damage)) in enumerate(everything):
        kind = (re.sub(r"\d{8}", "*", str(part)), name, JOBS[source])
        if kind in seen:
            continue
        seen.add(kind)
        job_id = f"01a3{number:018x}"
        copy = jobs / job_id
        shutil.copytree(jobs / source, copy)
        spec = json.loads((copy / "spec.json").read_bytes())
        (copy / "spec.json").write_text(json.dumps(spec | {"id": job_id, "model": f"m{number}"}))
        damage(copy / part)
        made[job_id] = f"{JOBS[source]} {part} {name}"
    return made


def _damaged_models(data: Path, every: int) -> dict[str, str]:
    made = {}
    home = data / "models" / "people"
    newest = (home / "tags" / "latest").read_text()[:64]
    for number, (part, name, damage) in enumerate(list(_cases(home, every))):
        if DIGEST.fullmatch(str(part)[:64]) and str(part)[:64] != newest:
            # Those that are served in its place are read in the same way.
            continue
        copy = data / "models" / f"copy-{number}"
        shutil.copytree(home, copy)
        damage(copy / part)
        made[copy.name] = f"{part} {name}"
    return made


def _damaged_corpora(data: Path, every: int) -> dict[str, tuple[str, bytes]]:
    """Corpora, what was done to each, and their texts."""
    store = CorpusStore(data / "corpora")
    pattern = data / "corpora" / _add(store, TEXT.encode())
    made = {}
    for number, (part, name, damage) in enumerate(list(_cases(pattern, every))):
        text = f"{number}\n{TEXT}".encode()
        corpus_id = _add(store, text)
        damage(data / "corpora" / corpus_id / part)
        made[corpus_id] = (f"{part} {name}", text)
    return made


def _add(store: CorpusStore, text: bytes) -> str:
    with store.upload() as upload:
        upload.write(text)
        corpus_id, _ = store.add(upload, "characters")
    store.report(corpus_id)
    store.open(corpus_id, "characters", 0.1)
    return corpus_id


def _listed(client: httpx2.Client, noun: str) -> dict[str, dict[str, Any]]:
    """All pages of a list, by id or model."""
    found: dict[str, dict[str, Any]] = {}
    cursor: str | None = ""
    while cursor is not None:
        page = client.get(f"/{noun}", params={"cursor": cursor, "limit": 100}).raise_for_status()
        for one in page.json()[noun]:
            key = one["model"] if noun == "models" else one["id"]
            assert key not in found
            found[key] = one
        cursor = page.json()["next"]
    return found


def _check_shared(client: httpx2.Client) -> None:
    """Requires that every endpoint about everything answers, and that training can be asked for."""
    for url in ("/metrics", "/v1/models", "/api/tags", "/openapi.json"):
        assert client.get(url).status_code == 200, url
    begun = client.post("/train?model=new", content=TEXT, headers={"Idempotency-Key": "new"})
    assert begun.status_code == 202, begun.text
    # The second time, where the key is still known, the job has been cancelled.
    assert client.post(f"/jobs/{begun.json()['id']}/cancel").status_code in (202, 409)


def _check_sound(client: httpx2.Client) -> None:
    """Requires that what is not damaged is served as always."""
    jobs, models, corpora = (_listed(client, noun) for noun in ("jobs", "models", "corpora"))
    for job_id, status in JOBS.items():
        assert (jobs[job_id]["status"], jobs[job_id]["damaged"]) == (status, [])
        if status in ENDED:
            assert client.get(f"/jobs/{job_id}/events").text.count("event: end") == 1
    for model in MODELS:
        assert models[model]["damaged"] == []
        text = client.get("/sample", params={"model": model, "length": 5})
        assert (len(text.text), text.headers["x-model-digest"]) == (5, models[model]["digest"])
    for one in corpora.values():
        if one["id"].startswith(CORPORA):
            assert one["damaged"] == []


@EVERY
def test_a_damaged_job_hides_no_other_and_is_deleted(
    data: Path, redis_url: str, every: int
) -> None:
    damaged = _damaged_jobs(data, every)
    assert len(damaged) > 100 / every
    with serve(data, redis_url) as client:
        _check_shared(client)
        _check_sound(client)
        listed = _listed(client, "jobs")
        for job_id, case in damaged.items():
            shown = client.get(f"/jobs/{job_id}")
            if case.endswith("  removed") or shown.status_code == 404:
                assert " . " in case, case
                continue
            job = shown.json()
            assert job == listed[job_id], case
            if job["error"] and job["error"]["title"] == "Damaged":
                assert (job["status"], bool(job["damaged"])) == ("failed", True), case
            if " spec.json " in case and not case.endswith("flipped"):
                assert job["error"]["title"] == "Damaged", case
            if case.startswith("finished result.json") and not case.endswith(
                ("flipped", "removed")
            ):
                assert (job["status"], bool(job["damaged"])) == ("finished", True), case
            if job["status"] in ENDED:
                events = client.get(f"/jobs/{job_id}/events")
                assert events.text.count("event: end") == 1, case
            else:
                assert client.post(f"/jobs/{job_id}/cancel").status_code == 202, case
            resumed = client.post(f"/jobs/{job_id}/resume")
            assert resumed.status_code in (202, 409), (case, resumed.text)
            if resumed.status_code == 202:
                assert client.post(f"/jobs/{job_id}/cancel").status_code == 202, case
            assert client.delete(f"/jobs/{job_id}").status_code == 204, case
            assert client.get(f"/jobs/{job_id}").status_code == 404, case
        assert not any(path.name.startswith(".gone") for path in (data / "jobs").iterdir())


@EVERY
def test_a_damaged_model_hides_no_other_and_another_is_served(data: Path, every: int) -> None:
    damaged = _damaged_models(data, every)
    assert len(damaged) > 100 / every
    with serve(data) as client:
        _check_shared(client)
        _check_sound(client)
        for model, case in damaged.items():
            sampled = client.get("/sample", params={"model": model, "length": 5, "seed": 1})
            if case.startswith(". "):
                assert sampled.status_code == 404, case
                continue
            assert sampled.status_code == 200, (case, sampled.text)
            own = f"/models/{model}"
            digest = client.get(f"{own}/download").headers["x-model-digest"]
            # Only now: another copy of the checkpoint may be in memory, whose weights are sound.
            sampled = client.get("/sample", params={"model": model, "length": 5, "seed": 1})
            assert sampled.headers["x-model-digest"] == digest, case
            assert client.get(own).json()["digest"] == digest, case
            assert client.get(f"{own}/history").status_code == 200, case
            # More searches than the server takes at once are put off.
            assert client.get(f"{own}/cells").status_code in (200, 202, 503), case
            read = client.post(f"{own}/inspect", json={"text": "a", "unknown": "skip"})
            assert read.json()["digest"] == digest, case
            scored = client.post("/score", json={"models": [model], "text": "aaa"})
            assert scored.status_code == 200, case
            ngram = client.get("/sample", params={"model": f"{model}:ngram", "length": 5})
            assert ngram.status_code in (200, 404), case
        listed = _listed(client, "models")
        for model, case in damaged.items():
            if not case.startswith(". "):
                assert listed[model]["digest"] == client.get(f"/models/{model}").json()["digest"]
                assert client.delete(f"/models/{model}").status_code == 204, case
                assert client.get(f"/models/{model}").status_code == 404, case


@EVERY
def test_a_damaged_corpus_hides_no_other_and_is_mended_or_deleted(data: Path, every: int) -> None:
    damaged, store = _damaged_corpora(data, every), CorpusStore(data / "corpora")
    with serve(data) as client:
        _check_shared(client)
        _check_sound(client)
        for corpus_id, (case, text) in damaged.items():
            shown = client.get(f"/corpora/{corpus_id}")
            part, _, name = case.partition(" ")
            is_gone = part == "." and name != "unreadable"
            assert shown.status_code == (404 if is_gone else 200), case
            if part == "original" and name not in ("flipped", "zeros"):
                assert shown.json()["damaged"], case
                refused = client.post("/train", json={"model": "refused", "corpus_id": corpus_id})
                assert refused.status_code == 422, case
                assert refused.json()["code"] == "damaged_corpus", case
            assert client.post("/corpora", content=text).status_code == 201, case
            mended = client.get(f"/corpora/{corpus_id}").json()
            assert (mended["damaged"], mended["bytes"]) == ([], len(text)), case
            store.verify(corpus_id)
            again = store.open(corpus_id, "characters", 0.1)
            assert len(again.train) + len(again.validation) == len(text), case
            assert client.delete(f"/corpora/{corpus_id}").status_code == 204, case


@pytest.mark.parametrize("name", [*OF_FILES])
def test_what_all_share_may_be_damaged(data: Path, name: str) -> None:
    """Locks, keys, records of devices; and strays lie about."""
    ids = re.compile(r"[0-9a-f]{22}|[0-9a-f]{64}")
    for room in ("jobs", "corpora", "models", "devices"):
        for path in sorted((data / room).rglob("*")):
            place = str(path.relative_to(data))
            is_shared = not ids.search(place.removeprefix("jobs/.keys"))
            if path.is_file() and is_shared and place not in OF_THEIR_OWN and _can(name, path):
                OF_FILES[name](path)
    _leave_strays(data)
    with serve(data) as client:
        _check_shared(client)
        _check_sound(client)
        keyed = {"Idempotency-Key": "key"}
        again = client.post("/train?model=other", content=TEXT, headers=keyed)
        # Of a key that still names its job, this is another request.
        assert again.status_code in (202, 422)
        assert client.post("/models/imported", content=_archive(client)).status_code == 201


@pytest.mark.parametrize("name", [*OF_DIRECTORIES])
def test_directories_that_are_none_are_made_anew(data: Path, name: str) -> None:
    for room in ("jobs/.keys", "corpora", "models", "devices"):
        OF_DIRECTORIES[name](data / room)
    with serve(data) as client:
        _check_shared(client)
        assert _listed(client, "jobs").keys() >= JOBS.keys()
    OF_DIRECTORIES[name](data / "jobs")
    with serve(data) as client:
        _check_shared(client)
        for noun in ("jobs", "models", "corpora"):
            _listed(client, noun)


def _leave_strays(data: Path) -> None:
    rooms = (
        "jobs",
        "jobs/.keys",
        "corpora",
        "models",
        "models/people",
        "devices",
        "jobs/" + FINISHED,
    )
    for room in rooms:
        (data / room / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
        (data / room / "stray folder" / "more").mkdir(parents=True)
        for hidden in (".stage-foo", ".gone-foo"):
            (data / room / hidden).write_text("a file")
        (data / room / ".stage-bar" / "more").mkdir(parents=True)
        (data / room / "to-nowhere").symlink_to("/nowhere")
        (data / room / ("f" * 22)).write_text("a file")
        (data / room / ("e" * 22)).mkdir()
        (data / room / ("d" * 64)).write_text("a file")
        (data / room / "f.json").mkdir()


def _archive(client: httpx2.Client) -> bytes:
    return client.get("/models/people/download").raise_for_status().content


def test_only_a_trainer_maps_files_into_memory() -> None:
    """Where a mapped file is truncated, the process dies: a trainer is counted and starts again."""
    sources = [path for room in ("app", "worker", "models") for path in (ROOT / room).rglob("*.py")]
    mapping = {path for path in sources if re.search(r"\bmmap\b|memmap\(", path.read_text())}
    assert mapping == {ROOT / "models" / "text" / "corpus.py"}
    opening = {path for path in sources if "corpora.open(" in path.read_text()}
    assert opening == {ROOT / "worker" / "trainer" / "plan.py"}

"""Each error of the layers below becomes one problem: a status, a code, and words that help."""

import errno
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import app.engine
import models
import worker
from app.engine.background import OutOfTime, ServerBusy
from app.engine.streams import ServerFull, TooManyStreams
from app.http.handlers import of_error, unexpected
from app.http.problems import CODES
from models.checkpoints.reference import (
    ModelBusy,
    ModelExists,
    NoNGram,
    NotANetwork,
    UnknownModel,
)
from models.errors import (
    CharloomError,
    Conflict,
    Damaged,
    Invalid,
    NotFound,
    Oversized,
    TooMany,
    Unavailable,
)
from models.files import CheckpointError
from models.locks import LockLost
from models.storage import StorageAway
from models.styles import WrongStyle
from models.text.cleaning import CorpusError, NotUtf8
from models.text.corpus import WrongParts
from models.text.encodings import Explanation
from models.text.intake.members import too_many_members
from models.text.vocab import UnknownCharacters
from tests.serving import TEXT, problem, serve
from worker.backups import BackupError
from worker.corpora import CorpusDamaged, CorpusInUse, CorpusStore, UnknownCorpus, Upload
from worker.data import DataError
from worker.fence import Fenced
from worker.hosts import LocksStayHere
from worker.job_errors import Ended, JobDamaged, NameTaken, NotEnded, UnknownJob
from worker.jobs import JobStore
from worker.records import DamagedRecord
from worker.settings import SettingsError
from worker.storage.bucket import Stale, StorageRefused
from worker.storage.mirror import FolderGone

BRANCHES = {CharloomError, Conflict, Damaged, Invalid, NotFound, Oversized, TooMany, Unavailable}
BEFORE_HTTP = {BackupError, DataError, LocksStayHere, SettingsError, StorageRefused}
"""Errors that end a process before it serves, or a command that serves nothing."""

CAUGHT = {DamagedRecord, Fenced, FolderGone, Stale, WrongParts, WrongStyle}
"""Errors that the stores take for themselves: what they read is unknown then, or damaged, or for
another process to write; and a storage those of its bucket. Routes tell the last two as a
field's."""

ERRORS: list[tuple[CharloomError, int, str, str]] = [
    (UnknownModel("x"), 404, "unknown_model", "GET /models lists all models"),
    (NoNGram("x"), 404, "no_ngram", "models trained on this server have one"),
    (NotANetwork("x"), 404, "not_a_network", "can only be sampled"),
    (UnknownCorpus("x"), 404, "unknown_corpus", "GET /corpora lists all corpora"),
    (UnknownJob("x"), 404, "unknown_job", "GET /jobs lists all jobs"),
    (CheckpointError("/a/secret/path"), 404, "damaged_model", "delete the model"),
    (CorpusDamaged(), 404, "damaged_corpus", "upload it again"),
    (CorpusInUse("j1"), 409, "corpus_in_use", "j1"),
    (JobDamaged("spec.json is empty"), 409, "damaged_job", "delete it"),
    (NameTaken("m", "j1"), 409, "name_taken", "j1"),
    (ModelExists("m"), 409, "model_exists", "the name m is taken"),
    (ModelBusy("m"), 409, "model_busy", "a checkpoint of m is just being written"),
    (Ended("the job has ended already"), 409, "job_ended", "ended already"),
    (NotEnded("cancel it first"), 409, "job_not_ended", "cancel it first"),
    (CorpusError("the text is empty"), 422, "invalid_corpus", "the text is empty"),
    (
        NotUtf8(2, Explanation("it looks like KOI8-R", True)),
        422,
        "not_utf8",
        "the text is not UTF-8",
    ),
    (UnknownCharacters(["é"]), 422, "unknown_characters", "'é'"),
    (too_many_members(), 413, "body_too_large", "more than 10,000 files"),
    (TooManyStreams(7), 429, "too_many_streams", "writing 7 texts for you"),
    (ServerFull(7), 503, "server_full", "writing 7 texts"),
    (ServerBusy(), 503, "server_busy", "waiting to be read"),
    (OutOfTime(9), 503, "out_of_time", "within 9 seconds"),
    (LockLost(), 503, "lock_lost", "try again"),
    (StorageAway(), 503, "storage_away", "try again in a moment"),
]


@pytest.mark.parametrize(
    ("error", "status", "code", "words"), ERRORS, ids=[type(e[0]).__name__ for e in ERRORS]
)
def test_an_error_is_a_problem(error: CharloomError, status: int, code: str, words: str) -> None:
    found = of_error(error)
    assert (found.status_code, found.code) == (status, code)
    assert words in found.detail and "secret" not in found.detail
    assert bool(found.errors) == (status == 422)
    assert (found.headers or {}).get("Retry-After") == ("2" if status in (429, 503) else None)


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (UnknownJob("x"), "job not found; GET /jobs lists all jobs"),
        (UnknownModel("x"), "model not found; GET /models lists all models"),
        (UnknownCorpus("x"), "corpus not found; GET /corpora lists all corpora"),
        (
            CheckpointError("model.safetensors is truncated"),
            "the model's files are damaged: delete the model and train it again",
        ),
        (CorpusError("the text is too short"), "the text is too short"),
    ],
)
def test_a_problem_is_in_words_that_help(error: CharloomError, detail: str) -> None:
    assert of_error(error).detail == detail


def subclasses(kind: type[CharloomError]) -> Iterator[type[CharloomError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from subclasses(below)


def test_every_error_that_a_server_meets_is_in_the_table() -> None:
    for package in (models, worker, app.engine):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.startswith(("models.training", "worker.trainer", "worker.__main__")):
                importlib.import_module(module.name)
    met = {
        kind
        for kind in subclasses(CharloomError)
        if kind.__module__.startswith(("models.", "worker.", "app.engine."))
        and not kind.__module__.startswith(("models.training.", "worker.trainer."))
    }
    assert met - BRANCHES - BEFORE_HTTP - CAUGHT == {type(error) for error, *_ in ERRORS}
    codes = [code for _, _, code, _ in ERRORS]
    assert set(codes) <= CODES.keys() and len(codes) == len(set(codes))


def test_what_nobody_expects_says_nothing_of_itself() -> None:
    assert (unexpected().status_code, unexpected().code) == (500, "internal_error")


# Over HTTP


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with serve(tmp_path_factory.mktemp("data")) as client:
        yield client


@pytest.mark.parametrize("path", ["/nothing", "/jobs/", "/train/x", "/%ff"])
def test_a_url_with_no_endpoint(client: httpx2.Client, path: str) -> None:
    detail = problem(client.get(path), 404, "unknown_endpoint")["detail"]
    assert "GET /openapi.json" in detail


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PATCH", "/jobs/x", "DELETE, GET, HEAD"),
        ("GET", "/train", "POST"),
        ("PUT", "/corpora", "GET, HEAD, POST"),
        ("HEAD", "/train", "POST"),
    ],
)
def test_a_method_that_an_endpoint_does_not_take(
    client: httpx2.Client, method: str, path: str, allow: str
) -> None:
    response = client.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == allow
    if method != "HEAD":
        assert allow in problem(response, 405, "method_not_allowed")["detail"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told(
    client: httpx2.Client,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    def full(_self: Upload, _data: bytes) -> None:
        raise OSError(number, "no room")

    monkeypatch.setattr(Upload, "write", full)
    response = client.post("/train?model=m", content=TEXT)
    assert "disk is full" in problem(response, 507, "disk_full")["detail"]
    assert "the disk is full" in caplog.text


def test_another_error_of_the_disk_is_a_mistake(
    client: httpx2.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_self: Any) -> list[str]:
        raise OSError(errno.EIO, "Input/output error", "/a/secret/path")

    monkeypatch.setattr(JobStore, "ids", broken)
    response = client.get("/jobs")
    assert "secret" not in response.text
    problem(response, 500, "internal_error")
    assert "/a/secret/path" in caplog.text


def test_an_error_is_a_problem_in_every_route(tmp_path: Path) -> None:
    """Also where it is raised while a text is being received."""
    store = CorpusStore(tmp_path / "corpora")
    with serve(tmp_path) as client:
        response = client.post("/train?model=m", content=b"x")
        problem(response, 422, "invalid_corpus")
        assert store.ids() == []

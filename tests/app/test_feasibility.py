"""What cannot be trained is refused before anything is kept, and how long the rest takes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.http.problems import Problem
from app.routes import feasibility
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.options import TrainingOptions
from models.text.corpus import Scan, scan
from models.text.vocab import Vocabulary
from tests.serving import TEXT, Query, problem, serve, wrong_fields
from tests.toys import toy_checkpoint
from worker.devices import Device, DeviceStore

SYMBOLS = Vocabulary("characters", sorted(map(ord, set(TEXT))))
BYTES = Vocabulary("bytes", list(range(256)))
SMALL = Device("cpu", memory_bytes=1 << 30, work=1e9, measured_at="2026-01-01T00:00:00.000Z")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a machine of 1 GiB, and models of the text and of another one."""
    data = tmp_path_factory.mktemp("data")
    registry = Registry(data / "models")
    registry.publish(Reference("origin"), toy_checkpoint(vocabulary=SYMBOLS))
    registry.publish(Reference("stranger"), toy_checkpoint())
    registry.publish(Reference("bytes"), toy_checkpoint(vocabulary=BYTES))
    DeviceStore(data / "devices").record(SMALL)
    return data


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Scan:
    path = tmp_path_factory.mktemp("text") / "original"
    path.write_text(TEXT)
    return scan(path)


def refused(data: Path, text: Scan, **options: Any) -> Problem | None:
    try:
        feasibility.check(
            Registry(data / "models"),
            DeviceStore(data / "devices"),
            replace(TrainingOptions(), **options),
            text,
        )
    except Problem as found:
        return found
    return None


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"hidden_size": 64},
        {"sample_prime": "\ufeff10 green\r\nbottles"},
        {"init_from": "origin"},
        {"init_from": "stranger"},
        {"init_from": "origin", "network": "lstm", "num_layers": 2, "hidden_size": 24},
    ],
)
def test_what_fits_is_not_refused(data: Path, text: Scan, options: dict[str, Any]) -> None:
    assert refused(data, text, **options) is None


@pytest.mark.parametrize(
    ("options", "field", "code", "words"),
    [
        ({"hidden_size": 4096, "num_layers": 8}, "hidden_size", "not_enough_memory", "1.0 GiB"),
        ({"sample_prime": "10 grüne"}, "sample_prime", "unknown_characters", "'ü'. Remove them"),
        ({"init_from": "nobody"}, "init_from", "unknown_model", "GET /models"),
        ({"init_from": "bytes"}, "init_from", "invalid_fields", "pass tokens=bytes"),
        ({"init_from": "origin", "num_layers": 3}, "num_layers", "invalid_fields", "must be 2"),
        ({"init_from": "origin", "network": "gru"}, "network", "invalid_fields", "must be lstm"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(
    data: Path, text: Scan, options: dict[str, Any], field: str, code: str, words: str
) -> None:
    found = refused(data, text, **options)
    assert found and (found.status_code, found.code) == (422, code)
    (error,) = found.errors
    assert error.field == field and words in error.message


def test_a_model_to_continue_from_decides_the_memory(data: Path, text: Scan) -> None:
    """Its own size counts, not that of a preset."""
    assert refused(data, text, preset="linux", init_from="origin") is None


def test_how_long_it_takes_is_known_once_a_device_was_measured(data: Path, tmp_path: Path) -> None:
    measured, unknown = DeviceStore(data / "devices"), DeviceStore(tmp_path)
    assert feasibility.estimated_seconds(unknown, 65, 100_000) is None
    seconds = feasibility.estimated_seconds(measured, 65, 100_000)
    assert seconds and seconds == round(seconds, 1)
    limit = replace(TrainingOptions(), max_seconds=7.0)
    assert feasibility.estimated_seconds(measured, 65, 100_000, limit) == 7.0


def test_more_time_is_more_passes_or_a_larger_network(data: Path, tmp_path: Path) -> None:
    measured, unknown = DeviceStore(data / "devices"), DeviceStore(tmp_path)
    assert feasibility.outlooks(unknown, 65, 100_000, [20.0]) == []
    times = [20.0, 180.0, 1800.0]
    found = feasibility.outlooks(measured, 65, 1_000_000, times)
    assert [one.max_seconds for one in found] == times
    read = [one.passes * one.hidden_size**2 for one in found]
    assert read == sorted(read) and read[0] < read[-1]


# Over HTTP


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx2.Client]:
    with serve(data) as client:
        yield client


def test_nothing_is_kept_of_what_is_refused(client: httpx2.Client, data: Path) -> None:
    asked: Query = {"model": "large", "hidden_size": 4096, "num_layers": 8}
    response = client.post("/train", params=asked, content=TEXT)
    assert "of memory" in wrong_fields(response, "not_enough_memory")["hidden_size"]
    assert client.get("/corpora").json()["corpora"] == client.get("/jobs").json()["jobs"] == []
    assert not list((data / "corpora").glob("[!.]*"))


def test_what_training_does_in_some_time_is_told(client: httpx2.Client) -> None:
    corpus = client.post("/corpora", content=TEXT).json()
    path = f"/corpora/{corpus['id']}/outlook"
    (one,) = client.get(path, params={"max_seconds": "60"}).json()["outlooks"]
    assert one["max_seconds"] == 60 and one["passes"] > 0 and one["hidden_size"] >= 8
    assert [o["max_seconds"] for o in client.get(path).json()["outlooks"]] == [20, 180, 1800]
    wrong = wrong_fields(client.get(path, params={"max_seconds": "-1"}))
    assert "must be a number above 0" in wrong["max_seconds.0"]
    assert client.get(f"/corpora/{'0' * 64}/outlook").status_code == 404
    noise = client.post("/corpora", content=b"\x89PNG\r\n\x1a\n" + bytes(200)).json()
    assert client.get(f"/corpora/{noise['id']}/outlook").json() == {"outlooks": []}


def test_a_corpus_that_is_here_is_checked_too(client: httpx2.Client) -> None:
    corpus = client.post("/corpora", content=TEXT).json()
    assert corpus["estimated_seconds"] > 0
    asked = {"corpus_id": corpus["id"], "model": "other"}
    response = client.post("/train", json=asked | {"init_from": "bytes"})
    assert "trained on bytes" in wrong_fields(response)["init_from"]
    response = client.post("/train", json=asked | {"init_from": "nobody"})
    assert wrong_fields(response, "unknown_model").keys() == {"init_from"}
    response = client.post("/train", json=asked | {"corpus_id": "0" * 64})
    assert wrong_fields(response, "unknown_corpus").keys() == {"corpus_id"}
    assert client.post("/train", json=asked | {"init_from": "stranger"}).status_code == 202
    assert client.delete(f"/corpora/{corpus['id']}").status_code == 409
    problem(client.get(f"/corpora/{'0' * 64}"), 404, "unknown_corpus")

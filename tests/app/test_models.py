"""Published models, as clients see them and let them go."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from models.checkpoints.card import Card
from models.checkpoints.format import Checkpoint
from models.checkpoints.history import MAX_LOSSES, MAX_SAMPLES, HistoryPoint
from models.checkpoints.reference import Reference, UnknownModel
from models.checkpoints.registry import Registry
from models.config import NetworkConfig
from models.text.vocab import Vocabulary
from tests.forgery import plant
from tests.serving import problem, serve, wrong_fields
from tests.toys import toy_checkpoint
from worker.jobs import JobStore

CONFIG = NetworkConfig(vocabulary_size=3, num_layers=1, hidden_size=4)
HISTORY: list[HistoryPoint] = [
    {"step": 100, "train_loss": 2.5, "val_loss": None},
    {"step": 200, "train_loss": 2.0, "val_loss": 2.1},
    {"step": 200, "temperature": 0.5, "text": "ab\nab"},
]


def checkpoint(val_loss: float = 2.0) -> Checkpoint:
    """One whose digest the loss decides."""
    weights = {k: np.zeros(shape, np.float32) for k, shape in CONFIG.shapes().items()}
    card: Card = {
        "val_loss": val_loss,
        "step": 200,
        "job_id": "0" * 22,
        "created_at": "2026-01-01T00:00:00.000Z",
        "corpus": {"id": "0" * 64, "characters": 1000},
    }
    vocabulary = Vocabulary("characters", [0x0A, 0x61, 0x62])
    return Checkpoint(CONFIG, vocabulary, weights, card, HISTORY, b"ab\n")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx2.Client]:
    with serve(data) as client:
        yield client


@pytest.fixture
def registry(data: Path) -> Registry:
    """With two names, one of them under two tags; the server sees what others publish."""
    registry = Registry(data / "models")
    for name in registry.names():
        registry.delete_name(name)
    registry.publish(Reference("names"), checkpoint())
    registry.publish(Reference("linux"), checkpoint(1.5))
    registry.publish(Reference("linux", "a.1"), checkpoint(1.7))
    return registry


def listed(client: httpx2.Client) -> list[str]:
    return [model["model"] for model in client.get("/models").json()["models"]]


def test_a_model_is_what_its_checkpoint_says(client: httpx2.Client, registry: Registry) -> None:
    model = client.get("/models/linux").json()
    assert model["model"] == model["name"] == "linux"
    assert model["tag"] == "latest"
    assert model["tags"] == ["latest"]
    assert model["digest"] == registry.resolve(Reference("linux"))
    assert model["network"] == "lstm"
    assert model["config"]["hidden_size"] == 4
    assert model["vocabulary_size"] == 3
    assert model["parameters"] == CONFIG.parameters()
    assert model["val_loss"] == model["precision"]["exact"] == 1.5
    assert model["bpc"] == pytest.approx(2.164, abs=1e-3)
    assert model["baseline"] is model["precision"]["fast"] is None
    assert model["corpus"]["characters"] == 1000
    assert model["job_id"] == "0" * 22
    assert model["pretrained"] is False
    assert client.get("/models/linux:a.1").json()["model"] == "linux:a.1"


def test_notes_and_pins_are_kept_with_a_model(client: httpx2.Client, registry: Registry) -> None:
    """Of all its tags, whatever is published under it, until it is gone."""
    assert [client.get("/models/linux").json()[one] for one in ("notes", "pinned")] == ["", False]
    notes = "Drivers only.\n\u00e9\u2028"
    described = client.patch("/models/linux", json={"notes": notes})
    assert (described.status_code, described.json()["notes"]) == (200, notes)
    assert client.patch("/models/linux", json={"pinned": True}).json()["notes"] == notes
    registry.publish(Reference("linux"), checkpoint(1.4))
    client.delete("/models/linux:a.1")
    model = Registry(registry.root).entry(Reference("linux"))
    assert (model.about.notes, model.about.is_pinned) == (notes, True)
    assert client.get("/models/names").json()["notes"] == ""
    assert client.patch("/models/linux", json={"notes": "", "pinned": False}).json()["notes"] == ""
    client.patch("/models/linux", json={"notes": notes})
    client.delete("/models/linux")
    registry.publish(Reference("linux", "v1"), checkpoint(1.4))
    assert client.patch("/models/linux", json={}).json()["model"] == "linux:v1"
    assert client.get("/models/linux:v1").json()["notes"] == ""


def test_a_model_gets_another_name(client: httpx2.Client, registry: Registry, data: Path) -> None:
    """At once, with its tags, its notes and its ended jobs; the old name is nobody's then."""
    registry.publish(Reference("linux"), toy_checkpoint())
    jobs = JobStore(data / "jobs")
    ended, _ = jobs.create("linux", "c" * 64, {}, None)
    ended.request_cancel()
    tags = client.get("/models/linux").json()["tags"]
    asked = {"prime": "a", "length": 50, "seed": 1}
    begun = client.post("/sample", json={"model": "linux", **asked}).text
    renamed = client.patch("/models/linux", json={"name": "drivers", "notes": "n"})
    assert renamed.status_code == 200
    model = renamed.json()
    assert (model["model"], model["tags"], model["notes"]) == ("drivers", tags, "n")
    assert listed(client) == ["drivers", "drivers:a.1", "names"]
    problem(client.get("/models/linux"), 404)
    problem(client.post("/sample", json={"model": "linux", **asked}), 404)
    assert client.post("/sample", json={"model": "drivers", **asked}).text == begun
    assert client.get("/models/drivers/download").status_code == 200
    job = client.get(f"/jobs/{ended.id}").json()
    assert (job["model"], job["links"]["model"]) == ("drivers", "/models/drivers")
    assert client.patch("/models/drivers", json={"name": "drivers"}).json()["notes"] == "n"
    jobs.delete(ended.id)


@pytest.mark.usefixtures("registry")
def test_a_name_that_somebody_has_is_not_given_away(client: httpx2.Client, data: Path) -> None:
    taken = problem(client.patch("/models/linux", json={"name": "names", "notes": "n"}), 409)
    assert (taken["code"], taken["detail"]) == (
        "model_exists",
        "the name names is taken: choose another, or delete that model first",
    )
    jobs = JobStore(data / "jobs")
    for busy in ("linux", "coming"):
        job, _ = jobs.create(busy, "c" * 64, {}, None)
        refused = problem(client.patch("/models/linux", json={"name": "coming"}), 409)
        assert refused["code"] == "name_taken" and job.id in refused["detail"]
        job.request_cancel()
        jobs.delete(job.id)
    problem(client.patch("/models/nobody", json={"name": "x"}), 404)
    wrong = wrong_fields(client.patch("/models/linux", json={"name": "Not A Name"}))
    assert "lower-case" in wrong["name"]
    assert (
        "must be a name"
        in wrong_fields(client.patch("/models/linux:a.1", json={"name": "x"}))["model"]
    )
    assert client.get("/models/linux").json()["notes"] == ""


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"notes": 5, "pinned": "yes"}'])
def test_damaged_notes_take_no_model_with_them(
    client: httpx2.Client, registry: Registry, content: bytes
) -> None:
    (registry.root / "linux" / "about.json").write_bytes(content)
    assert [client.get("/models/linux").json()[one] for one in ("notes", "pinned")] == ["", False]
    assert client.patch("/models/linux", json={"pinned": True}).json()["pinned"] is True


def test_what_cannot_be_said_of_a_model(client: httpx2.Client) -> None:
    problem(client.patch("/models/nobody", json={"pinned": True}), 404)
    problem(client.patch("/models/UP", json={"pinned": True}), 404)
    of_a_tag = client.patch("/models/linux:a.1", json={"pinned": True})
    assert "must be a name" in wrong_fields(of_a_tag)["model"]
    for said, field in (
        ({"notes": "a" * 4001}, "notes"),
        ({"pinned": 7}, "pinned"),
        ({"x": 1}, "x"),
    ):
        assert field in wrong_fields(client.patch("/models/linux", json=said))


def test_a_model_may_have_an_ngram_table(client: httpx2.Client, registry: Registry) -> None:
    beside = toy_checkpoint(orders=3)
    registry.publish(Reference("names"), beside)
    model, without = (client.get(f"/models/{name}").json() for name in ("names", "linux"))
    assert (without["ngram_orders"], without["table_bytes"]) == (0, 0)
    assert without["config"].keys() == CONFIG.to_json().keys()
    assert model["ngram_orders"] == 3
    assert model["config"]["ngram_buckets"] == list(beside.config.ngram_buckets)
    assert model["parameters"] == beside.config.parameters()
    table = [beside.weights[name].nbytes for name in ("ngram.hashes", "ngram.rows")]
    assert model["table_bytes"] == sum(table)


def test_tags_of_one_checkpoint_name_each_other(client: httpx2.Client, registry: Registry) -> None:
    registry.tag(Reference("linux", "good"), registry.resolve(Reference("linux")))
    assert client.get("/models/linux:good").json()["tags"] == ["good", "latest"]


@pytest.mark.usefixtures("registry")
def test_models_page_by_page(client: httpx2.Client) -> None:
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = client.get("/models", params={"limit": 1, "cursor": cursor}).json()
        found += [model["model"] for model in page["models"]]
        cursor = page["next"]
    assert found == listed(client) == ["linux", "linux:a.1", "names"]
    assert wrong_fields(client.get("/models?cursor=../x")).keys() == {"cursor"}


@pytest.mark.usefixtures("registry")
def test_a_history_is_points_and_samples(client: httpx2.Client) -> None:
    history = client.get("/models/names/history").json()
    assert history == {"points": HISTORY[:2], "samples": HISTORY[2:]}


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    "model", ["nothing", "linux:nothing", "Linux", "linux:", ":latest", "..%2Fjobs", "%00"]
)
def test_no_such_model(client: httpx2.Client, model: str) -> None:
    before = listed(client)
    assert problem(client.get(f"/models/{model}"), 404)
    assert problem(client.get(f"/models/{model}/history"), 404)
    assert problem(client.delete(f"/models/{model}"), 404)
    assert listed(client) == before


def test_a_damaged_model_is_not_shown(client: httpx2.Client, registry: Registry) -> None:
    digest = registry.resolve(Reference("names"))
    (registry.root / "names" / digest / "config.json").write_text("{")
    assert "damaged" in problem(client.get("/models/names"), 404)["detail"]
    assert "names" not in listed(client)
    assert client.delete("/models/names").status_code == 204


def test_a_tag_goes_alone(client: httpx2.Client, registry: Registry) -> None:
    digest = registry.resolve(Reference("linux", "a.1"))
    assert client.delete("/models/linux:a.1").status_code == 204
    assert listed(client) == ["linux", "names"]
    assert not (registry.root / "linux" / digest).exists()
    assert registry.load("linux", registry.resolve(Reference("linux")))


def test_a_checkpoint_stays_while_a_tag_names_it(client: httpx2.Client, registry: Registry) -> None:
    registry.tag(Reference("linux", "good"), registry.resolve(Reference("linux")))
    assert client.delete("/models/linux:latest").status_code == 204
    assert listed(client) == ["linux:a.1", "linux:good", "names"]
    assert registry.load("linux", registry.resolve(Reference("linux", "good")))


def test_a_name_goes_with_all_its_tags(client: httpx2.Client, registry: Registry) -> None:
    assert client.delete("/models/linux").status_code == 204
    assert listed(client) == ["names"]
    assert not (registry.root / "linux").exists()
    with pytest.raises(UnknownModel):
        registry.resolve(Reference("linux"))
    registry.publish(Reference("linux"), checkpoint())
    assert listed(client) == ["linux", "names"]


def test_deleting_and_publishing_at_once_lose_nothing(registry: Registry) -> None:
    stopped = threading.Event()

    def delete() -> None:
        while not stopped.is_set():
            try:
                registry.delete_name("linux")
            except UnknownModel:
                continue

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        for n in range(20):
            registry.publish(Reference("linux"), checkpoint(n))
    finally:
        stopped.set()
        thread.join()
    digest = registry.publish(Reference("linux"), checkpoint())
    assert registry.load("linux", digest).card["val_loss"] == 2.0


WRONG: tuple[Any, ...] = (
    "x",
    "",
    -1,
    1.5,
    10**400,
    True,
    [],
    ["a"],
    {},
    {"a": 1},
    "a" * 300,
    "\x1b[2J",
)
PARTS = (
    *("created_at", "job_id", "device", "ngram", "step", "val_loss", "bpc", "pretrained"),
    *("options", "corpus", "precision", "baseline", "memorisation"),
    *("corpus.characters", "corpus.id", "corpus.tokens", "precision.exact", "precision.fast"),
    *("baseline.ngram_order", "baseline.val_loss", "memorisation.longest"),
)


@pytest.mark.parametrize("part", PARTS)
def test_a_card_of_wrong_types_takes_no_list_with_it(
    client: httpx2.Client, registry: Registry, part: str
) -> None:
    """It was imported by an earlier release, or changed by hand: it is listed and can go."""
    outer, _, inner = part.partition(".")
    names = {f"names-{number:02}": wrong for number, wrong in enumerate(WRONG)}
    for name, wrong in names.items():
        value = {inner: wrong} if inner else wrong
        card = json.dumps({"val_loss": 2.0} | {outer: value})
        registry.publish(Reference(name), checkpoint())
        plant(registry, Reference(name), "card.json", card.encode())
    assert listed(client) == ["linux", "linux:a.1", "names", *names]
    for path in ("/v1/models", "/api/tags", "/metrics"):
        assert client.get(path).status_code == 200, path
    for name, wrong in names.items():
        for path in (f"/models/{name}", f"/v1/models/{name}"):
            assert client.get(path).status_code == 200, (path, wrong)
        assert client.post("/api/show", json={"model": name}).status_code == 200, wrong
        assert client.delete(f"/models/{name}").status_code == 204, wrong
    assert listed(client) == ["linux", "linux:a.1", "names"]


def test_a_list_tells_of_a_card_what_it_may_hold(client: httpx2.Client, registry: Registry) -> None:
    """However large the rest of it is: a list has a hundred of them."""
    corpus = {"characters": 5, "more": "a" * 100_000}
    card = json.dumps({"corpus": corpus, "more": corpus})
    plant(registry, Reference("names"), "card.json", card.encode())
    assert client.get("/models/names").json()["corpus"] == {"characters": 5}


def test_a_long_history_is_thinned(client: httpx2.Client, registry: Registry) -> None:
    """One that an earlier release wrote or imported: the answer is of use, and soon there."""
    lines = [b'{"step": %d}\n' % step for step in range(200_000)]
    texts = [b'{"step": %d, "text": "a"}\n' % step for step in range(2_000)]
    plant(registry, Reference("names"), "history.jsonl", b"".join(lines + texts))
    history = client.get("/models/names/history").json()
    for points, last, most in (
        (history["points"], 199_999, MAX_LOSSES),
        (history["samples"], 1_999, MAX_SAMPLES),
    ):
        assert most / 2 <= len(points) <= most
        assert (points[0]["step"], points[-1]["step"]) == (0, last)
    for most in (3, 4, 200):
        few = client.get(f"/models/names/history?points={most}").json()
        assert most / 2 <= len(few["points"]) <= most
        assert (few["points"][0]["step"], few["points"][-1]["step"]) == (0, 199_999)
        assert few["samples"] == history["samples"]
    for wrong in (2, MAX_LOSSES + 1):
        assert "points" in wrong_fields(client.get(f"/models/names/history?points={wrong}"))

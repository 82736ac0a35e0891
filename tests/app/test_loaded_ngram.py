"""``model=name:ngram``: text from counts, asked for as from any model."""

import math
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest

from models.checkpoints.format import Checkpoint
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.decoding.sampling import SampleOptions
from models.ngram import NGram
from models.text.corpus import Corpus
from models.text.novelty import line_hashes
from tests.serving import Query, problem, serve, wrong_fields
from tests.toys import ALPHABET, counted_text, toy_checkpoint

LIST = "anna\nbertha\nclara\ndora\nhanna\nberta\nlara\nflora\ndorothea\nhannah\ntheodora\n" * 3
MODEL = NGram.fit(ALPHABET.encode(LIST).astype("u1"), len(ALPHABET), 3)


def with_baseline(registry: Registry, name: str) -> Checkpoint:
    """Publishes a toy network of the list, and its n-gram model."""
    ids = ALPHABET.encode(LIST).astype("u1")
    lines = line_hashes(Corpus(ALPHABET, ids, ids[:0]), 100)
    toy = toy_checkpoint(
        ngram=registry.publish_ngram(name, MODEL.to_bytes()),
        baseline={"ngram_order": 3, "val_loss": 1.2, "bpc": 1.2 / math.log(2)},
    )
    listed = Checkpoint(
        toy.config, toy.vocabulary, toy.weights, toy.card, toy.history, toy.validation, lines
    )
    registry.publish(Reference(name), listed)
    return listed


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry(tmp_path_factory.mktemp("data") / "models")


@pytest.fixture(scope="module")
def client(registry: Registry) -> Iterator[httpx2.Client]:
    with_baseline(registry, "toy")
    registry.publish(Reference("plain"), toy_checkpoint(seed=1))
    with serve(registry.root.parent) as client:
        yield client


def slowly(prime: str, options: SampleOptions) -> str:
    """What the model says, an id at a time."""
    ids = list(counted_text(MODEL, ALPHABET.start_id, ALPHABET.encode(prime), options))
    return ALPHABET.decoder().decode(np.array(ids))


@pytest.mark.parametrize(
    "options",
    [
        SampleOptions(7, 1.0, 300),
        SampleOptions(8, 0.5, 300, top_k=3),
        SampleOptions(9, 2.0, 300, top_p=0.6),
        SampleOptions(0, 0.0, 50),
    ],
)
def test_it_writes_what_the_slow_way_writes(client: httpx2.Client, options: SampleOptions) -> None:
    fields: Query = {
        "model": "toy:ngram",
        "prime": "he",
        "seed": options.seed,
        "temperature": options.temperature,
        "length": options.length,
        "top_k": options.top_k or "",
        "top_p": options.top_p or "",
    }
    response = client.get("/sample", params=fields)
    assert response.text == slowly("he", options)
    assert response.headers["x-model"] == "toy:ngram"
    assert response.headers["x-precision"] == "exact"


def test_a_text_goes_on_from_its_state(client: httpx2.Client) -> None:
    fields: Query = {"model": "toy:ngram", "seed": 5, "length": 90}
    headers = {"Accept": "application/json"}
    whole = client.post("/sample", json=fields, headers=headers).json()
    begun = client.post("/sample", json=fields | {"length": 40}, headers=headers).json()
    rest = fields | {"length": 50, "continue_from": begun["state"]}
    del rest["seed"]
    ended = client.post("/sample", json=rest, headers=headers).json()
    assert begun["text"] + ended["text"] == whole["text"]
    assert whole["digest"] != client.get("/models/toy").json()["digest"]
    of_network = rest | {"model": "toy"}
    problem(client.post("/sample", json=of_network, headers=headers), 409)


def test_probabilities_are_the_models_own(client: httpx2.Client) -> None:
    fields: Query = {"model": "toy:ngram", "length": 5, "probabilities": 2, "seed": 1}
    told = client.get("/sample", params=fields, headers={"Accept": "application/json"}).json()
    shares = MODEL.next_distribution([ALPHABET.start_id])
    first = told["probabilities"][0]
    expected = shares[ALPHABET.encode(first["char"])[0]]
    assert first["probability"] == pytest.approx(expected, rel=1e-4)
    assert first["top"][0][1] == pytest.approx(shares.max(), rel=1e-4)


def test_names_are_drawn_from_it(client: httpx2.Client) -> None:
    drawn = client.get("/names", params={"model": "toy:ngram", "count": 20, "seed": 1}).json()
    assert len({one["name"] for one in drawn["names"]}) == 20
    known = [one["name"] for one in drawn["names"] if not one["novel"]]
    assert known and set(known) <= set(LIST.split())


def test_other_tools_may_ask_for_it(client: httpx2.Client) -> None:
    asked = {"model": "toy:ngram", "prompt": "he", "max_tokens": 20, "seed": 7}
    answer = client.post("/v1/completions", json=asked).json()
    assert answer["choices"][0]["text"] == slowly("he", SampleOptions(7, 1.0, 20))
    asked = {"model": "toy:ngram", "prompt": "he", "stream": False, "options": {"seed": 7}}
    assert client.post("/api/generate", json=asked).json()["response"]


def test_it_is_exact_alone(client: httpx2.Client) -> None:
    refused = client.get("/sample", params={"model": "toy:ngram", "precision": "fast"})
    assert "exact" in wrong_fields(refused)["precision"]


def test_a_model_without_one_says_so(client: httpx2.Client) -> None:
    found = problem(client.get("/sample", params={"model": "plain:ngram"}), 404, "no_ngram")
    assert "no n-gram baseline" in found["detail"]
    found = problem(client.get("/sample", params={"model": "nobody:ngram"}), 404)
    assert "model not found" in found["detail"]


def test_it_is_no_network(client: httpx2.Client) -> None:
    """It is told of in its network's baseline, and nothing but sampled."""
    assert client.get("/models/toy").json()["baseline"]["ngram_order"] == 3
    for response in (client.get("/models/toy:ngram"), client.delete("/models/toy:ngram")):
        assert problem(response, 404)
    assert "can only be sampled" in client.get("/models/toy:ngram").json()["detail"]
    listed = client.get("/models").json()["models"]
    assert [model["model"] for model in listed] == ["plain", "toy"]


def test_nothing_else_may_have_its_tag(registry: Registry) -> None:
    with pytest.raises(ValueError, match="ngram"):
        registry.publish(Reference("toy", "ngram"), toy_checkpoint())


def test_it_goes_with_its_name(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    with_baseline(registry, "toy")
    with serve(tmp_path) as client:
        assert client.get("/sample", params={"model": "toy:ngram"}).status_code == 200
        assert client.delete("/models/toy").status_code == 204
        problem(client.get("/sample", params={"model": "toy:ngram"}), 404)
    assert not (registry.root / "toy").exists()

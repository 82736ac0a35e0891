"""Models are loaded once, dropped when others need their room, and replaced where they are hurt."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.engine.loaded import FAST_COST, LoadedModels, LoadedNetwork, LoadedNGram
from models.checkpoints.reference import NotANetwork, Reference, UnknownModel
from models.checkpoints.registry import Registry
from models.files import CheckpointError
from models.ngram import NGram
from models.text.vocab import Vocabulary
from tests.serving import Query, eventually, problem, serve, wrong_fields
from tests.toys import ALPHABET, toy_checkpoint

PLENTY = 1 << 40


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "models")
    registry.publish(Reference("toy"), toy_checkpoint())
    registry.publish(Reference("other"), toy_checkpoint(seed=1))
    return registry


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the models that are read from disk."""
    names: list[str] = []
    load = Registry.load

    def counted(self: Registry, name: str, digest: str) -> Any:
        names.append(name)
        return load(self, name, digest)

    monkeypatch.setattr(Registry, "load", counted)
    return names


def test_of_many_who_ask_at_once_one_loads(registry: Registry, loads: list[str]) -> None:
    async def ask() -> None:
        loaded = LoadedModels(registry, PLENTY)
        models = await asyncio.gather(*(loaded.get(Reference("toy")) for _ in range(20)))
        assert all(model is models[0] for model in models)
        assert await loaded.network(Reference("toy")) is models[0]
        assert loaded.models == [models[0]]

    asyncio.run(ask())
    assert loads == ["toy"]


def test_a_client_that_leaves_does_not_take_the_load_away(
    registry: Registry, loads: list[str]
) -> None:
    async def ask() -> None:
        loaded = LoadedModels(registry, PLENTY)
        leaving, staying = (asyncio.ensure_future(loaded.get(Reference("toy"))) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        assert await staying is await loaded.get(Reference("toy"))
        assert leaving.cancelled()

    asyncio.run(ask())
    assert loads == ["toy"]


def test_the_least_recently_used_goes_first(registry: Registry, loads: list[str]) -> None:
    registry.publish(Reference("third"), toy_checkpoint(seed=2))

    async def ask() -> None:
        toy = await LoadedModels(registry, 0).get(Reference("toy"))
        loaded = LoadedModels(registry, 2 * toy.bytes)
        for name in ("toy", "other", "toy", "third", "toy", "other"):
            await loaded.get(Reference(name))
        assert [model.digest for model in loaded.models] == [
            registry.resolve(Reference(name)) for name in ("toy", "other")
        ]

    asyncio.run(ask())
    assert loads == ["toy", "toy", "other", "third", "other"]


def test_the_newest_is_kept_whatever_its_size(registry: Registry) -> None:
    async def ask() -> None:
        loaded = LoadedModels(registry, 0)
        for name in ("toy", "other"):
            model = await loaded.get(Reference(name))
            assert loaded.models == [model]

    asyncio.run(ask())


def test_what_no_tag_names_is_dropped(registry: Registry, loads: list[str]) -> None:
    """Deleted, replaced, or deleted with its name; what is still named stays."""
    counted = NGram.fit(ALPHABET.encode("ab ab\n").astype("u1"), len(ALPHABET), 2)
    digest = registry.publish_ngram("listed", counted.to_bytes())
    registry.publish(Reference("listed"), toy_checkpoint(ngram=digest))
    for tag in ("v1", "v2"):
        registry.publish(Reference("tagged", tag), toy_checkpoint(seed=7))
    references = [
        *(Reference(name) for name in ("toy", "other", "listed")),
        Reference("listed", "ngram"),
        Reference("tagged", "v1"),
    ]

    async def ask() -> None:
        loaded = LoadedModels(registry, PLENTY)

        async def after_a_sweep() -> list[str]:
            await loaded.sweep()
            return sorted(model.name for model in loaded.models)

        for reference in references:
            await loaded.get(reference)
        everything = ["listed", "listed", "other", "tagged", "toy"]
        assert await after_a_sweep() == everything
        registry.delete(Reference("tagged", "v1"))
        assert await after_a_sweep() == everything
        registry.delete(Reference("tagged", "v2"))
        registry.publish(Reference("other"), toy_checkpoint(seed=8))
        assert await after_a_sweep() == ["listed", "listed", "toy"]
        registry.delete_name("listed")
        assert await after_a_sweep() == ["toy"]
        assert await loaded.get(Reference("toy")) is loaded.models[0]

    asyncio.run(ask())
    assert loads.count("toy") == 1


def test_what_is_served_for_a_damaged_one_stays(registry: Registry) -> None:
    damaged = registry.publish(Reference("toy"), toy_checkpoint(seed=2))
    (registry.root / "toy" / damaged / "model.safetensors").write_bytes(b"")

    async def ask() -> None:
        loaded = LoadedModels(registry, PLENTY)
        before = await loaded.get(Reference("toy"))
        await loaded.sweep()
        assert loaded.models == [before]
        registry.publish(Reference("toy"), toy_checkpoint(seed=3))
        await loaded.sweep()
        assert loaded.models == []

    asyncio.run(ask())


def test_a_model_grows_with_its_decoders_and_makes_others_go(registry: Registry) -> None:
    async def ask() -> None:
        loaded = LoadedModels(registry, PLENTY)
        toy, other = [await loaded.get(Reference(name)) for name in ("toy", "other")]
        small = other.bytes
        loaded.memory_limit = toy.bytes + other.bytes
        other.decoder("exact")
        assert other.bytes > small
        assert await loaded.get(Reference("other")) is other
        assert loaded.models == [other]

    asyncio.run(ask())


def test_a_load_that_fails_is_tried_again(registry: Registry) -> None:
    weights = registry.root / "toy" / registry.resolve(Reference("toy")) / "model.safetensors"
    sound = weights.read_bytes()

    async def ask() -> None:
        loaded = LoadedModels(registry, PLENTY)
        weights.write_bytes(sound[:-1])
        with pytest.raises(CheckpointError):
            await loaded.get(Reference("toy"))
        assert loaded.models == []
        weights.write_bytes(sound)
        assert await loaded.get(Reference("toy"))

    asyncio.run(ask())


def test_what_there_is_not_is_unknown(registry: Registry) -> None:
    async def ask() -> None:
        loaded = LoadedModels(registry, PLENTY)
        for reference in (Reference("nobody"), Reference("toy", "v2"), Reference("toy", "ngram")):
            with pytest.raises(UnknownModel):
                await loaded.get(reference)
        with pytest.raises(NotANetwork):
            await loaded.network(Reference("toy", "ngram"))

    asyncio.run(ask())


def test_a_baseline_has_the_symbols_of_its_network(registry: Registry) -> None:
    counted = NGram.fit(ALPHABET.encode("ab ab\n").astype("u1"), len(ALPHABET), 2)
    digest = registry.publish_ngram("listed", counted.to_bytes())
    registry.publish(Reference("listed"), toy_checkpoint(ngram=digest))
    baseline = Reference("listed", "ngram")

    async def ask() -> None:
        loaded = LoadedModels(registry, PLENTY)
        model = await loaded.get(baseline)
        assert isinstance(model, LoadedNGram)
        assert (model.digest, model.vocabulary) == (digest, ALPHABET)
        assert (model.precisions, model.best_precision) == (("exact",), "exact")
        # A newer network of other symbols: the counts are not of its ids.
        other = toy_checkpoint(vocabulary=Vocabulary("characters", [0x0A, 0x61]), ngram=digest)
        registry.publish(Reference("listed"), other)
        with pytest.raises(CheckpointError, match="another vocabulary"):
            await LoadedModels(registry, PLENTY).get(baseline)

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("kind", "losses", "best"),
    [
        ("lstm", {"exact": 2.0, "fast": 2.0 + 0.9 * FAST_COST}, "fast"),
        ("lstm", {"exact": 2.0, "fast": 1.9}, "fast"),
        ("lstm", {"exact": 2.0, "fast": 2.0 + 1.1 * FAST_COST}, "exact"),
        ("lstm", {"exact": 2.0, "fast": None}, "exact"),
        ("lstm", {"exact": None, "fast": 2.0}, "exact"),
        ("lstm", None, "exact"),
        ("gru", {"exact": 2.0, "fast": 2.0}, "exact"),
    ],
)
def test_fast_is_best_only_where_it_is_known_to_cost_little(
    kind: Any, losses: Any, best: str
) -> None:
    network = LoadedNetwork("toy", "d", toy_checkpoint(kind, precision=losses))
    assert network.best_precision == best
    assert network.precisions == (("exact", "fast") if kind == "lstm" else ("exact",))
    assert len(network.state_shapes) == (2 if kind == "lstm" else 1)
    assert network.decoder("exact") is network.decoder("exact")


# Over HTTP


def test_fast_is_the_default_only_where_it_costs_little(client: httpx2.Client) -> None:
    assert client.get("/sample", params={"model": "toy:rough"}).headers["x-precision"] == "exact"
    asked = {"model": "toy:rough", "precision": "fast"}
    assert client.get("/sample", params=asked).headers["x-precision"] == "fast"
    assert client.get("/sample", params={"model": "gru"}).headers["x-precision"] == "exact"
    refused = client.get("/sample", params={"model": "gru", "precision": "fast"})
    assert "exact" in wrong_fields(refused)["precision"]


def test_a_better_checkpoint_takes_over_without_breaking_streams(
    client: httpx2.Client, toys: Path
) -> None:
    registry = Registry(toys / "models")
    old = registry.publish(Reference("moving"), toy_checkpoint(seed=1))
    fields: Query = {"model": "moving", "seed": 1, "length": 60_000}
    whole = client.get("/sample", params=fields)
    assert whole.headers["x-model-digest"] == old
    with client.stream("GET", "/sample", params=fields) as response:
        chunks = response.iter_text()
        text = next(chunks)
        for seed in (2, 3, 4):
            newest = registry.publish(Reference("moving"), toy_checkpoint(seed=seed))
        now = client.get("/sample", params={"model": "moving", "length": 10})
        assert now.headers["x-model-digest"] == newest
        text += "".join(chunks)
    assert text == whole.text


def test_a_deleted_model_writes_on_and_leaves_when_its_text_ends(toys: Path) -> None:
    registry = Registry(toys / "models")
    registry.publish(Reference("doomed"), toy_checkpoint(seed=4))
    fields: Query = {"model": "doomed", "seed": 3, "length": 40_000}
    with serve(toys) as client:
        expected = client.get("/sample", params=fields).text
        with client.stream("GET", "/sample", params=fields) as response:
            chunks = response.iter_text()
            text = next(chunks)
            assert client.delete("/models/doomed").status_code == 204
            eventually(lambda: "charloom_models_loaded 0.0" in client.get("/metrics").text)
            text += "".join(chunks)
        assert text == expected


def test_a_model_let_go_lives_on_for_its_streams(toys: Path) -> None:
    fields: Query = {"model": "toy", "seed": 3, "length": 20_000}
    with serve(toys, model_memory_bytes=1) as client:
        expected = client.get("/sample", params=fields).text
        with client.stream("GET", "/sample", params=fields) as response:
            chunks = response.iter_text()
            text = next(chunks)
            # There is room for one alone, the newest.
            for model in ("gru", "bytes", "gru"):
                assert client.get(f"/sample?model={model}&length=5").status_code == 200
                assert "charloom_models_loaded 1.0" in client.get("/metrics").text
            text += "".join(chunks)
    assert text == expected


def test_the_checkpoint_before_a_damaged_one_is_served(toys: Path) -> None:
    registry = Registry(toys / "models")
    before = registry.publish(Reference("hurt"), toy_checkpoint())
    damaged = registry.publish(Reference("hurt"), toy_checkpoint(seed=1))
    weights = toys / "models" / "hurt" / damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    fields: Query = {"model": "hurt", "length": 20, "seed": 0}
    with serve(toys) as client:
        answer = client.get("/sample", params=fields)
        assert (answer.status_code, answer.headers["x-model-digest"]) == (200, before)
        assert "charloom_models_damaged 1.0" in client.get("/metrics").text
        better = registry.publish(Reference("hurt"), toy_checkpoint(seed=2))
        assert client.get("/sample", params=fields).headers["x-model-digest"] == better


def test_a_damaged_model_is_said(client: httpx2.Client, toys: Path) -> None:
    registry = Registry(toys / "models")
    digest = registry.publish(Reference("broken"), toy_checkpoint(seed=9))
    (toys / "models" / "broken" / digest / "model.safetensors").write_bytes(b"")
    problem(client.get("/sample?model=broken"), 404, "damaged_model")

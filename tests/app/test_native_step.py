"""A server computes its fast models in one way for as long as it lives, and tells which."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from app.engine import native_step
from app.engine.loaded import LoadedNetwork
from app.engine.native_step import NativeStep
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.decoding.decoder import Decoder
from models.decoding.native.building import NoNativeStep
from models.decoding.native.library import Library
from models.decoding.sampling import SampleOptions
from models.decoding.stream import Stream
from tests.compiled import native_step as compiled
from tests.networks import run
from tests.serving import Query, eventually, serve
from tests.toys import ALPHABET, toy_checkpoint

QUERY: Query = {"model": "toy", "precision": "fast", "prime": "the ", "length": 200}


@pytest.fixture(scope="module")
def library() -> Library:
    return compiled()


@pytest.fixture
def models(data: Path) -> Path:
    """A data directory with a model."""
    Registry(data / "models").publish(Reference("toy"), toy_checkpoint(orders=4))
    return data


def is_native(client: httpx2.Client) -> float:
    found = re.search(r"^charloom_native (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert found
    return float(found[1])


def sampled(client: httpx2.Client, **query: int | float | str) -> str:
    response = client.get("/sample", params=QUERY | query)
    assert response.status_code == 200
    return response.text


def expected(library: Library | None, **options: int | float) -> str:
    checkpoint = toy_checkpoint(orders=4)
    decoder = Decoder(checkpoint.config, checkpoint.weights, "fast", library)
    chosen = SampleOptions(**{"length": 200, **options})  # type: ignore[arg-type]
    return run(decoder, [Stream(ALPHABET, ALPHABET.encode("the "), chosen)])[0]


def test_texts_are_those_of_the_native_step_whatever_the_load(
    models: Path, library: Library
) -> None:
    with serve(models) as client, ThreadPoolExecutor(24) as clients:
        eventually(lambda: is_native(client))
        seeds = range(24)
        texts = list(clients.map(lambda seed: sampled(client, seed=seed, top_k=1 + seed), seeds))
        assert texts == [expected(library, seed=seed, top_k=1 + seed) for seed in seeds]


def test_it_can_be_turned_off(models: Path) -> None:
    with serve(models, native=False) as client:
        assert sampled(client, seed=3) == expected(None, seed=3)
        assert is_native(client) == 0


@pytest.mark.usefixtures("library")
def test_servers_that_compute_differently_continue_each_others_texts(models: Path) -> None:
    with serve(models) as native, serve(models, native=False) as other:
        eventually(lambda: is_native(native))
        for one, two in ((native, other), (other, native)):
            begun = one.get("/sample", params=QUERY, headers={"Accept": "application/json"})
            query = {"model": "toy", "length": 50, "continue_from": begun.json()["state"]}
            rest = two.post("/sample", json=query)
            assert (rest.status_code, rest.headers["x-precision"]) == (200, "fast")
            assert len(rest.text) == 50


def test_a_server_without_it_stays_without(
    tmp_path: Path, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_cache: Path) -> Library:
        raise NoNativeStep("no C compiler was found")

    monkeypatch.setattr(native_step, "load", fails)
    native = NativeStep(True, tmp_path)
    assert native.library() is None
    monkeypatch.setattr(native_step, "load", lambda _cache: library)
    model = LoadedNetwork("toy", "digest", toy_checkpoint(), native)
    assert model.decoder("fast").arithmetic == "onnxruntime"
    assert not native.is_used


def test_a_model_waits_until_it_is_known(
    tmp_path: Path, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its first texts would be computed otherwise than the later ones."""
    compiled = threading.Event()

    def slowly(_cache: Path) -> Library:
        compiled.wait()
        return library

    monkeypatch.setattr(native_step, "load", slowly)
    native = NativeStep(True, tmp_path)
    model = LoadedNetwork("toy", "digest", toy_checkpoint(), native)
    with ThreadPoolExecutor(1) as pool:
        assert model.decoder("exact").arithmetic == "onnxruntime"
        asked = pool.submit(model.decoder, "fast")
        assert not native.is_used and not asked.done()
        compiled.set()
        assert asked.result().arithmetic == "native"
    assert native.is_used

"""Styles over HTTP: a model of several texts is asked for, and writes in each of them or a mix."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from models.checkpoints.format import Checkpoint
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.decoding.batch import Batch
from models.decoding.sampling import SampleOptions
from models.decoding.stream import Stream
from models.styles import Mix
from models.text.corpus import Corpus
from models.text.novelty import line_hashes
from tests.compiled import as_served
from tests.packed import zip_of
from tests.serving import TEXT, Query, problem, serve, wrong_fields
from tests.toys import ALPHABET, in_styles, toy_checkpoint

STYLES = ("austen", "poe")
OTHER = "Once upon a midnight dreary, while I pondered\n" * 60
EVENTS = {"Accept": "text/event-stream"}
AS_JSON = {"Accept": "application/json"}


def styled() -> Checkpoint:
    ids = ALPHABET.encode("anna\nbert\n" * 20).astype(np.uint8)
    lines = line_hashes(Corpus(ALPHABET, ids[:-2], ids[-2:]), limit=100)
    return replace(in_styles(toy_checkpoint(), *STYLES), lines=lines)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    registry = Registry(data / "models")
    registry.publish(Reference("both"), styled())
    registry.publish(Reference("plain"), toy_checkpoint())
    return data


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx2.Client]:
    with serve(data) as client:
        yield client


def text_of(mix: Mix, length: int = 300, precision: str = "exact") -> str:
    decoder = as_served(styled(), "fast" if precision == "fast" else "exact")
    stream = Stream(ALPHABET, ALPHABET.encode("a"), SampleOptions(3, 0.9, length, style=mix))
    batch, text = Batch(decoder), ""
    while stream.finish_reason is None:
        text += batch.tick([stream], 64)[0][0].text
    return text


FIELDS: dict[str, Any] = {
    "model": "both",
    "prime": "a",
    "seed": 3,
    "temperature": 0.9,
    "length": 300,
}


@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_a_style_and_a_mix_are_written_by_the_decoder(
    client: httpx2.Client, precision: str
) -> None:
    texts = set()
    mixes: dict[str, Mix] = {
        "": (),
        "poe": (0, 1),
        "austen": (1, 0),
        "austen:0.7,poe:0.3": (0.7, 0.3),
        "austen:7,poe:3": (0.7, 0.3),
    }
    for style, mix in mixes.items():
        fields = FIELDS | {"style": style, "precision": precision}
        got = client.get("/sample", params=fields).text
        assert got == text_of(mix, precision=precision)
        assert client.post("/sample", json=fields).text == got
        texts.add(got)
    assert len(texts) == 4


def test_a_state_goes_on_in_the_style_that_is_asked_for(client: httpx2.Client) -> None:
    whole = text_of((0, 1))
    fields = FIELDS | {"style": "poe"}
    first = client.post("/sample", json=fields | {"length": 120}, headers=AS_JSON).json()
    on = {k: v for k, v in fields.items() if k not in ("prime", "seed")}
    on |= {"continue_from": first["state"], "length": 180}
    assert first["text"] + client.post("/sample", json=on).text == whole
    other = client.post("/sample", json=on | {"style": "austen"}).text
    assert first["text"] + other != whole


def test_many_primes_and_names_are_in_the_style(client: httpx2.Client) -> None:
    asked = FIELDS | {"style": "poe", "primes": ["a", "b"]}
    del asked["prime"]
    lines = client.post("/sample", json=asked).text.splitlines()
    first = next(line for line in map(json.loads, lines) if line["index"] == 0)
    assert first["text"] == text_of((0, 1))

    def names(**more: str) -> list[str]:
        fields: Query = {"model": "both", "count": 5, "seed": 1, "max_length": 60}
        fields |= more
        answer = client.get("/names", params=fields)
        assert answer.status_code == 200, answer.text
        return [one["name"] for one in answer.json()["names"]]

    assert names(style="poe") == names(style="poe:2") != names(style="austen")
    assert "style" in wrong_fields(client.get("/names", params={"model": "both", "style": "x"}))


@pytest.mark.parametrize(
    ("model", "style", "words"),
    [
        ("both", "kafka", "must be one of austen, poe, or a mix such as austen:0.7,poe:0.3"),
        ("both", "austen:-1,poe:2", "numbers from 0"),
        ("both", "austen:0", "above 0"),
        ("both", "austen:NaN", "numbers from 0"),
        ("plain", "austen", "has no styles"),
    ],
)
def test_a_style_that_a_model_does_not_have_is_refused(
    client: httpx2.Client, model: str, style: str, words: str
) -> None:
    fields = {"model": model, "style": style}
    answer = client.get("/sample", params=fields)
    assert words in wrong_fields(answer, "unknown_style")["style"]
    read = client.post(f"/models/{model}/inspect", json={"text": "abc", "style": style})
    assert words in wrong_fields(read, "unknown_style")["style"]
    scored = client.post("/score", json={"text": "abc", "models": [model], "style": style})
    assert words in wrong_fields(scored, "unknown_style")["style"]


def test_models_tell_their_styles(client: httpx2.Client) -> None:
    told = {one["name"]: one["styles"] for one in client.get("/models").json()["models"]}
    assert told == {"both": list(STYLES), "plain": []}


def test_a_text_is_read_in_a_style(client: httpx2.Client) -> None:
    """Its own costs the text that was written in it least."""
    text = text_of((0, 1), 400, "exact")

    def loss(style: str) -> float:
        asked = {"text": text, "style": style}
        read: float = client.post("/models/both/inspect", json=asked).json()["loss"]
        scores = client.post("/score", json=asked | {"models": ["both"]}).json()["scores"]
        assert scores[0]["loss"] == pytest.approx(read)
        return read

    assert loss("poe") < loss("austen:0.5,poe:0.5") < loss("austen")
    assert loss("poe") < loss("")
    assert client.get("/models/both/cells").status_code in (200, 202)


def test_dialects_take_a_style(client: httpx2.Client) -> None:
    asked = {"model": "both", "seed": 3, "temperature": 0.9, "style": "poe"}
    said = client.post("/v1/completions", json=asked | {"prompt": "a", "max_tokens": 300}).json()
    assert said["choices"][0]["text"] == text_of((0, 1))
    options = {"seed": 3, "temperature": 0.9, "num_predict": 300, "style": "poe"}
    asked = {"model": "both", "prompt": "a", "stream": False, "options": options}
    assert client.post("/api/generate", json=asked).json()["response"] == text_of((0, 1))
    wrong = client.post("/api/generate", json=asked | {"options": options | {"style": "x"}})
    assert wrong.status_code == 400 and "austen, poe" in wrong.json()["error"]


def test_a_downloaded_model_keeps_its_styles_and_a_forged_one_is_refused(
    client: httpx2.Client,
) -> None:
    packed = client.get("/models/both/download").content
    imported = client.post("/models/again", content=packed)
    assert imported.json()["styles"] == list(STYLES)
    fields = FIELDS | {"model": "again", "style": "poe"}
    assert client.get("/sample", params=fields).text == text_of((0, 1))
    assert b'"austen"' in packed
    for other in (b'"austEn"', b'"poe"   ', b'"aus,en"', b'"a::ten"'):
        forged = client.post("/models/forged", content=packed.replace(b'"austen"', other))
        assert problem(forged, 422)


FILES = [("corpus", ("austen.txt", TEXT)), ("corpus", ("poe.txt", OTHER))]
LAST = len(TEXT.splitlines(keepends=True)[-1])
PARTS = f"austen:{len(TEXT) + 1},poe:{len(OTHER)}"


def test_each_file_is_a_style(client: httpx2.Client, name: str) -> None:
    sources = client.post("/corpora", files=FILES).json()["sources"]
    assert sources["styles"] == PARTS
    form = {"model": name, "styles": "true"}
    job = client.post("/train", files=FILES[::-1], data=form).json()
    assert job["options"]["styles"] == PARTS
    packed = zip_of({"all/austen/a.txt": TEXT, "all/poe/b.txt": OTHER})
    again = client.post("/train", params={"model": f"{name}z", "styles": "true"}, content=packed)
    assert again.json()["options"]["styles"] == PARTS
    asked = {"model": f"{name}j", "styles": PARTS, "corpus_id": job["corpus_id"]}
    assert client.post("/train", json=asked).json()["options"]["styles"] == PARTS
    plain = client.post("/train", files=FILES, data={"model": f"{name}p"}).json()
    assert "styles" not in plain["options"]
    assert plain["corpus_id"] == job["corpus_id"]


@pytest.mark.parametrize(
    ("styles", "words"),
    [
        ("true", "at least two"),
        ("austen:5", "2 to 64"),
        ("austen:5,poe:x", "must be true, or the parts"),
        ("austen:5,poe:6", f"{len(TEXT):,} bytes together"),
        (f"austen:5,poe:{len(TEXT) - 5}", "begin a line"),
        (f"austen:{len(TEXT) - LAST},poe:{LAST}", f"characters: number 2 has {LAST}"),
        (",".join(f"a{n}:1" for n in range(65)), "2 to 64"),
    ],
)
def test_parts_that_a_text_does_not_have_are_refused(
    client: httpx2.Client, name: str, styles: str, words: str
) -> None:
    answer = client.post("/train", params={"model": name, "styles": styles}, content=TEXT)
    assert words in wrong_fields(answer)["styles"]


def test_what_a_style_cannot_be_named_after_is_refused(client: httpx2.Client, name: str) -> None:
    files = [("corpus", ("日本.txt", TEXT)), ("corpus", ("poe.txt", OTHER))]
    answer = client.post("/train", files=files, data={"model": name, "styles": "true"})
    assert "rename" in wrong_fields(answer)["styles"]
    corpus_id = client.post("/corpora", content=TEXT).json()["id"]
    asked = {"model": name, "corpus_id": corpus_id, "styles": True}
    assert "parts of a corpus" in wrong_fields(client.post("/train", json=asked))["styles"]
    asked["styles"] = "a:300,b:300"
    refused = wrong_fields(client.post("/train", json=asked), "wrong_parts")
    assert "bytes together" in refused["styles"]

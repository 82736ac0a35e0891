"""Looking inside over real HTTP: what is told of texts and cells, and that samples don't wait."""

import dataclasses
import json
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from app.engine import background
from app.routes import inside
from app.schemas.inside import AblatedText, CellPortrait, CellRanking, Inspection, Scores
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.inside.cells import Findings, find_cells
from models.inside.reader import trace
from models.inside.results import analyse, keep_cells, read_cells
from models.text.vocab import Vocabulary
from tests.planted import made, planted, quoting_text
from tests.serving import eventually, problem, serve, wrong_fields
from tests.toys import ALPHABET, toy_checkpoint, with_table, wordy

TEXT = "the quick fox\nand あ cat"
BYTES = Vocabulary("bytes", list(range(256)))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    registry = Registry(data / "models")
    registry.publish(Reference("toy"), toy_checkpoint())
    registry.publish(Reference("toy", "gru"), toy_checkpoint("gru", seed=1))
    registry.publish(Reference("counted"), toy_checkpoint(orders=3))
    registry.publish(Reference("bytes"), toy_checkpoint(vocabulary=BYTES))
    letters = dataclasses.replace(toy_checkpoint(vocabulary=LETTERS), validation=b"letters\n")
    registry.publish(Reference("letters"), letters)
    weights = toy_checkpoint().weights
    huge = weights | {"output.weight": np.sign(weights["output.weight"]) * np.float32(3e38)}
    registry.publish(Reference("huge"), dataclasses.replace(toy_checkpoint(), weights=huge))
    return data


LETTERS = Vocabulary("characters", [0x0A, *range(0x61, 0x7B)])


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx2.Client]:
    with serve(data) as client:
        yield client


@pytest.fixture
def registry(data: Path) -> Registry:
    return Registry(data / "models")


# Inspecting


@pytest.mark.parametrize("model", ["toy", "toy:gru", "counted"])
def test_tells_what_the_network_expects_and_its_cells_show(
    client: httpx2.Client, registry: Registry, model: str
) -> None:
    asked = {"text": TEXT, "top": 3, "layer": 0, "cells": [5, 0]}
    response = client.post(f"/models/{model}/inspect", json=asked)
    assert response.status_code == 200
    told = response.json()
    reference = Reference.parse(model)
    name, digest = reference.name, registry.resolve(reference)
    expected = trace(registry.load(name, digest), TEXT, top=3, layer=0, cells=[5, 0])
    assert told["model"] == model
    assert told["digest"] == digest
    assert (told["layer"], told["cells"], told["unknown"]) == (0, [5, 0], 0)
    assert told["loss"] == pytest.approx(expected.loss)
    assert told["bpc"] == pytest.approx(expected.loss / math.log(2))
    assert "".join(c["char"] for c in told["characters"]) == TEXT
    for place, character in enumerate(told["characters"]):
        assert character["loss"] == pytest.approx(expected.losses[place], rel=1e-5)
        assert character["probability"] == pytest.approx(math.exp(-character["loss"]), rel=1e-4)
        names, shares = zip(*character["top"], strict=True)
        assert list(names) == [ALPHABET.name(id_) for id_ in expected.top_ids[place]]
        assert list(shares) == pytest.approx(expected.top[place].tolist(), rel=1e-5)
        assert sorted(shares, reverse=True) == list(shares)
        assert character["activations"] == pytest.approx(
            expected.activations[place].tolist(), abs=1e-5
        )
        assert all(-1 <= value <= 1 for value in character["activations"])


def test_a_table_is_part_of_what_a_network_expects(client: httpx2.Client) -> None:
    """The same network with it and without: the same cells, other guesses."""
    text = "".join(map(chr, ALPHABET.symbols[wordy(len(ALPHABET), 100)]))
    asked = {"text": text, "cells": [0]}
    both = [client.post(f"/models/{model}/inspect", json=asked) for model in ("toy", "counted")]
    alone, beside = (response.json() for response in both)
    assert beside["loss"] < alone["loss"] - 0.5
    shown = [[c["activations"] for c in told["characters"]] for told in (alone, beside)]
    assert shown[0] == shown[1]


def test_five_guesses_and_no_cells_unless_asked(client: httpx2.Client) -> None:
    told = client.post("/models/toy/inspect", json={"text": "a"}).json()
    assert told["layer"] == 1
    [character] = told["characters"]
    assert len(character["top"]) == 5
    assert character["activations"] == []


def test_the_longest_text_there_may_be(client: httpx2.Client) -> None:
    text = (TEXT * 1000)[:20_000]
    asked = {"text": text, "cells": list(range(20))}
    characters = client.post("/models/toy/inspect", json=asked).json()["characters"]
    assert "".join(c["char"] for c in characters) == text
    assert {len(c["activations"]) for c in characters} == {20}


@pytest.mark.parametrize(
    ("model", "character"), [("toy", "a"), ("bytes", "a"), ("bytes", "あ")], ids=str
)
def test_so_much_work_and_no_more(
    client: httpx2.Client,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    character: str,
) -> None:
    """A large network reads a shorter text; a bytes model's characters count as their bytes."""
    parameters = registry.entry(Reference(model)).config.parameters()
    steps = len(character.encode()) if model == "bytes" else 1
    monkeypatch.setattr(inside, "MAX_WORK", 900 * steps * parameters)
    most, more = {"text": character * 900}, {"text": character * 901}
    assert client.post(f"/models/{model}/inspect", json=most).status_code == 200
    refused = wrong_fields(client.post(f"/models/{model}/inspect", json=more))
    assert "at most 900 characters" in refused["text"]
    assert client.post("/score", json=most | {"models": [model]}).status_code == 200
    refused = wrong_fields(client.post("/score", json=more | {"models": [model]}))
    assert "at most 900 characters" in refused["text"]
    # What all models of a request read counts together.
    refused = wrong_fields(client.post("/score", json=most | {"models": [model] * 3}))
    assert "at most 300 characters" in refused["text"]


def test_bytes_are_told_by_character(client: httpx2.Client) -> None:
    told = client.post("/models/bytes/inspect", json={"text": "aあ😀\r\n", "top": 20}).json()
    assert [c["char"] for c in told["characters"]] == list("aあ😀\r\n")
    guesses = {name for c in told["characters"] for name, _ in c["top"]}
    assert any(name.startswith("\\x") and len(name) == 4 for name in guesses)
    total = sum(c["loss"] for c in told["characters"])
    assert told["loss"] == pytest.approx(total / 5, rel=1e-5)


def test_the_text_is_read_as_the_corpus_was(client: httpx2.Client) -> None:
    told = client.post("/models/toy/inspect", json={"text": "a\r\nb\rc"}).json()
    assert "".join(c["char"] for c in told["characters"]) == "a\nb\nc"


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({}, "text", "missing"),
        ({"text": ""}, "text", "missing"),
        ({"text": "a" * 20_001}, "text", "at most 20,000 characters"),
        ({"text": 5}, "text", "must be text"),
        ({"text": "a", "top": 21}, "top", "from 0 to 20"),
        ({"text": "a", "layer": 2}, "layer", "from -2 to 1"),
        ({"text": "a", "layer": -3}, "layer", "from -2 to 1"),
        ({"text": "a", "cells": [24]}, "cells", "from 0 to 23"),
        ({"text": "a", "cells": [-1]}, "cells", "from 0 to 23"),
        ({"text": "a", "cells": "1"}, "cells", "list"),
        ({"text": "a", "cells": [1] * 5000}, "cells", "items"),
        ({"text": "a" * 20_000, "cells": [1] * 51}, "cells", "at most 50"),
        ({"text": "a", "unknown": "guess"}, "unknown", "error or skip"),
        ({"text": "abc", "seams": [0]}, "seams", "within the text, in increasing order"),
        ({"text": "abc", "seams": [2, 2]}, "seams", "within the text, in increasing order"),
        ({"text": "abc", "seams": [3]}, "seams", "within the text, in increasing order"),
        ({"text": "a" * 200, "seams": list(range(1, 103))}, "seams", "at most 100"),
        ({"text": "abc", "hypothesis": "magic"}, "hypothesis", "must be one of quotes, parenth"),
        ({"text": "abc", "digits": 7}, "digits", "from 2 to 6"),
        ({"text": "a", "temperature": 1}, "temperature", "is unknown; known fields are text, top"),
        ({"text": "aÜ漢"}, "text", "'Ü', '漢'"),
        ({"text": "Ü漢", "unknown": "skip"}, "text", "no character that the model knows"),
    ],
)
def test_what_is_wrong_is_said(
    client: httpx2.Client, fields: dict[str, Any], field: str, words: str
) -> None:
    errors = wrong_fields(client.post("/models/toy/inspect", json=fields))
    assert set(errors) == {field}
    assert words in errors[field]


def test_bodies_that_are_none(client: httpx2.Client) -> None:
    for path in ("/models/toy/inspect", "/score"):
        assert wrong_fields(client.post(path, content=b"{")).keys() == {"body"}
        assert wrong_fields(client.post(path, content=b"[1]")).keys() == {"body"}
        assert problem(client.post(path, content=b" " * (1 << 19) + b"{}"), 413)
        assert wrong_fields(client.post(f"{path}?text=a", json={"text": "a"})).keys() == {"text"}


def test_unknown_characters_can_be_left_out(client: httpx2.Client) -> None:
    fields = {"text": "aÜbÜ", "unknown": "skip"}
    told = client.post("/models/toy/inspect", json=fields).json()
    assert "".join(c["char"] for c in told["characters"]) == "ab"
    assert told["unknown"] == 2


def test_half_a_surrogate_pair_is_no_text(client: httpx2.Client) -> None:
    """JSON can say it, and UTF-8 can't."""
    for path, fields in (("/models/toy/inspect", ""), ("/score", ', "models": ["toy"]')):
        response = client.post(path, content='{"text": "a\\ud83d"' + fields + "}")
        assert "must be text" in wrong_fields(response)["text"]


def test_each_part_is_read_from_the_zero_state(client: httpx2.Client) -> None:
    """As if it had been asked about by itself."""
    parts = ["the \r\n", "Üquick fox", "Ü漢", "and a"]
    seams = [6, 16, 18]
    fields = {"cells": [3], "layer": 0, "top": 2, "unknown": "skip"}
    asked = fields | {"text": "".join(parts), "seams": seams}
    told = client.post("/models/toy/inspect", json=asked).json()
    # Of the third part nothing is left.
    assert told["seams"] == [5, 14]
    assert told["unknown"] == 3
    alone = [
        client.post("/models/toy/inspect", json=fields | {"text": part}).json()["characters"]
        for part in (parts[0], parts[1], parts[3])
    ]
    assert told["characters"] == [*alone[0], *alone[1], *alone[2]]
    together = client.post("/models/toy/inspect", json=asked | {"seams": []}).json()
    assert together["seams"] == []
    assert together["characters"][:5] == told["characters"][:5]
    assert together["characters"][5]["loss"] != told["characters"][5]["loss"]


def test_the_truth_about_each_character(client: httpx2.Client) -> None:
    text = "the fox\n ab"
    asked: dict[str, Any] = {"text": text, "hypothesis": "column"}
    told = client.post("/models/toy/inspect", json=asked).json()["characters"]
    assert [one["truth"] for one in told] == [1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3]
    # What is open before a seam is not open after it.
    asked |= {"seams": [3]}
    told = client.post("/models/toy/inspect", json=asked).json()["characters"]
    assert [one["truth"] for one in told] == [1, 2, 3, 1, 2, 3, 4, 0, 1, 2, 3]
    asked = {"text": text, "hypothesis": "word-position"}
    told = client.post("/models/toy/inspect", json=asked).json()["characters"]
    assert [one["truth"] for one in told][:5] == [1, 2, 3, None, 1]
    told = client.post("/models/toy/inspect", json={"text": text}).json()["characters"]
    assert "truth" not in told[0]


def test_fewer_digits_are_a_smaller_answer(client: httpx2.Client) -> None:
    asked = {"text": TEXT * 20, "cells": list(range(20))}
    long = client.post("/models/toy/inspect", json=asked)
    short = client.post("/models/toy/inspect", json=asked | {"digits": 3})
    assert len(short.content) < 0.8 * len(long.content)
    for one, other in zip(long.json()["characters"], short.json()["characters"], strict=True):
        assert other["activations"] == pytest.approx(one["activations"], rel=1e-2)


@pytest.mark.parametrize("model", ["nobody", "toy:nothing", "Toy", "toy:", "..%2Ftoy"])
def test_no_such_model(client: httpx2.Client, model: str) -> None:
    assert problem(client.post(f"/models/{model}/inspect", json={"text": "a"}), 404)
    assert problem(client.get(f"/models/{model}/cells"), 404)


def test_numbers_that_overflow_are_no_mistake_of_the_server(client: httpx2.Client) -> None:
    response = client.post("/models/huge/inspect", json={"text": "a"})
    assert "overflows" in wrong_fields(response, "not_finite")["model"]
    response = client.post("/score", json={"text": "a", "models": ["huge"]})
    assert wrong_fields(response).keys() == {"model"}


# Which cells


def ranking(client: httpx2.Client, model: str) -> dict[str, Any]:
    def ready() -> httpx2.Response | None:
        response = client.get(f"/models/{model}/cells")
        return None if response.status_code == 202 else response

    response: httpx2.Response = eventually(ready, 60)
    assert response.status_code == 200
    told: dict[str, Any] = response.json()
    return told


def test_cells_are_searched_once(client: httpx2.Client, registry: Registry) -> None:
    """The first to ask waits, with others or alone; what is found goes with the model."""
    checkpoint = made(planted(), quoting_text(20_000))
    digest = registry.publish(Reference("planted"), checkpoint)
    response = client.get("/models/planted/cells")
    assert response.status_code == 202
    assert int(response.headers["retry-after"]) > 0
    assert response.json() == {"hypotheses": None, "share": None, "passages": None}
    told = ranking(client, "planted")
    assert told == find_cells(checkpoint) == read_cells(registry, "planted", digest)
    assert {h["name"] for h in told["hypotheses"]} >= {"quotes", "column"}
    assert client.get("/models/planted:latest/cells").json() == told
    assert client.delete("/models/planted").status_code == 204
    assert problem(client.get("/models/planted/cells"), 404)
    assert not (registry.root / "planted").exists()


def test_cells_beside_a_table_are_searched_too(client: httpx2.Client, registry: Registry) -> None:
    checkpoint = made(planted(), quoting_text(5000))
    registry.publish(Reference("planted-beside"), with_table(checkpoint))
    assert ranking(client, "planted-beside") == find_cells(checkpoint)
    client.delete("/models/planted-beside")


def test_a_model_replaced_meanwhile_is_searched_anew(
    client: httpx2.Client, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a model that changes or goes while its cells are searched nobody hears old findings."""
    go = threading.Event()
    searched: list[str] = []

    def held(registry: Registry, name: str, digest: str, stopped: Any) -> Findings | None:
        searched.append(digest)
        go.wait(20)
        return analyse(registry, name, digest, stopped)

    monkeypatch.setattr(background, "analyse", held)
    old = registry.publish(Reference("changing"), made(planted(), quoting_text(5_000)))
    assert client.get("/models/changing/cells").status_code == 202
    eventually(lambda: searched == [old])
    checkpoint = made(planted(True), quoting_text(20_000))
    new = [registry.publish(Reference("changing"), one) for one in (toy_checkpoint(), checkpoint)]
    assert client.get("/models/changing/cells").status_code == 202
    go.set()
    assert ranking(client, "changing") == find_cells(checkpoint)
    assert searched == [old, new[1]]
    client.delete("/models/changing")
    assert problem(client.get("/models/changing/cells"), 404, "unknown_model")


def test_what_a_worker_found_is_there_at_once(client: httpx2.Client, registry: Registry) -> None:
    digest = registry.resolve(Reference("letters"))
    found: Findings = {"hypotheses": [], "share": 0.25, "passages": []}
    keep_cells(registry, "letters", digest, found)
    response = client.get("/models/letters/cells")
    assert response.status_code == 200
    assert response.json() == found
    # It is no part of what the digest stands for.
    assert registry.load("letters", digest)


def test_a_model_without_text_to_tell_by(client: httpx2.Client) -> None:
    assert ranking(client, "toy") == {"hypotheses": [], "share": None, "passages": []}


def test_a_search_that_fails_says_so_and_is_tried_again(
    client: httpx2.Client, registry: Registry
) -> None:
    digest = registry.publish(Reference("broken"), made(planted(), quoting_text(5000)))
    weights = registry.root / "broken" / digest / "model.safetensors"
    sound = weights.read_bytes()
    weights.write_bytes(sound[:-4])

    def answered() -> httpx2.Response | None:
        response = client.get("/models/broken/cells")
        return None if response.status_code == 202 else response

    assert "damaged" in problem(eventually(answered), 404)["detail"]
    weights.write_bytes(sound)
    assert ranking(client, "broken")["share"] is not None


# Which model


def test_the_best_model_has_the_fewest_bits(client: httpx2.Client, registry: Registry) -> None:
    models = ["toy", "toy:gru", "counted", "bytes"]
    told = client.post("/score", json={"text": TEXT, "models": models}).json()
    assert [score["model"] for score in told["scores"]] == models
    for score in told["scores"]:
        reference = Reference.parse(score["model"])
        name, digest = reference.name, registry.resolve(reference)
        assert score["loss"] == pytest.approx(trace(registry.load(name, digest), TEXT).loss)
        assert score["bpc"] == pytest.approx(score["loss"] / math.log(2))
        assert score["unknown"] == 0
    best = min(told["scores"], key=lambda score: score["bpc"])
    assert told["best"] == best["model"]


def test_a_model_is_not_the_best_for_knowing_little(client: httpx2.Client) -> None:
    """It is charged for what it does not know; its own bits are of what it knows."""
    text = "a" + "あ" * 50
    told = client.post("/score", json={"text": text, "models": ["letters", "toy"]}).json()
    letters, toy = told["scores"]
    assert (letters["unknown"], toy["unknown"]) == (50, 0)
    known = client.post("/score", json={"text": "a", "models": ["letters"]}).json()["scores"][0]
    assert letters["bpc"] == known["bpc"]
    assert told["best"] == "toy"


def test_a_text_that_no_model_knows(client: httpx2.Client) -> None:
    told = client.post("/score", json={"text": "漢字", "models": ["letters", "toy"]}).json()
    assert told["best"] is None
    assert told["scores"][0] == {"model": "letters", "loss": None, "bpc": None, "unknown": 2}


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"models": ["toy"]}, "text", "missing"),
        ({"text": "a"}, "models", "missing"),
        ({"text": "a", "models": []}, "models", "at least 1"),
        ({"text": "a", "models": ["toy"] * 9}, "models", "at most 8"),
        ({"text": "a", "models": ["Toy"]}, "models.0", "lower-case"),
        ({"text": "aÜ", "models": ["toy"], "unknown": "error"}, "text", "'Ü'"),
    ],
)
def test_what_is_wrong_with_a_score_is_said(
    client: httpx2.Client, fields: dict[str, Any], field: str, words: str
) -> None:
    errors = wrong_fields(client.post("/score", json=fields))
    assert set(errors) == {field}
    assert words in errors[field]


def test_scores_of_no_such_model(client: httpx2.Client) -> None:
    assert problem(client.post("/score", json={"text": "a", "models": ["toy", "nobody"]}), 404)


def test_the_documentation_knows_them(client: httpx2.Client) -> None:
    schema = json.loads(client.get("/openapi.json").text)
    paths = schema["paths"]
    answers = {
        ("/models/{model}/inspect", "post"): {"200", "404", "413", "415", "422", "503"},
        ("/models/{model}/cells", "get"): {"200", "202", "404", "422", "503"},
        ("/models/{model}/cells/{layer}/{cell}", "get"): {"200", "202", "404", "422", "503"},
        ("/models/{model}/ablate", "post"): {"200", "404", "413", "415", "422", "503"},
        ("/score", "post"): {"200", "404", "413", "415", "422", "503"},
    }
    for (path, method), statuses in answers.items():
        # Keys and rates add theirs to every endpoint.
        assert set(paths[path][method]["responses"]) == statuses | {"401", "403", "429"}
    for model in (Inspection, CellRanking, CellPortrait, AblatedText, Scores):
        example = schema["components"]["schemas"][model.__name__]["example"]
        assert model.model_validate(example).model_dump(mode="json") == example

"""One cell over real HTTP: its portrait, and what is written without it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.routes import inside
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.inside.cells import find_cells
from models.inside.portrait import portrait
from tests.planted import QUOTES, made, planted, quoting_text
from tests.serving import eventually, problem, serve, wrong_fields
from tests.toys import toy_checkpoint


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    registry = Registry(tmp_path_factory.mktemp("data") / "models")
    registry.publish(Reference("toy"), toy_checkpoint())
    return registry


@pytest.fixture(scope="module")
def client(registry: Registry) -> Iterator[httpx2.Client]:
    with serve(Path(registry.root).parent) as client:
        yield client


def answered(client: httpx2.Client, path: str) -> httpx2.Response | None:
    response = client.get(path)
    return None if response.status_code == 202 else response


def test_a_cell_has_a_portrait(client: httpx2.Client, registry: Registry) -> None:
    checkpoint = made(planted(), quoting_text(20_000))
    registry.publish(Reference("portrayed"), checkpoint)
    path = f"/models/portrayed/cells/0/{QUOTES}"
    response = client.get(path)
    assert response.status_code == 202
    assert response.json()["tracks"] is None
    response = eventually(lambda: answered(client, path), 60)
    told = response.json()
    findings = find_cells(checkpoint)
    expected = portrait(checkpoint, findings, 0, QUOTES)
    assert {name: told[name] for name in expected} == expected
    assert "quotes" in [one["name"] for one in told["tracks"]]
    assert (told["model"], told["layer"], told["cell"]) == ("portrayed", 0, QUOTES)
    for layer, cell, field in ((1, 0, "layer"), (-1, 0, "layer"), (0, 16, "cell"), (0, -1, "cell")):
        response = client.get(f"/models/portrayed/cells/{layer}/{cell}")
        assert "must be a whole number from 0 to" in wrong_fields(response)[field]
    assert wrong_fields(client.get("/models/portrayed/cells/0/x")).keys() == {"cell"}
    assert problem(client.get("/models/nobody/cells/0/0"), 404)
    client.delete("/models/portrayed")


def test_a_text_with_and_without_a_cell(client: httpx2.Client) -> None:
    fields = {"prime": "the ", "length": 50, "seed": 7, "temperature": 0.5}
    told = client.post("/models/toy/ablate", json=fields | {"layer": 1, "cells": [3]}).json()
    sampled = fields | {"model": "toy", "precision": "exact"}
    assert told["whole"] == client.post("/sample", json=sampled).text
    assert len(told["ablated"]) == 50
    assert told["ablated"] != told["whole"]
    assert (told["layer"], told["cells"], told["seed"], told["unknown"]) == (1, [3], 7, 0)
    # Without a seed one is drawn, and told.
    fields.pop("seed")
    drawn = client.post("/models/toy/ablate", json=fields | {"cells": [3]}).json()
    again = client.post("/models/toy/ablate", json=fields | {"cells": [3], "seed": drawn["seed"]})
    assert again.json() == drawn


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({}, "cells", "missing"),
        ({"cells": []}, "cells", "at least 1"),
        ({"cells": [24]}, "cells", "from 0 to 23"),
        ({"cells": [0], "layer": 2}, "layer", "from -2 to 1"),
        ({"cells": [0], "length": 2001}, "length", "from 1 to 2000"),
        ({"cells": [0], "prime": "a" * 2001}, "prime", "at most 2,000"),
        ({"cells": [0], "prime": "Ü"}, "prime", "'Ü'"),
        ({"cells": [0], "temperature": 11}, "temperature", "0.01 to 10"),
        ({"cells": [0], "style": "austen"}, "style", "has no styles"),
    ],
)
def test_what_cannot_be_ablated(
    client: httpx2.Client, fields: dict[str, Any], field: str, words: str
) -> None:
    errors = wrong_fields(client.post("/models/toy/ablate", json=fields))
    assert set(errors) == {field}
    assert words in errors[field]


def test_an_ablation_has_bounded_work(
    client: httpx2.Client, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = registry.entry(Reference("toy")).config.parameters()
    monkeypatch.setattr(inside, "MAX_WORK", 2 * 20 * parameters)
    fields = {"cells": [0], "prime": "a" * 10}
    assert client.post("/models/toy/ablate", json=fields | {"length": 10}).status_code == 200
    refused = wrong_fields(client.post("/models/toy/ablate", json=fields | {"length": 11}))
    assert "at most 20 with the prime" in refused["length"]

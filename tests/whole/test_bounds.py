"""What the contract says of the bounds of each endpoint is true: at the bound and past it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.engine.background import MAX_SEARCHES, MAX_WAITING, SEARCH_SECONDS
from app.http.bodies import MAX_FIELD, MAX_JSON
from app.http.ranges import STALLED_SECONDS
from app.main import create_app
from app.routes import inside, names
from app.routes.dialects.requests import MAX_CHOICES
from app.routes.services import BUNDLES, DOWNLOADS, SCANS
from app.routes.together import MAX_WRITTEN
from app.schemas.common import MAX_TEXT
from app.schemas.inside import MAX_CELLS, MAX_MODELS
from app.schemas.texts import MAX_BODY, MAX_PRIME, MAX_TEXTS
from app.settings import ServerSettings
from models.checkpoints import format as checkpoint_format
from models.checkpoints.archive import MAX_EXPANSION
from models.checkpoints.card import MAX_CARD
from models.checkpoints.history import MAX_HISTORY, MAX_LINE, MAX_LOSSES, MAX_SAMPLES
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.decoding.sampling import MAX_STOP, MAX_STOPS
from models.inside import cells
from tests.serving import problem, serve, wrong_fields
from tests.support import ROOT
from tests.toys import toy_checkpoint

CONTRACT = (ROOT / "docs" / "http-api.md").read_text(encoding="utf-8")
TABLE = CONTRACT.split("## Bounds")[1].split("## Training")[0]
ROWS = dict(re.findall(r"^\| `([A-Z]+ /\S*)` \|(.*)\|$", TABLE, re.M))


def endpoints() -> set[str]:
    paths = create_app(ServerSettings()).openapi()["paths"]
    return {f"{method.upper()} {path}" for path, found in paths.items() for method in found}


def test_the_table_has_each_endpoint_and_no_other() -> None:
    assert len(re.findall(r"^\| `", TABLE, re.M)) == len(ROWS)
    assert ROWS.keys() == endpoints()
    assert {row.count("|") for row in ROWS.values()} == {3}


def size(count: int) -> str:
    unit, name = (1 << 20, "MiB") if count % (1 << 20) == 0 else (1 << 10, "KiB")
    return f"{count // unit} {name}"


FIGURES = {
    "POST /train": (size(MAX_FIELD), f"JSON of {size(MAX_JSON)}"),
    "POST /jobs/{job_id}/resume": (size(MAX_JSON),),
    "POST /models/{model}": (
        f"{MAX_EXPANSION} times",
        f"config {size(checkpoint_format._LIMITS['config.json'])}",
        f"card {size(MAX_CARD)}",
        f"vocabulary {size(checkpoint_format.MAX_JSON)}",
        f"history {size(MAX_HISTORY)} in lines of {size(MAX_LINE)}",
        f"hashes {size(8 * checkpoint_format.MAX_LINES)}",
    ),
    "GET /models/{model}/history": (f"{MAX_LOSSES:,} losses", f"{MAX_SAMPLES:,} samples"),
    "GET /models/{model}/download": (f"{DOWNLOADS} at once", f"{STALLED_SECONDS:.0f} s"),
    "POST /sample": (
        size(MAX_BODY),
        f"{MAX_PRIME:,} characters",
        f"four stops of {MAX_STOP}",
        "128 primes",
    ),
    "GET /names": (
        f"{names.DRAWS_PER_NAME} draws",
        f"{names.MAX_CHARACTERS:,} characters",
        f"{names.SECONDS:.0f} s",
        f"{names.AHEAD} streams",
    ),
    "POST /models/{model}/inspect": (
        f"JSON of {size(inside.MAX_BODY)}",
        f"{MAX_TEXT:,} characters",
        f"{MAX_CELLS:,} cells",
        f"{inside.MAX_ACTIVATIONS:,}",
        f"work of 10^{len(str(inside.MAX_WORK)) - 1}",
        f"{inside.READ_SECONDS:.0f} s",
        f"{MAX_WAITING} wait",
    ),
    "GET /models/{model}/cells": (
        f"work of {cells.MAX_WORK // 10**12} × 10^12",
        f"{SEARCH_SECONDS:.0f} s",
        f"{MAX_SEARCHES} wait, {MAX_SEARCHES // 2} of a caller",
    ),
    "POST /score": (f"{MAX_TEXT:,} characters", f"{MAX_MODELS} models"),
    "POST /v1/completions": (size(MAX_BODY), f"{MAX_TEXTS} texts", f"{MAX_WRITTEN:,} in all"),
    "POST /v1/chat/completions": (size(MAX_BODY), f"{MAX_CHOICES} texts"),
    "POST /api/generate": (size(MAX_BODY), f"{MAX_STOPS:,} characters in all"),
    "POST /api/show": (size(MAX_BODY),),
}


@pytest.mark.parametrize("endpoint", FIGURES)
def test_its_figures_are_the_codes(endpoint: str) -> None:
    for figure in FIGURES[endpoint]:
        assert figure in ROWS[endpoint]
    assert (SCANS, BUNDLES) == (2, 1)


# At the bounds


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    data = tmp_path_factory.mktemp("data")
    Registry(data / "models").publish(Reference("toy"), toy_checkpoint(hidden_size=64))
    with serve(data) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "fields", "limit"),
    [
        ("/models/toy/inspect", {"text": "a"}, inside.MAX_BODY),
        ("/score", {"text": "a", "models": ["toy"]}, inside.MAX_BODY),
        ("/sample", {"model": "toy", "length": 1}, MAX_BODY),
        ("/v1/completions", {"model": "toy", "max_tokens": 1}, MAX_BODY),
        ("/api/generate", {"model": "toy", "options": {"num_predict": 1}}, MAX_BODY),
        ("/api/show", {"model": "toy"}, MAX_BODY),
    ],
)
def test_a_body_at_its_bound_and_past_it(
    client: httpx2.Client, path: str, fields: dict[str, Any], limit: int
) -> None:
    body = json.dumps(fields).encode()
    headers = {"Content-Type": "application/json"}
    most = client.post(path, content=body + b" " * (limit - len(body)), headers=headers)
    assert most.status_code == 200, most.text
    past = client.post(path, content=body + b" " * (limit - len(body) + 1), headers=headers)
    assert past.status_code == 413


@pytest.mark.parametrize("path", ["/models", "/jobs", "/corpora"])
def test_a_list_has_so_many_and_no_more(client: httpx2.Client, path: str) -> None:
    assert client.get(path, params={"limit": 100}).status_code == 200
    assert wrong_fields(client.get(path, params={"limit": 101})).keys() == {"limit"}


def test_the_longest_inspection_fits_its_bound(client: httpx2.Client) -> None:
    """20,000 characters, 20 guesses each, and as many cells as may be asked for with that."""
    fields = {"text": "a b\n" * 5000, "top": 20, "cells": list(range(50))}
    answer = client.post("/models/toy/inspect", json=fields, timeout=60)
    assert answer.status_code == 200
    assert len(answer.content) < 25_000_000
    cut = fields | {"cells": list(range(51))}
    assert wrong_fields(client.post("/models/toy/inspect", json=cut)).keys() == {"cells"}


def test_eight_models_are_compared_and_no_more(client: httpx2.Client) -> None:
    for count, status in ((MAX_MODELS, 200), (MAX_MODELS + 1, 422)):
        fields = {"text": "a", "models": ["toy"] * count}
        assert client.post("/score", json=fields).status_code == status


def test_an_import_at_its_bound_and_past_it(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    registry.publish(Reference("toy"), toy_checkpoint())
    with serve(tmp_path) as client:
        archive = client.get("/models/toy/download").content
    for limit, status in ((len(archive), 201), (len(archive) - 1, 413)):
        with serve(tmp_path, max_upload_bytes=limit) as client:
            response = client.post("/models/other", content=archive)
            assert response.status_code == status
            if status == 413:
                problem(response, 413, "body_too_large")

"""Fixtures: models that never were trained, a server that has them, and a whole service."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from app.terminal import connect
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.commands import environment
from tests.serving import TEXT, serve
from tests.toys import toy_checkpoint


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with models that never were trained."""
    data = tmp_path_factory.mktemp("data")
    registry = Registry(data / "models")
    card: dict[str, Any] = {
        "created_at": "2026-01-02T03:04:05.000Z",
        "precision": {"exact": 2.0, "fast": 2.0},
    }
    registry.publish(Reference("toy"), replace(toy_checkpoint(**card), lines=np.array([1], "u8")))
    registry.publish(Reference("toy", "v1"), toy_checkpoint(seed=1, orders=3, **card))
    return data


@pytest.fixture(scope="module")
def client(models: Path) -> Iterator[httpx2.Client]:
    with serve(models) as client:
        yield client


@pytest.fixture(scope="module")
def url(client: httpx2.Client) -> str:
    return str(client.base_url)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of a service that runs, as `charloom up` runs it."""
    data = tmp_path_factory.mktemp("running")
    place = connect.Place(data)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment().items():
            patch.setenv(name, value)
        for name in [name for name in os.environ if name not in environment()]:
            patch.delenv(name)
        with connect.everything(place):
            yield data


@pytest.fixture
def bottles(tmp_path: Path) -> Path:
    file = tmp_path / "bottles.txt"
    file.write_text(TEXT)
    return file

"""Fixtures of the server's tests: a data directory with small models, and a server of them."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import ollama
import openai
import pytest

from app.engine import streams
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.dialects import openai_client
from tests.serving import serve
from tests.toys import BYTES, toy_checkpoint
from tests.uploads import names


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow readers keep their rows, also on a busy machine; in test_full_server.py they do not."""
    monkeypatch.setattr(streams, "PATIENCE_SECONDS", 300.0)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``toy`` is best fast, ``toy:rough`` exact, and ``counted`` has an n-gram table."""
    data = tmp_path_factory.mktemp("data")
    registry = Registry(data / "models")
    registry.publish(Reference("toy"), toy_checkpoint(precision={"exact": 2.0, "fast": 2.005}))
    registry.publish(
        Reference("toy", "rough"), toy_checkpoint(precision={"exact": 2.0, "fast": 2.02})
    )
    registry.publish(Reference("gru"), toy_checkpoint("gru"))
    registry.publish(Reference("counted"), toy_checkpoint(orders=5))
    registry.publish(Reference("bytes"), toy_checkpoint(vocabulary=BYTES))
    return data


@pytest.fixture(scope="module")
def client(toys: Path) -> Iterator[httpx2.Client]:
    """Of a server of the toys."""
    with serve(toys, max_streams=200) as client:
        yield client


@pytest.fixture(scope="module")
def dated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with ``toy`` and ``toy:v1``, of 2026-01-02, and ``bytes``."""
    data = tmp_path_factory.mktemp("data")
    registry = Registry(data / "models")
    date = "2026-01-02T03:04:05.000Z"
    registry.publish(Reference("toy"), toy_checkpoint(created_at=date))
    registry.publish(Reference("toy", "v1"), toy_checkpoint(seed=1, created_at=date))
    registry.publish(Reference("bytes"), toy_checkpoint(vocabulary=BYTES))
    return data


@pytest.fixture(scope="module")
def ai(client: httpx2.Client) -> Iterator[openai.OpenAI]:
    """OpenAI's client of the module's server."""
    with openai_client(client) as ai:
        yield ai


@pytest.fixture(scope="module")
def llama(client: httpx2.Client) -> Iterator[ollama.Client]:
    """Ollama's client of the module's server."""
    with ollama.Client(host=str(client.base_url)) as llama:
        yield llama


@pytest.fixture
def name() -> str:
    """A model name that no other test has."""
    return next(names)

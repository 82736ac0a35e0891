"""Below a path, with or without it in the request."""

from collections.abc import Iterator

import httpx2
import pytest

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.serving import serve
from tests.toys import toy_checkpoint


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    data = tmp_path_factory.mktemp("data")
    Registry(data / "models").publish(Reference("toy"), toy_checkpoint())
    with serve(data, root_path="/loom/deep", api_keys="open-sesame:admin") as client:
        yield client


def test_a_request_means_the_same_with_and_without_the_path(client: httpx2.Client) -> None:
    chief = {"Authorization": "Bearer open-sesame"}
    for path in ("/models/toy", "/healthz", "/jobs", "/nothing"):
        with_it, without = (
            client.get(f"{root}{path}", headers=chief) for root in ("/loom/deep", "")
        )
        assert with_it.status_code == without.status_code
        assert with_it.json() == without.json()


def test_the_guard_sees_the_path_that_is_served(client: httpx2.Client) -> None:
    assert client.get("/loom/deep/healthz").status_code == 200
    assert client.get("/loom/deep/jobs").status_code == 401
    # Of a path that only looks like it, nothing is taken off.
    for path in ("/loom/deeper/healthz", "/loom/healthz", "/loom/deep/loom/deep/healthz"):
        assert client.get(path).status_code == 401, path

"""A query field that an endpoint does not have is refused."""

import re
from collections.abc import Iterator

import httpx2
import pytest

from tests.serving import serve, wrong_fields


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with serve(tmp_path_factory.mktemp("data")) as client:
        yield client


@pytest.mark.parametrize(
    "path", ["/jobs/0", "/jobs/0/events", "/corpora/0", "/models/x", "/models/x/history"]
)
def test_a_query_field_where_there_are_none(client: httpx2.Client, path: str) -> None:
    response = client.get(path, params={"verbose": "1"})
    assert "is unknown; this endpoint takes no fields" in wrong_fields(response)["verbose"]


def test_an_unknown_field_is_told_which_there_are(client: httpx2.Client) -> None:
    wrong = wrong_fields(client.get("/jobs?page=2"))
    assert re.search(r"\blimit\b.*\bcursor\b", wrong["page"])

"""A query has the fields of its route, each of them once."""

import re
from collections.abc import Iterator

import httpx2
import pytest

from tests.serving import TEXT, problem, serve, wrong_fields


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with serve(tmp_path_factory.mktemp("data")) as client:
        yield client


@pytest.mark.parametrize("path", ["/jobs/0", "/jobs/0/events", "/corpora/0", "/models/x"])
def test_a_query_field_where_there_are_none(client: httpx2.Client, path: str) -> None:
    response = client.get(path, params={"verbose": "1"})
    assert "is unknown; this endpoint takes no fields" in wrong_fields(response)["verbose"]


def test_an_unknown_field_is_told_which_there_are(client: httpx2.Client) -> None:
    wrong = wrong_fields(client.get("/jobs?page=2"))
    assert re.search(r"\blimit\b.*\bcursor\b", wrong["page"])


@pytest.mark.parametrize("query", ["limit=1&limit=2", "limit=1&limit=1", "limit=&limit=1"])
def test_a_field_comes_once(client: httpx2.Client, query: str) -> None:
    assert wrong_fields(client.get(f"/jobs?{query}")) == {
        "limit": "was sent more than once: send it once"
    }


def test_a_list_may_come_more_than_once(client: httpx2.Client) -> None:
    response = client.get("/sample?model=nobody&stop=a&stop=b")
    problem(response, 404, "unknown_model")


def test_a_field_name_that_looks_like_none_is_not_repeated(client: httpx2.Client) -> None:
    response = client.get("/jobs?<script>=1")
    assert "script" not in response.text
    assert wrong_fields(response).keys() == {"(invalid name)"}


def test_a_field_name_that_is_none_is_not_repeated(client: httpx2.Client) -> None:
    response = client.post("/train?model=m&<script>=1", content=TEXT)
    assert "script" not in response.text
    assert problem(response, 422)

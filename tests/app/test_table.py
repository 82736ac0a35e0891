"""Every endpoint is classified: what nobody classified needs an admin's key."""

import pytest

from app.access.table import TABLE, VIEWS, need, needed_for
from tests.endpoints import declared


def test_every_endpoint_is_classified() -> None:
    classified = {entry for entries in TABLE.values() for entry in entries}
    pages = {f"GET {path}" for path in VIEWS}
    assert len(declared()) > 30
    assert declared() - classified - pages == set()
    assert len(classified) == sum(map(len, TABLE.values())), "an endpoint is classified twice"


@pytest.mark.parametrize(
    ("method", "path", "accept", "needed"),
    [
        ("GET", "/healthz", "", "nothing"),
        ("GET", "/sample", "", "public"),
        ("POST", "/score", "", "sample"),
        ("POST", "/train", "", "train"),
        ("DELETE", "/models/linux", "", "admin"),
        ("GET", "/models", "text/html", "nothing"),
        ("GET", "/models", "application/json", "public"),
        ("GET", "/nobody/knows", "", "admin"),
        ("PATCH", "/sample", "", "admin"),
    ],
)
def test_what_a_request_needs(method: str, path: str, accept: str, needed: str) -> None:
    assert needed_for(method, path, accept) == needed


def test_head_needs_what_get_needs() -> None:
    for path in ("/sample", "/jobs", "/metrics"):
        assert need({"method": "HEAD", "path": path, "headers": []}) == needed_for("GET", path)

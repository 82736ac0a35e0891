"""Every endpoint is classified, and one that is not needs an admin."""

from collections.abc import Iterator

import httpx2
import pytest

from app.access.table import TABLE, VIEWS, need, needed_for
from tests.endpoints import declared
from tests.serving import problem, serve

OPEN = {
    "GET /",
    "GET /docs",
    "GET /healthz",
    "GET /openapi.json",
    "GET /readyz",
    "GET /static/{version}/{path:path}",
    "GET /widget/access",
    "GET /widget/charloom-names.d.ts",
    "GET /widget/charloom-names.js",
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """Of a server with keys and nothing public."""
    with serve(tmp_path_factory.mktemp("data"), api_keys="the-chief:admin") as client:
        yield client


def test_every_endpoint_is_classified() -> None:
    classified = {entry for entries in TABLE.values() for entry in entries}
    pages = {f"GET {path}" for path in VIEWS}
    assert len(declared()) > 30
    assert declared() - classified - pages == set()
    assert len(classified) == sum(map(len, TABLE.values())), "an endpoint is classified twice"


@pytest.mark.parametrize("endpoint", sorted(declared()))
def test_every_endpoint_but_the_open_ones_wants_a_key(client: httpx2.Client, endpoint: str) -> None:
    method, path = endpoint.split()
    path = path.replace("{path:path}", "x").replace("{", "").replace("}", "")
    response = client.request(method, path)
    if endpoint in OPEN:
        assert response.status_code != 401
    elif path == "/train/job_id":
        # Only a page, which is for those who prefer HTML.
        assert response.status_code == 401
    else:
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == 'Bearer realm="charloom"'
        assert (
            client.request(method, path, headers={"Authorization": "Bearer stranger"}).status_code
            == 401
        )


def test_the_pages_are_open_and_what_shares_their_url_is_not(client: httpx2.Client) -> None:
    for path in ("/", "/train", "/train/1", "/names", "/models"):
        page = client.get(path, headers={"Accept": "text/html"})
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
    problem(client.get("/models"), 401)
    problem(client.post("/train", headers={"Accept": "text/html"}), 401)


@pytest.mark.parametrize(
    ("method", "path", "accept", "need"),
    [
        ("GET", "/models", "", "public"),
        ("GET", "/models", "text/html", "nothing"),
        ("GET", "/models/toy", "text/html", "public"),
        ("GET", "/models/toy/cells", "", "public"),
        ("POST", "/models/toy", "", "admin"),
        ("GET", "/models/", "", "admin"),
        ("GET", "/models/a/b", "", "admin"),
        ("POST", "/train", "text/html", "train"),
        ("GET", "/train/1", "text/html", "nothing"),
        ("GET", "/train/1", "", "admin"),
        ("GET", "/static/1/js/main.js", "", "nothing"),
        ("PUT", "/models/toy", "", "admin"),
        ("GET", "/healthz", "", "nothing"),
        ("GET", "/sample", "", "public"),
        ("POST", "/score", "", "sample"),
        ("POST", "/train", "", "train"),
        ("DELETE", "/models/linux", "", "admin"),
        ("GET", "/models", "application/json", "public"),
        ("PATCH", "/sample", "", "admin"),
        ("GET", "/nothing", "", "admin"),
        ("GET", "/MODELS", "", "admin"),
    ],
)
def test_what_an_endpoint_needs(method: str, path: str, accept: str, need: str) -> None:
    assert needed_for(method, path, accept) == need


def test_head_needs_what_get_needs() -> None:
    for path in ("/sample", "/jobs", "/metrics"):
        assert need({"method": "HEAD", "path": path, "headers": []}) == needed_for("GET", path)

"""The pages over HTTP: who gets HTML, how files are cached, who may use the widget."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from app.access.table import VIEWS
from app.http.negotiation import prefers_html
from tests.browsing import NAVIGATION
from tests.serving import problem, serve


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with serve(tmp_path_factory.mktemp("data")) as client:
        yield client


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_a_page_for_browsers_alone(client: httpx2.Client, view: str) -> None:
    page = client.get(view.replace("{job_id}", "0" * 22), headers=NAVIGATION)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Accept" in page.headers["vary"] and page.headers["cache-control"] == "no-cache"
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';") and "unsafe" not in policy
    for accept in ("*/*", "application/json", "text/plain"):
        other = client.get(view, headers={"Accept": accept})
        assert "html" not in other.headers["content-type"]


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        (NAVIGATION["Accept"], True),
        ("text/html", True),
        ("*/*", False),
        ("", False),
        ("application/json, text/html;q=0.5", False),
        ("text/html;q=0", False),
        ("text/html;q=nonsense, */*", False),
    ],
)
def test_who_wants_a_page(accept: str, is_page: bool) -> None:
    assert prefers_html(accept) is is_page


def test_files_are_kept_forever_and_pages_asked_for_anew(client: httpx2.Client) -> None:
    page = client.get("/", headers=NAVIGATION)
    again = client.get("/", headers=NAVIGATION | {"If-None-Match": page.headers["etag"]})
    assert again.status_code == 304 and not again.content
    links = re.findall(r'(?:src|href)="\.(/static/[^"]+)"', page.text)
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    assert len(links) >= 5
    for address in links:
        file = client.get(address)
        assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert file.headers["content-type"].startswith(kinds[Path(address).suffix])
        assert client.head(address).headers["etag"] == file.headers["etag"]
    version = links[0].split("/")[2]
    for gone in ("/static/000000000000/app.css", f"/static/{version}/../pages.py"):
        problem(client.get(gone), 404)
    problem(client.get(f"/static/{version}/index.html"), 404)


def test_the_widget_may_be_used_by_any_site(client: httpx2.Client) -> None:
    headers = client.get("/widget/charloom-names.js").headers
    assert headers["content-type"] == "text/javascript; charset=utf-8"
    assert headers["access-control-allow-origin"] == "*"
    assert headers["cross-origin-resource-policy"] == "cross-origin"

"""The pages over HTTP: who gets HTML, how files are cached, who may use the widget."""

import re
from collections.abc import Iterator

import httpx2
import pytest

from app.access.table import VIEWS
from app.http.language import COOKIE, LANGUAGES
from app.http.negotiation import prefers_html
from tests.browsing import NAVIGATION
from tests.serving import serve


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


PREVIEWS = [
    ("/", "charloom", "/"),
    ("/about", "Why charloom · charloom", "/about"),
    ("/docs", "The API · charloom", "/docs"),
    (
        "/inside?model=linux:mine&layer=1",
        "Inside linux:mine · charloom",
        "/inside?model=linux:mine",
    ),
    ("/inside?model=<b>", "Inside a network · charloom", "/inside"),
    ("/names?model=elves", "Names by elves · charloom", "/names?model=elves"),
    (f"/train/{'0' * 22}", "A network learns · charloom", f"/train/{'0' * 22}"),
]


@pytest.mark.parametrize(("path", "title", "url"), PREVIEWS, ids=[one[0] for one in PREVIEWS])
def test_a_link_has_a_preview(client: httpx2.Client, path: str, title: str, url: str) -> None:
    page = client.get(path, headers=NAVIGATION).text
    meta = dict(re.findall(r'<meta (?:property|name)="([^"]+)" content="([^"]*)">', page))
    base = str(client.base_url).rstrip("/")
    assert (meta["og:title"], meta["og:url"]) == (title, base + url)
    assert f"<title>{title}</title>" in page
    assert meta["og:description"] == meta["description"] and meta["description"].endswith(".")
    assert meta["og:image"].startswith(f"{base}/static/")
    image = client.get(meta["og:image"])
    assert image.headers["content-type"] == "image/png" and len(image.content) < 150_000
    # Width and height, as the header of a PNG has them.
    size = [str(int.from_bytes(image.content[at : at + 4])) for at in (16, 20)]
    assert size == [meta["og:image:width"], meta["og:image:height"]]


def test_what_draws_previews_gets_the_page_though_it_takes_anything(client: httpx2.Client) -> None:
    for agent in (
        "facebookexternalhit/1.1",
        "Slackbot-LinkExpanding 1.0",
        "Mozilla/5.0 Discordbot",
    ):
        for accept in ({}, {"Accept": "*/*"}):
            page = client.get("/models", headers=accept | {"User-Agent": agent})
            assert page.headers["content-type"].startswith("text/html"), agent
    for agent in ("curl/8.1", "robotframework"):
        listed = client.get("/models", headers={"User-Agent": agent, "Accept": "*/*"})
        assert listed.headers["content-type"] == "application/json"
    asked = {"User-Agent": "Twitterbot/1.0", "Accept": "application/json"}
    assert client.get("/models", headers=asked).json()["models"] == []


def test_the_widget_may_be_used_by_any_site(client: httpx2.Client) -> None:
    types = client.get("/widget/charloom-names.d.ts")
    assert types.headers["content-type"] == "text/plain; charset=utf-8"
    assert "class CharloomNames" in types.text
    headers = client.get("/widget/charloom-names.js").headers
    assert headers["content-type"] == "text/javascript; charset=utf-8"
    assert headers["access-control-allow-origin"] == "*"
    assert headers["cross-origin-resource-policy"] == "cross-origin"


def test_a_page_is_in_the_visitors_language(client: httpx2.Client) -> None:
    for path in ("/", "/models/nope"):
        for headers, language in (({}, "en"), ({"Cookie": f"{COOKIE}=ja"}, "ja")):
            page = client.get(path, headers=NAVIGATION | headers)
            assert f'<html lang="{language}">' in page.text
            assert {"Accept-Language", "Cookie"} <= set(page.headers["vary"].split(", "))
            switch = re.search(r'id="language" lang="(\w+)">(\w+)<', page.text)
            assert switch and switch[1] != language and switch[2] == LANGUAGES[switch[1]]


def test_a_page_in_japanese_is_previewed_and_loaded_in_it(client: httpx2.Client) -> None:
    japanese = NAVIGATION | {"Accept-Language": "ja"}
    page = client.get("/inside?model=linux", headers=japanese)
    assert "<title>linux の内部 · charloom</title>" in page.text
    assert 'content="linux の内部 · charloom"' in page.text
    assert ">内部</a>" in page.text and "{{" not in page.text
    [path] = re.findall(r"<\./(static/[^>]+\.json)>; rel=preload", page.headers["link"])
    assert client.get(f"/{path}").json()["Inside"] == "内部"
    assert "link" not in client.get("/inside", headers=NAVIGATION).headers

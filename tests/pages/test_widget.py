"""The widget on pages that are not ours: strict ones, and ones of another origin."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Page, Route, expect

from app.http.streaming import BrokenOff
from app.routes import names
from tests.browsing import Window, site_of
from tests.serving import Query, eventually, serve

STRICT = "default-src 'none'; script-src {0}; connect-src {0}"


OWNER = "charloom-names:"
"""With this begins what the widget tells the owner of a page in the console."""


def origin_of(server: httpx2.Client) -> str:
    return str(server.base_url).rstrip("/")


def heard(page: Page) -> list[str]:
    """What the widget tells the owner from now on."""
    told: list[str] = []
    page.on("console", lambda m: told.append(m.text) if m.text.startswith(OWNER) else None)
    return told


def elsewhere(page: Page, server: httpx2.Client, tag: str) -> None:
    """Opens a page that is not ours, as strict as ours, with the widget on it."""
    origin = str(server.base_url).rstrip("/")
    body = f"""<!doctype html><title>Elsewhere</title><main>{tag}</main>
        <script type="module" src="{origin}/widget/charloom-names.js"></script>"""
    headers = {"Content-Security-Policy": STRICT.format(origin), "Content-Type": "text/html"}
    page.route("**/elsewhere", lambda route: route.fulfill(body=body, headers=headers))
    page.goto("/elsewhere")


@contextmanager
def site(page_of: Callable[[], str]) -> Iterator[str]:
    """The origin of another site, all of whose addresses have the page that is given."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = page_of().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with site_of(Handler) as origin:
        yield origin


def test_the_widget_on_a_page_of_another_origin(toys: Path, window: Window) -> None:
    """With keys on, and sampling public; and once the operator takes the origin off the list."""
    tag = '<charloom-names model="list" count="5" seed="3"></charloom-names>'
    icon = '<link rel="icon" href="data:,">'
    script = '<script type="module" src="{}/widget/charloom-names.js"></script>'
    body = icon + tag + script
    with site(lambda: body.format(api)) as origin:
        names = {"api_keys": "top-secret:admin", "public": "sample"}
        with serve(toys, cors_origins=f"https://example.org,{origin}", **names) as server:
            api = str(server.base_url).rstrip("/")
            window.expected.append(f"asked {origin}")
            page = window.open(server, origin)
            found = page.locator("charloom-names li")
            expect(found).to_have_count(5)
            answer = server.get("/names", params={"model": "list", "count": 5, "seed": 3}).json()
            assert found.all_text_contents() == [name["name"] for name in answer["names"]]
        with serve(toys, cors_origins="https://example.org", **names) as server:
            api = str(server.base_url).rstrip("/")
            window.expected += ["has been blocked by CORS policy", "ERR_FAILED", OWNER]
            page = window.open(server, "about:blank")
            told = heard(page)
            page.goto(origin)
            expect(page.locator("[part=status]")).to_contain_text("not set up for this page yet")
            expect(page.locator("charloom-names li")).to_have_count(0)
            assert told == [
                f"{OWNER} {api} does not give names to pages of {origin}: "
                "add it to CHARLOOM_CORS_ORIGINS there"
            ]


def test_the_widget_on_a_strict_page(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "about:blank")
    page.add_init_script(
        """window.told = [];
        for (const type of ["name", "done", "error"])
            addEventListener(`charloom-${type}`, (e) => told.push([type, e.detail]));"""
    )
    elsewhere(page, client, '<charloom-names model="list" count="7" seed="3"></charloom-names>')
    names = page.locator("charloom-names li")
    expect(names).to_have_count(7)
    answer = client.get("/names", params={"model": "list", "count": 7, "seed": 3}).json()
    assert names.all_text_contents() == [name["name"] for name in answer["names"]]
    told = page.evaluate("told")
    assert [kind for kind, _ in told] == ["name"] * 7 + ["done"]
    assert told[-1][1]["names"] == names.all_text_contents()
    page.locator("charloom-names").evaluate("(e) => e.setAttribute('count', '3')")
    expect(names).to_have_count(3)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(names).to_have_count(3)
    expect(page.get_by_role("button", name="More names")).to_be_focused()


def test_the_widget_says_what_keeps_names_away(client: httpx2.Client, window: Window) -> None:
    window.expected += ["503", "ERR_FAILED", "422", OWNER]
    page = window.open(client, "about:blank")
    told = heard(page)
    page.route("**/names?*", lambda route: route.fulfill(status=503, body="{}"))
    elsewhere(page, client, '<charloom-names model="list"></charloom-names>')
    status = page.locator("charloom-names [part=status]")
    expect(status).to_contain_text("Many people are asking")
    page.unroute("**/names?*")
    page.route("**/names?*", lambda route: route.abort())
    page.get_by_role("button").click()
    expect(status).to_contain_text("unavailable right now")
    page.unroute("**/names?*")
    page.locator("charloom-names").evaluate("(e) => e.setAttribute('model', 'toy')")
    expect(status).to_contain_text("not set up for this page yet")
    assert "was not trained on a list" in told[-1]
    page.locator("charloom-names").evaluate("(e) => e.setAttribute('model', 'list')")
    expect(page.locator("charloom-names li")).to_have_count(10)
    # What a visitor may have wished leaves the names that are there.
    page.locator("charloom-names").evaluate("(e) => e.setAttribute('ends-with', 'É')")
    expect(status).to_have_text("No name here can be like that.")
    expect(page.locator("charloom-names li")).to_have_count(10)


@pytest.mark.parametrize(
    ("locale", "tag", "more", "none"),
    [
        ("ja-JP", "{}", "ほかの名前", "その条件に合う名前は作れません。"),
        ("en-US", '<p lang="ja">{}</p>', "ほかの名前", "その条件に合う名前は作れません。"),
        ("ja-JP", '<p lang="ja"><b lang="en-GB">{}</b></p>', "More names", "No name here can be"),
        ("ja-JP", '<p lang="fr">{}</p>', "More names", "No name here can be"),
    ],
)
def test_the_widget_speaks_the_language_around_it(
    client: httpx2.Client, window: Window, locale: str, tag: str, more: str, none: str
) -> None:
    window.expected += ["422", OWNER]
    page = window.open(client, "about:blank", locale=locale)
    widget = '<charloom-names model="list" count="3" seed="3"></charloom-names>'
    elsewhere(page, client, tag.format(widget))
    expect(page.locator("charloom-names li")).to_have_count(3)
    expect(page.get_by_role("button")).to_have_text(more)
    page.locator("charloom-names").evaluate("(e) => e.setAttribute('ends-with', 'É')")
    expect(page.locator("charloom-names [part=status]")).to_contain_text(none)


def test_the_widget_recovers_by_itself(client: httpx2.Client, window: Window) -> None:
    window.expected += ["ERR_FAILED", OWNER, "503"]
    page = window.open(client, "about:blank")
    page.clock.install()
    told = heard(page)
    page.route("**/names?*", lambda route: route.abort())
    page.route("**/widget/access", lambda route: route.abort())
    elsewhere(page, client, '<charloom-names model="list" count="3"></charloom-names>')
    status = page.locator("charloom-names [part=status]")
    page.clock.run_for(1000)
    expect(status).to_contain_text("unavailable right now")
    assert told == [f"{OWNER} {origin_of(client)} does not answer"]
    names = page.locator("charloom-names li")

    def passes_until(text: str, count: int) -> bool:
        page.clock.run_for(5000)
        return text in (status.text_content() or "") and names.count() == count

    page.unroute("**/names?*")
    page.route("**/names?*", lambda route: route.fulfill(status=503, headers={"Retry-After": "7"}))
    eventually(lambda: passes_until("Many people are asking", 0), 30)
    page.unroute("**/names?*")
    eventually(lambda: passes_until("", 3), 30)
    expect(status).to_have_text("")
    assert sum("does not answer" in one for one in told) == 1


def test_the_widget_tells_of_a_policy_that_forbids_it(
    client: httpx2.Client, window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.expected += ["Content Security Policy", OWNER, "violates"]
    monkeypatch.setattr("tests.pages.test_widget.STRICT", "default-src 'none'; script-src {0}")
    page = window.open(client, "about:blank")
    told = heard(page)
    elsewhere(page, client, '<charloom-names model="list"></charloom-names>')
    expect(page.locator("[part=status]")).to_contain_text("not set up for this page yet")
    assert told == [
        f"{OWNER} the content security policy of this page needs connect-src {origin_of(client)}"
    ]


def test_the_widget_says_that_a_list_breaks_off(
    client: httpx2.Client, window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = threading.Event()

    async def lines(_search: names.Search) -> AsyncIterator[bytes]:
        yield b"anna\n"
        # What a browser has not read yet is gone once the connection breaks.
        await asyncio.to_thread(seen.wait, 20)
        raise BrokenOff

    monkeypatch.setattr(names, "_lines", lines)
    window.expected += ["ERR_INCOMPLETE_CHUNKED_ENCODING", f"{OWNER} {origin_of(client)} broke"]
    page = window.open(client, "about:blank")
    elsewhere(page, client, '<charloom-names model="list"></charloom-names>')
    expect(page.locator("charloom-names li")).to_have_text(["anna"])
    seen.set()
    expect(page.locator("charloom-names [part=status]")).to_contain_text("breaks off here")


def test_the_widget_continues_a_list_that_broke_off(
    client: httpx2.Client, window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server is lost with two names on the page; the answer after it brings the others."""
    seen, whole, asked = threading.Event(), names._lines, []

    async def lines(search: names.Search) -> AsyncIterator[bytes]:
        asked.append(search.seed)
        async for line in whole(search):
            yield line
            if len(asked) == 1 and len(search._found) == 2:
                await asyncio.to_thread(seen.wait, 20)
                raise BrokenOff

    monkeypatch.setattr(names, "_lines", lines)
    window.expected.append("ERR_INCOMPLETE_CHUNKED_ENCODING")
    page = window.open(client, "about:blank")
    elsewhere(page, client, '<charloom-names model="list" count="6"></charloom-names>')
    found = page.locator("charloom-names li")
    expect(found).to_have_count(2)
    seen.set()
    expect(found).to_have_count(6)
    expect(page.locator("charloom-names [part=status]")).to_be_empty()
    query: Query = {"model": "list", "count": 6, "seed": asked[0]}
    answer = client.get("/names", params=query).json()
    assert found.all_text_contents() == [name["name"] for name in answer["names"]]
    assert len({*asked}) == 1


def test_a_removed_widget_asks_no_more(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "about:blank")
    waiting: list[Route] = []
    page.route("**/names?*", lambda route: waiting.append(route))
    ended: list[str] = []
    page.on("requestfailed", lambda request: ended.append(request.failure or ""))
    elsewhere(page, client, '<charloom-names model="list"></charloom-names>')
    with page.expect_event("requestfailed"):
        page.locator("charloom-names").evaluate("(e) => e.remove()")
    assert waiting and "ABORTED" in ended[0]

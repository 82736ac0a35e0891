"""Every page works below a path that a proxy takes off, and says so in what it gives away."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Page, Response, Route, expect

from tests.browsing import Window, sample, written
from tests.proxies import BELOW, PASSED_ON, nginx
from tests.serving import TEXT, serve


@dataclass
class Below:
    """A server, and a client of the proxy below whose path it is."""

    server: httpx2.Client
    proxy: httpx2.Client


@pytest.fixture
def below(toys: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Below]:
    """The proxy takes the path off, unless the test gives the path that it passes on."""
    root = getattr(request, "param", "")
    lines = PASSED_ON if root else BELOW
    with (
        serve(toys, root_path=root) as server,
        nginx(tmp_path, server, lines) as proxy,
    ):
        yield Below(server, proxy)


def outside(page: Page) -> list[str]:
    """Requests that leave the path from now on."""
    strays: list[str] = []

    def note(response: Response) -> None:
        if "/loom/" not in response.url or response.status >= 400:
            strays.append(f"{response.status} {response.url}")

    page.on("response", note)
    return strays


@pytest.mark.parametrize("below", ["", "/loom"], indirect=True, ids=["stripped", "passed on"])
def test_every_page_works(below: Below, window: Window) -> None:
    """By links and opened anew; nothing that a page asks for is outside."""
    page = window.open(below.proxy, "about:blank")
    strays = outside(page)
    page.goto("/loom/#model=toy&length=400&seed=7&prime=Ka&temperature=0.8")
    assert written(page) == "Ka" + sample(below.server, prime="Ka")
    for name, shown in (
        ("Inside", page.locator(".strips canvas").first),
        ("Names", page.locator("ol.names li").first),
        ("Models", page.get_by_role("heading", name="toy", exact=True)),
        ("Train", page.get_by_label("Name of the model")),
    ):
        link = page.get_by_role("navigation").get_by_role("link", name=name, exact=True)
        link.click()
        expect(page).to_have_url(re.compile(f"/loom/{name.lower()}"))
        expect(link).to_have_attribute("aria-current", "page")
        expect(shown).to_be_visible()
        page.reload()
        expect(shown).to_be_visible()
    page.go_back()
    expect(page).to_have_url(re.compile("/loom/models"))
    assert strays == []


def test_a_job_is_two_steps_down(below: Below, window: Window) -> None:
    job = below.server.post("/train?model=far", content=TEXT).json()["id"]
    page = window.open(below.proxy, "about:blank")
    strays = outside(page)
    page.goto("/loom/train")
    page.locator(f"a[href$='{job}']").click()
    expect(page).to_have_url(re.compile(f"/loom/train/{job}"))
    for _ in range(2):
        page.get_by_role("button", name="Cancel").wait_for()
        # The links of the frame lead where they did.
        expect(page.get_by_role("link", name="Models", exact=True)).to_have_attribute(
            "href", f"{str(below.proxy.base_url).rstrip('/')}/loom/models"
        )
        page.reload()
    page.get_by_role("link", name="All jobs").click()
    expect(page).to_have_url(re.compile("/loom/train$"))
    assert strays == []
    below.server.post(f"/jobs/{job}/cancel")
    below.server.delete(f"/jobs/{job}")


def answering(body: str) -> Callable[[Route], None]:
    icon = '<link rel="icon" href="data:,">'
    return lambda route: route.fulfill(body=icon + body, content_type="text/html")


def test_the_html_for_other_pages_names_the_path(below: Below, window: Window) -> None:
    page = window.open(below.proxy, "/loom/names")
    here = f"{str(below.proxy.base_url).rstrip('/')}/loom"
    expect(page.locator("ol.names li").first).to_be_visible()
    snippet = (
        page.get_by_role("region", name="HTML to embed the names", exact=True).text_content() or ""
    )
    assert f'src="{here}/widget/charloom-names.js"' in snippet
    # As another page has it: names come from where the script came from, or as api says.
    for api in ("", f' api="{here}"', f' api="{here}/"'):
        tag = f'<charloom-names model="list" count="3"{api}></charloom-names>'
        body = f'{tag}<script type="module" src="{here}/widget/charloom-names.js"></script>'
        page.route("**/elsewhere", answering(body))
        page.goto("/elsewhere")
        expect(page.locator("charloom-names li")).to_have_count(3)
        page.unroute("**/elsewhere")


def test_the_api_can_be_read_and_tried(below: Below, window: Window) -> None:
    page = window.open(below.proxy, "about:blank")
    strays = outside(page)
    page.goto("/loom/docs")
    endpoint = page.locator("#get-healthz")
    endpoint.get_by_text("Check that the process is alive").click()
    endpoint.get_by_role("button", name="Send").click()
    expect(endpoint.get_by_role("group", name="The answer")).to_contain_text('"status": "ok"')
    curl = endpoint.get_by_role("group", name="The call, for a shell")
    expect(curl).to_have_text(f"curl {str(below.proxy.base_url).rstrip('/')}/loom/healthz")
    window.expected.append("404")
    page.goto("/loom/models/nope")
    page.get_by_role("link", name="See all models").click()
    expect(page).to_have_url(re.compile("/loom/models$"))
    page.get_by_role("link", name="charloom", exact=True).click()
    expect(page).to_have_url(re.compile("/loom/(#|$)"))
    assert strays == [f"404 {str(below.proxy.base_url).rstrip('/')}/loom/models/nope"]

"""What holds for every view: its weight, its accessibility, colours, keys, errors."""

from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Page, Request, expect

from tests.browsing import DESKTOP, PHONE, Window, accessible, link, point_at, sample, written
from tests.serving import serve


@pytest.mark.parametrize("locale", ["en-US", "ja-JP"])
def test_the_first_page_is_light(client: httpx2.Client, window: Window, locale: str) -> None:
    page = window.open(client, "about:blank", locale=locale)
    requests: list[Request] = []
    page.on("requestfinished", lambda request: requests.append(request))
    page.goto("/")
    assert written(page).strip()
    # Texts weigh what they weigh: some 200 bytes for each character with its alternatives.
    fetched = [one for one in requests if not one.url.endswith("/sample")]
    # As they come over the wire, compressed.
    size = sum(one.sizes()["responseBodySize"] for one in fetched)
    assert 30_000 < size < 100_000


@pytest.mark.parametrize("view", ["/", "/train", "/inside", "/names", "/models", "/about", "/docs"])
def test_a_page_names_its_modules_at_once(client: httpx2.Client, window: Window, view: str) -> None:
    """So the browser need not read one to hear of the next."""
    page = window.open(client, "about:blank")
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url))
    page.goto(view)
    expect(page.locator("main h1")).to_be_attached()
    named = page.locator("link[rel=modulepreload]").evaluate_all("all => all.map(one => one.href)")
    # The view, and what it is made of.
    assert f"/views{view if view != '/' else '/write'}.js" in "".join(named)
    assert len(named) == len(set(named)) > 10
    at_once = [url for url in asked if "/static/" in url and url.endswith(".js")]
    assert {url for url in at_once if "/theme.js" not in url} <= set(named)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(client: httpx2.Client, window: Window, scheme: str) -> None:
    viewport = DESKTOP if scheme == "light" else PHONE
    # What is still fading in is hard to read for a moment.
    still = {"color_scheme": scheme, "reduced_motion": "reduce"}
    page = window.open(client, link(), viewport=viewport, **still)
    written(page)
    point_at(page, 1)
    assert accessible(page)
    page.keyboard.press("Escape")
    ready = {
        "Train": ".drop",
        "Inside": ".facts:not(:empty)",
        "Names": "li",
        "Models": ".model h2",
    }
    window.expected.append("404")
    for view, there in ready.items():
        page.get_by_role("link", name=view, exact=True).click()
        page.locator(f"main {there}").first.wait_for()
        assert accessible(page), view
        if view == "Train":
            page.get_by_text("Options").click()
            page.locator(".options legend").first.wait_for()
            assert accessible(page), "options"


def test_a_server_that_is_away_costs_no_text(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, link())
    text = written(page)
    page.evaluate("window.isTheSame = true")
    window.expected += ["net::ERR_INTERNET_DISCONNECTED", "Failed to fetch"]
    page.context.set_offline(True)
    page.get_by_role("link", name="Models", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("The server is away")
    assert accessible(page)
    page.get_by_role("link", name="Write", exact=True).click()
    assert written(page) == text
    page.get_by_role("link", name="Models", exact=True).click()
    page.get_by_role("alert").wait_for()
    page.context.set_offline(False)
    # It comes by itself.
    page.locator(".model").first.wait_for()
    page.get_by_role("link", name="Write", exact=True).first.click()
    assert written(page) == text
    assert page.evaluate("window.isTheSame")


def test_colours_are_a_choice_that_stays(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, link(), color_scheme="light")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    toggle = page.get_by_role("button", name="Dark colours")
    expect(toggle).to_have_attribute("aria-pressed", "false")
    toggle.click()
    expect(toggle).to_have_attribute("aria-pressed", "true")
    assert page.evaluate(paper) != light
    page.reload()
    assert page.evaluate(paper) != light


def test_no_view_is_wider_than_a_phone(client: httpx2.Client, window: Window) -> None:
    window.expected.append("404")
    page = window.open(client, "about:blank", viewport=PHONE)
    for path in (link(compare=1.2), "/train", "/train/compare", "/inside", "/names", "/models"):
        page.goto(path)
        page.locator("main h1").wait_for(state="attached")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path


def test_what_is_looked_at_has_more_room_than_its_form(
    client: httpx2.Client, window: Window
) -> None:
    page = window.open(client, "about:blank")
    for path in (link(), "/inside?model=toy", "/names?model=list"):
        page.goto(path)
        page.locator(".write .rail").wait_for()
        page.locator(".write > :first-child").wait_for()
        columns = "e => e.getBoundingClientRect().width"
        wide = page.locator(".write > :first-child").evaluate(columns)
        assert wide > 1.5 * page.locator(".write .rail").evaluate(columns), path


KEYS = "open-sesame:sample,almighty:admin"


def answered(page: Page, key: str) -> None:
    page.get_by_role("textbox", name="Key").fill(key)
    page.get_by_role("button", name="Unlock").last.click()


def test_a_key_is_asked_for_once(toys: Path, window: Window) -> None:
    window.expected += ["401", "403"]
    with serve(toys, api_keys=KEYS) as client:
        client.headers["Authorization"] = "Bearer almighty"
        page = window.open(client, link())
        dialog = page.get_by_role("dialog", name="This server requires a key")
        answered(page, "wrong")
        expect(dialog).to_contain_text("is not valid on this server")
        answered(page, "open-sesame")
        text = "Ka" + sample(client, prime="Ka")
        assert written(page) == text
        page.reload()
        assert written(page) == text
        expect(dialog).to_have_count(0)

        page.get_by_role("link", name="Models", exact=True).click()
        page.get_by_role("button", name="Delete toy").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(dialog).to_contain_text("does not allow this")
        dialog.get_by_role("button", name="Cancel").click()
        expect(page.locator(".message")).to_contain_text("needs a key with the scope admin")
        page.get_by_role("link", name="Train", exact=True).click()
        answered(page, "almighty")
        expect(page.get_by_text("None yet.")).to_be_visible()
        # Another window is asked anew.
        expect(window.open(client, "/names").get_by_role("textbox", name="Key")).to_be_visible()


def test_who_gives_no_key_is_not_asked_again_and_again(toys: Path, window: Window) -> None:
    window.expected.append("401")
    with serve(toys, api_keys=KEYS) as client:
        page = window.open(client, "about:blank")
        page.clock.install()
        # As if the last touch were long ago.
        page.add_init_script(
            "Object.defineProperty(navigator, 'userActivation', {value: {isActive: false}})"
        )
        page.goto("/train")
        dialog = page.get_by_role("dialog", name="This server requires a key")
        dialog.get_by_role("button", name="Cancel").click()
        expect(page.locator(".job-list")).to_contain_text("requires a key")
        for _ in range(2):
            with page.expect_response("**/jobs?*"):
                page.clock.fast_forward(10_000)
        expect(dialog).to_have_count(0)


def test_a_key_can_be_entered_afterwards(toys: Path, window: Window) -> None:
    window.expected.append("401")
    with serve(toys, api_keys=KEYS) as client:
        page = window.open(client, "/models")
        dialog = page.get_by_role("dialog", name="This server requires a key")
        expect(dialog).to_be_visible()
        # It dims the gutter of the scroll bar, too.
        gutter = "getComputedStyle(document.documentElement).backgroundColor"
        dimmed = page.evaluate(gutter)
        dialog.get_by_role("button", name="Cancel").click()
        assert page.evaluate(gutter) != dimmed
        expect(page.get_by_role("alert")).to_contain_text("requires a key")
        assert accessible(page)
        page.get_by_role("alert").get_by_role("button", name="Enter a key").click()
        dialog.get_by_role("button", name="Cancel").click()
        page.get_by_role("banner").get_by_role("button", name="Enter a key").click()
        answered(page, "open-sesame")
        page.locator(".model").first.wait_for()
        expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize(
    ("path", "title", "button", "view"),
    [
        ("/models/nope", "This model does not exist", "See all models", "Models"),
        ("/nowhere/at/all", "This page does not exist", "Go to the first page", "Write"),
    ],
)
def test_what_does_not_exist_is_a_page_of_ours(
    client: httpx2.Client, window: Window, path: str, title: str, button: str, view: str
) -> None:
    window.expected.append("404")
    page = window.open(client, path, color_scheme="dark", viewport=PHONE)
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    assert accessible(page)
    page.get_by_role("button", name="Dark colours").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.get_by_role("link", name=button).click()
    expect(page.get_by_role("link", name=view, exact=True)).to_have_attribute(
        "aria-current", "page"
    )

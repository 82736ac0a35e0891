"""What holds for every view: its weight, its accessibility, colours, keys; and /docs."""

from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Page, Request, expect

from tests.browsing import DESKTOP, PHONE, Window, accessible, link, point_at, sample, written
from tests.serving import serve


def test_the_first_page_is_light(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "about:blank")
    requests: list[Request] = []
    page.on("requestfinished", lambda request: requests.append(request))
    page.goto("/")
    assert written(page).strip()
    # Texts weigh what they weigh: some 200 bytes for each character with its alternatives.
    fetched = [one for one in requests if not one.url.endswith("/sample")]
    # As they come over the wire, compressed.
    assert 30_000 < sum(one.sizes()["responseBodySize"] for one in fetched) < 100_000


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
    page.get_by_role("button", name="Try again").click()
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
    for path in (link(compare=1.2), "/train", "/inside", "/names", "/models"):
        page.goto(path)
        page.locator("main h1").wait_for(state="attached")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path


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
        expect(page.locator(".job-list")).to_contain_text("needs an API key")
        for _ in range(2):
            with page.expect_response("**/jobs?*"):
                page.clock.fast_forward(10_000)
        expect(dialog).to_have_count(0)


def test_the_api_can_be_read_and_tried(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "/docs")
    expect(page.get_by_text("Sample text from a model", exact=True)).to_be_visible()
    page.get_by_text("Check that the process is alive").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".responses-inner")).to_contain_text('"status": "ok"')

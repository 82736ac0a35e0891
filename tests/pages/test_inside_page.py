"""Inside: what the pictures show is what the API gives."""

import re

import httpx2
from playwright.sync_api import Page, expect

from tests.browsing import EVIL, Window
from tests.planted import COLUMN, QUOTES


def pixels(page: Page) -> str:
    """The first strip of the picture, as it is painted."""
    image: str = page.locator(".strips canvas").first.evaluate("canvas => canvas.toDataURL()")
    return image


def test_a_cell_is_picked_from_the_ranking(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "/inside?model=quoting")
    readout = page.locator(".readout")
    # The best of all is shown to begin with, on the text that it was found on.
    expect(readout).to_contain_text(f"Layer 0, cell {COLUMN} tracks “position in the line”")
    before = pixels(page)
    chip = page.get_by_role("button", name=f"inside quotes: layer 0, cell {QUOTES}")
    chip.click()
    expect(chip).to_have_attribute("aria-pressed", "true")
    number = page.get_by_role("spinbutton", name="Cell")
    expect(number).to_have_value(str(QUOTES))
    page.wait_for_url(re.compile(f"cell={QUOTES}"))
    assert pixels(page) != before

    # Each character is as the API tells of it.
    found = client.get("/models/quoting/cells").json()["hypotheses"]
    text = "\n".join(dict.fromkeys(one["excerpt"] for one in found))
    asked = {"text": text, "cells": [QUOTES], "layer": 0}
    told = client.post("/models/quoting/inspect", json=asked).json()["characters"]
    page.get_by_role("group", name="The text as the network sees it").focus()
    page.keyboard.press("End")
    [value] = told[-1]["activations"]
    expect(readout).to_contain_text(f"activation {value:.2f}")
    # But for the excerpt that the cell is shown by: there as it was in the midst of its text.
    assert found[0]["name"] == "quotes"
    found[0]["activations"][0] = 0.123
    changed = {"hypotheses": found, "share": 0.1}
    page.route("**/models/quoting/cells", lambda route: route.fulfill(json=changed))
    page.reload()
    expect(number).to_have_value(str(QUOTES))
    expect(readout).to_contain_text("“inside quotes”")
    expect(page.locator(".facts")).to_contain_text("characters")
    page.get_by_role("group", name="The text as the network sees it").focus()
    page.keyboard.press("ArrowRight")
    expect(readout).to_contain_text("activation 0.12")


def test_the_search_through_the_cells_is_waited_for(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "about:blank")
    nothing = '{"hypotheses":null,"share":null}'
    page.route(
        "**/models/quoting/cells",
        lambda route: route.fulfill(status=202, headers={"Retry-After": "1"}, body=nothing),
    )
    page.goto("/inside?model=quoting&picture=cell")
    expect(page.get_by_text("Searching the cells")).to_be_visible()
    # Something is there to look at meanwhile: what the model writes itself.
    expect(page.locator(".facts")).to_contain_text("2,000 characters")
    page.unroute("**/models/quoting/cells")
    expect(page.locator(".chip").first).to_be_visible()
    expect(page.get_by_text("Searching the cells")).to_be_hidden()
    expect(page.locator(".facts")).to_contain_text("2,000 characters")
    page.get_by_role("button", name="Unseen text").click()
    expect(page.locator(".facts")).not_to_contain_text("2,000 characters")


def test_a_text_of_ones_own_in_four_pictures(client: httpx2.Client, window: Window) -> None:
    """Five thousand characters are a handful of elements."""
    page = window.open(client, "/inside?model=toy")
    expect(page.locator(".facts")).to_contain_text("characters")
    page.get_by_text("A text of your own").click()
    text = (f"{EVIL} and so on.\n" * 200)[:5000]
    page.get_by_role("textbox", name="Text", exact=True).fill(text)
    page.get_by_role("button", name="Look at it").click()
    expect(page.locator(".facts")).to_contain_text("5,000 characters")
    assert page.locator(".grid").evaluate("e => e.querySelectorAll('*').length") < 100
    readout = page.locator(".readout")
    grid = page.get_by_role("group", name="The text as the network sees it")
    told = client.post("/models/toy/inspect", json={"text": text[:4]}).json()["characters"]
    seen = []
    for picture in ("Guesses", "One cell", "Surprise"):
        page.get_by_role("radio", name=picture).check()
        # The new picture points at nothing yet.
        expect(readout).not_to_contain_text("nats")
        grid.focus()
        for _ in range(4):
            page.keyboard.press("ArrowRight")
        expect(readout).to_contain_text(f"{text[3]} ")
        expect(readout).to_contain_text(f"{told[3]['loss']:.3f} nats")
        seen.append(pixels(page))
    assert seen[0] != seen[1] != seen[2]
    page.get_by_role("radio", name="All cells").check()
    weave = page.get_by_role("img", name="All cells of the layer over the text")
    expect(weave).to_be_visible()
    expect(weave).to_have_attribute("height", "24")
    weave.click(position={"x": 40, "y": 1})
    expect(page.get_by_role("radio", name="One cell")).to_be_checked()
    expect(page.get_by_role("spinbutton", name="Cell")).to_have_value("0")

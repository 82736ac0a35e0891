"""Inside: what the pictures show is what the API gives, and how a class sees it."""

import re
from typing import Any

import httpx2
from playwright.sync_api import Page, expect

from tests.browsing import EVIL, Window, accessible
from tests.planted import COLUMN, QUOTES
from tests.serving import eventually

GRID = "The text as the network sees it"


def pixels(page: Page) -> str:
    """The first strip of the picture, as it is painted."""
    image: str = page.locator(".strips canvas").first.evaluate("canvas => canvas.toDataURL()")
    return image


def opened(page: Page) -> None:
    expect(page.locator(".facts")).to_contain_text("characters")


def ranked(client: httpx2.Client) -> httpx2.Response | None:
    response = client.get("/models/quoting/cells")
    return None if response.status_code == 202 else response


def unseen(client: httpx2.Client, name: str) -> list[str]:
    """The passages of the ``quoting`` model that show something."""
    response = eventually(lambda: ranked(client), 60)
    told = response.json()
    [one] = [one for one in told["hypotheses"] if one["name"] == name]
    return [told["passages"][number]["text"] for number in one["examples"]]


def inspected(client: httpx2.Client, texts: list[str], **fields: Any) -> list[dict[str, Any]]:
    """What the API tells of texts one after the other, each read from the zero state."""
    ends = [sum(map(len, texts[: n + 1])) for n in range(len(texts))]
    asked = {"text": "".join(texts), "seams": ends[:-1], "layer": 0} | fields
    told: list[dict[str, Any]] = client.post("/models/quoting/inspect", json=asked).json()[
        "characters"
    ]
    return told


def test_a_cell_is_picked_from_the_ranking(client: httpx2.Client, window: Window) -> None:
    unseen(client, "quotes")
    page = window.open(client, "/inside?model=quoting")
    readout = page.locator(".readout")
    # The best of all is shown to begin with, on passages that show what it tracks.
    expect(readout).to_contain_text(f"Layer 0, cell {COLUMN} tracks “position in the line”")
    opened(page)
    before = pixels(page)
    chip = page.get_by_role("button", name=f"inside quotes: layer 0, cell {QUOTES}, AUC")
    chip.click()
    expect(chip).to_have_attribute("aria-pressed", "true")
    number = page.get_by_role("spinbutton", name="Cell")
    expect(number).to_have_value(str(QUOTES))
    page.wait_for_url(re.compile(f"cell={QUOTES}"))
    texts = unseen(client, "quotes")
    expect(page.locator("textarea[name=text]")).to_have_value("".join(texts))
    expect(page.locator(".facts")).to_contain_text(f"{len(texts)} passages")
    assert pixels(page) != before

    # Each character is as the API tells of it, and misses are counted.
    told = inspected(client, texts, cells=[QUOTES], hypothesis="quotes")
    found = client.get("/models/quoting/cells").json()["hypotheses"]
    [score] = [one["cells"][0] for one in found if one["name"] == "quotes"]
    right = [(one["activations"][0] > score["threshold"]) == bool(one["truth"]) for one in told]
    words = f"Here it is right in {sum(right):,} of {len(right):,} characters."
    expect(readout).to_contain_text(words)
    page.get_by_role("group", name=GRID).focus()
    page.keyboard.press("End")
    [value] = told[-1]["activations"]
    expect(readout).to_contain_text(f"activation {value:.2f}, {'right' if right[-1] else 'a miss'}")

    # By a link it opens at the same place.
    page.reload()
    expect(number).to_have_value(str(QUOTES))
    expect(readout).to_contain_text(words)


def test_unseen_text_is_another_each_time(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "/inside?model=quoting")
    opened(page)
    text = page.locator("textarea[name=text]")
    seen = [text.input_value()]
    for _ in range(3):
        page.get_by_role("button", name="Unseen text").click()
        expect(text).not_to_have_value(seen[-1])
        seen.append(text.input_value())
    assert len(set(seen)) == 4


def test_the_search_through_the_cells_is_waited_for(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "about:blank")
    nothing = '{"hypotheses":null,"share":null,"passages":null}'
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
    opened(page)
    page.get_by_text("A text of your own").click()
    text = (f"{EVIL} and so on.\n" * 200)[:5000]
    page.get_by_role("textbox", name="Text", exact=True).fill(text)
    page.get_by_role("button", name="Look at it").click()
    expect(page.locator(".facts")).to_contain_text("5,000 characters")
    assert page.locator(".grid").evaluate("e => e.querySelectorAll('*').length") < 100
    readout = page.locator(".readout")
    grid = page.get_by_role("group", name=GRID)
    told = client.post("/models/toy/inspect", json={"text": text[:4]}).json()["characters"]
    seen = []
    for picture in ("Guesses", "One cell", "Surprise"):
        page.get_by_role("radio", name=picture).check()
        # The new picture points at nothing yet.
        expect(readout).not_to_contain_text("nats")
        grid.focus()
        page.keyboard.press("Home")
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        expect(readout).to_contain_text(f"{text[3]} ")
        expect(readout).to_contain_text(f"{told[3]['loss']:.3f} nats")
        seen.append(pixels(page))
    assert seen[0] != seen[1] != seen[2]
    # Its caption is about surprise, not about a cell.
    page.get_by_role("radio", name="Surprise").check()
    grid.blur()
    expect(readout).to_contain_text("bits a character on average")
    # Another picture of the same text stays where it is.
    grid.evaluate("e => { e.scrollTop = 1e6 }")
    page.get_by_role("radio", name="One cell").check()
    eventually(lambda: grid.evaluate("e => e.scrollTop") > 500)
    page.get_by_role("radio", name="Guesses").check()
    eventually(lambda: grid.evaluate("e => e.scrollTop") > 500)
    page.get_by_role("radio", name="All cells").check()
    weave = page.get_by_role("img", name="All cells of the layer over the text")
    expect(weave).to_be_visible()
    expect(weave).to_have_attribute("height", "24")
    weave.click(position={"x": 40, "y": 1})
    expect(page.get_by_role("radio", name="One cell")).to_be_checked()
    expect(page.get_by_role("spinbutton", name="Cell")).to_have_value("0")
    # It survives a reload, though it is too long for a URL.
    page.reload()
    expect(page.locator(".facts")).to_contain_text("5,000 characters")
    page.get_by_text("A text of your own").click()
    expect(page.get_by_role("textbox", name="Text", exact=True)).to_have_value(text)


def test_what_does_not_exist_is_said(client: httpx2.Client, window: Window) -> None:
    """And nothing else is shown in its place."""
    window.expected.append("404")
    page = window.open(client, "/inside?model=nope")
    expect(page.get_by_text("The model “nope” does not exist on this server.")).to_be_visible()
    expect(page.locator(".strips canvas")).to_have_count(0)
    assert page.url.endswith("model=nope")
    page.get_by_role("combobox", name="Model").select_option("quoting")
    opened(page)
    expect(page.get_by_text("does not exist")).to_be_hidden()
    page.wait_for_url(re.compile("model=quoting"))

    page.goto("/inside?model=quoting&layer=9&cell=99999")
    expect(page.get_by_text("has no layer 9 with a cell 99999")).to_be_visible()
    chip = page.get_by_role("button", name=f"inside quotes: layer 0, cell {QUOTES}")
    expect(chip).to_be_visible()
    expect(page.locator(".facts")).to_be_empty()
    assert page.url.endswith("layer=9&cell=99999")
    chip.click()
    opened(page)
    expect(page.get_by_text("has no layer 9")).to_be_hidden()


def test_a_cell_is_presented(client: httpx2.Client, window: Window) -> None:
    """Character by character, with counts that are the API's; by keys."""
    # Once the cells are searched, this one has a name.
    unseen(client, "quotes")
    link = f"/inside?model=quoting&layer=0&cell={QUOTES}"
    page = window.open(client, link)
    opened(page)
    page.get_by_role("button", name="Present").click()
    dialog = page.get_by_role("dialog", name="inside quotes")
    expect(dialog).to_be_visible()
    assert page.evaluate("Boolean(document.fullscreenElement)")
    # It plays by itself.
    pause = dialog.get_by_role("button", name="Pause")
    expect(pause).to_be_visible()
    dialog.locator(".character:not(.ahead)").nth(3).wait_for(state="attached")
    page.keyboard.press("Space")
    expect(dialog.get_by_role("button", name="Play")).to_be_visible()
    told = inspected(client, unseen(client, "quotes")[:1], cells=[QUOTES], hypothesis="quotes")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(dialog.locator(".character:not(.ahead)")).to_have_count(2)
    [value] = told[1]["activations"]
    expect(dialog.locator(".present-now")).to_contain_text(f"activation {value:.2f}")
    page.keyboard.press("End")
    truth = sum(one["truth"] == 1 for one in told)
    expect(dialog.locator("rect.truth")).to_have_count(truth)
    misses = dialog.locator("text.miss").count()
    count = dialog.get_by_role("status")
    expect(count).to_have_text(f"Right in {len(told) - misses} of {len(told)} characters")
    assert accessible(page)
    # The next example, and back; then out.
    page.keyboard.press("PageDown")
    expect(dialog.get_by_text("Example 2 of")).to_be_visible()
    page.wait_for_url(re.compile("present=2"))
    page.keyboard.press("ArrowUp")
    expect(dialog.get_by_text("Example 1 of")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.wait_for_url(re.compile(r"^((?!present).)*$"))

    # A link opens it; who wants no motion sees the whole at once.
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"{link}&present=2")
    expect(dialog.get_by_text("Example 2 of")).to_be_visible()
    expect(dialog.get_by_role("button", name="Play")).to_be_visible()
    expect(dialog.locator(".character").first).to_be_visible()
    expect(dialog.locator(".character.ahead")).to_have_count(0)


def test_a_text_that_is_left_is_not_presented(client: httpx2.Client, window: Window) -> None:
    """Another model is chosen before what presents is there."""
    page = window.open(client, f"/inside?model=quoting&layer=0&cell={QUOTES}")
    opened(page)
    present = page.get_by_role("button", name="Present")
    present.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    # In one task, so that nothing comes between them.
    present.evaluate(
        """(button) => {
            const choice = document.querySelector("select[name=model]");
            button.click();
            choice.value = "toy";
            choice.dispatchEvent(new Event("change", { bubbles: true }));
        }"""
    )
    page.wait_for_url(re.compile("model=toy"))
    opened(page)
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_a_cell_has_a_page(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, f"/inside?model=quoting&layer=0&cell={QUOTES}")
    opened(page)
    page.get_by_text("More about this cell").click()
    about = page.locator(".about-cell")
    told = client.get(f"/models/quoting/cells/0/{QUOTES}").json()
    expect(about.get_by_role("img", name="Histogram")).to_be_visible()
    expect(about).to_contain_text("“inside quotes”. It is excited where this holds. AUC")
    shown = about.locator("pre").all_text_contents()
    expected = [one["text"] for one in told["excited"] + told["quiet"]]
    assert [text.replace("⏎", "") for text in shown] == expected
    with page.expect_response("**/ablate") as response:
        about.get_by_role("button", name="Write with and without it").click()
    written = response.value.json()
    expect(about.locator(".sample").first).to_have_text(written["whole"])
    expect(about.locator(".sample").last).to_have_text(written["ablated"])
    assert accessible(page)
    # Another cell, another page.
    page.get_by_role("spinbutton", name="Cell").fill("1")
    expect(about.get_by_role("heading", name="Layer 0, cell 1 of quoting")).to_be_visible()


def test_small_screens_and_paper(client: httpx2.Client, window: Window) -> None:
    narrow = {"width": 320, "height": 640}
    text = "a line\n" * 400
    page = window.open(client, "/inside?model=toy", viewport=narrow, color_scheme="dark")
    opened(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= narrow["width"]
    # Which cell comes first, then the picture.
    places = [page.locator(name).bounding_box() for name in (".found", ".picture")]
    assert places[0] and places[1] and places[0]["y"] < places[1]["y"]
    # What is said of the cell has the whole width.
    page.get_by_text("More about this cell").click()
    place = page.locator(".about-cell form").bounding_box()
    assert place and place["width"] > 0.7 * narrow["width"]
    page.get_by_text("A text of your own").click()
    page.get_by_role("textbox", name="Text", exact=True).fill(text)
    page.get_by_role("button", name="Look at it").click()
    expect(page.locator(".facts")).to_contain_text("2,800 characters")
    # Out of sight a strip has no pixels; on paper all have, on a light ground.
    drawn = "canvases => canvases.filter(canvas => canvas.height).length"
    strips = page.locator(".strips canvas")
    assert strips.evaluate_all(drawn) < strips.count()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert strips.evaluate_all(drawn) == strips.count()
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") is None

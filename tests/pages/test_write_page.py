"""Write: a text as the API gives it, in the page and in its URL."""

import re
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import expect

from tests.browsing import (
    PHONE,
    Window,
    accessible,
    link,
    point_at,
    sample,
    text_of,
    written,
)
from tests.failing import fail_after


def test_a_link_holds_all_that_decides_a_text(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, link(temperature=0.5))
    assert written(page) == "Ka" + sample(client, prime="Ka", temperature=0.5)
    page.get_by_label("Begins with").fill("One\nmore")
    page.get_by_role("button", name="Write", exact=True).click()
    expect(page).to_have_url(re.compile("One%0Amore"))
    seed = re.search(r"seed=(\d+)", page.url)
    assert seed
    text = written(page)
    assert text == "One\nmore" + sample(
        client, prime="One\nmore", temperature=0.5, seed=int(seed[1])
    )
    page.reload()
    assert written(page) == text
    page.go_back()
    expect(page.get_by_label("Begins with")).to_have_value("Ka")
    assert written(page) == "Ka" + sample(client, prime="Ka", temperature=0.5)


def test_any_character_can_be_asked_and_branched_from(
    client: httpx2.Client, window: Window
) -> None:
    page = window.open(client, link(length=60))
    text = written(page)
    offset = next(i for i in range(20, 60) if text[i].isalpha() and "\n" not in text[i - 5 : i])
    point_at(page, offset)
    alternatives = page.get_by_role("dialog", name="Alternatives")
    expect(alternatives.locator(".head .char")).to_have_text(text[offset])
    buttons = alternatives.get_by_role("button")
    expect(buttons).to_have_count(5)
    other = next(
        button for button in buttons.all() if "written" not in (button.get_attribute("class") or "")
    )
    char = (other.locator(".char").text_content() or "").replace("␣", " ").replace("⏎", "\n")
    other.click()
    prime = text[:offset] + char
    changed = page.locator(".pane").first.locator(".changed")
    expect(changed).to_have_text(char, use_inner_text=True)
    branch = prime + sample(client, prime=prime, length=60)
    assert written(page) == branch
    # Both are kept, the new one below the one that it branches from.
    variants = page.get_by_role("treeitem")
    expect(variants).to_have_count(2)
    expect(variants.nth(1)).to_have_attribute("aria-level", "2")
    expect(variants.nth(1)).to_have_attribute("aria-selected", "true")
    page.go_back()
    expect(variants.first).to_have_attribute("aria-selected", "true")
    assert written(page) == text
    variants.nth(1).click()
    assert written(page) == branch


def test_the_keyboard_goes_everywhere_in_a_text(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, link(length=200))
    text = written(page)
    page.get_by_role("group", name="The text").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    head = page.locator(".alternatives .head .char").first
    glyphs = {" ": "␣", "\n": "⏎"}
    expect(head).to_have_text(glyphs.get(text[5], text[5]))
    page.keyboard.press("ArrowLeft")
    expect(head).to_have_text(glyphs.get(text[4], text[4]))
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Home")
    expect(page.locator(".alternatives").first).to_contain_text("given, not written")
    page.keyboard.press("Escape")
    expect(page.locator(".alternatives").first).to_be_hidden()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("5")
    expect(page.get_by_role("treeitem")).to_have_count(2)


def test_two_temperatures_share_a_seed(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, link(temperature=0.4, compare=1.4))
    assert written(page, 0) == "Ka" + sample(client, prime="Ka", temperature=0.4)
    assert written(page, 1) == "Ka" + sample(client, prime="Ka", temperature=1.4)
    page.get_by_role("switch").uncheck()
    expect(page.locator(".pane").nth(1)).to_be_hidden()
    assert "compare" not in page.url and "seed=7" in page.url


def test_long_texts_stay_text(client: httpx2.Client, window: Window) -> None:
    """Thousands of characters are not thousands of elements, and none is lost."""
    page = window.open(client, link(length=15_000))
    text = "Ka" + sample(client, prime="Ka", length=15_000)
    assert written(page) == text
    assert page.locator(".text").first.evaluate("e => e.querySelectorAll('*').length") < 100
    last = len(text) - 1
    page.locator(".block").last.scroll_into_view_if_needed()
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.get_by_role("group", name="The text").focus()
    page.keyboard.press("ArrowLeft")
    glyph = {" ": "␣", "\n": "⏎"}.get(text[last], text[last])
    expect(page.locator(".alternatives .head .char").first).to_have_text(glyph)


def test_a_text_goes_on_and_stops_when_told(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, link(length=300))
    assert written(page) == "Ka" + sample(client, prime="Ka", length=300)
    page.get_by_role("button", name="Continue").click()
    expect(page.locator(".facts").first).to_contain_text("600 characters")
    assert written(page) == "Ka" + sample(client, prime="Ka", length=600)
    page.get_by_label("Length").fill("1000000")
    page.get_by_role("button", name="Write", exact=True).click()
    page.get_by_role("button", name="Stop").click()
    assert 0 < len(written(page)) < 1_000_000


def test_what_is_wrong_stands_where_it_is_wrong(client: httpx2.Client, window: Window) -> None:
    window.expected.append("422")
    page = window.open(client, link(prime="Ka\u3042"))
    field_ = page.get_by_label("Begins with")
    expect(field_).to_have_attribute("aria-invalid", "true")
    expect(page.locator("[data-field=prime] .wrong")).to_contain_text("\u3042")


def test_a_full_server_is_said(client: httpx2.Client, window: Window) -> None:
    window.expected.append("503")
    page = window.open(client, "about:blank")
    body = '{"title":"Service Unavailable","status":503,"detail":"the server is writing 8 texts"}'
    page.route("**/sample", lambda route: route.fulfill(status=503, body=body))
    page.goto(link())
    expect(page.locator(".rail .message")).to_have_text("The server is writing 8 texts.")


def test_a_text_that_breaks_off_is_said(
    client: httpx2.Client, window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_after(monkeypatch, 300, seed=0, draw=1)
    page = window.open(client, link(length=100_000))
    expect(page.locator(".rail .message")).to_have_text(
        "The network produced invalid numbers; the text ends here."
    )
    assert 300 < len(text_of(page.locator(".pane").first)) < 100_000


def test_who_wants_less_motion_gets_no_text_unasked(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "/", reduced_motion="reduce")
    expect(page.get_by_label("Model", exact=True)).to_have_value(re.compile("toy|list|quoting"))
    assert not text_of(page.locator(".pane").first)


TUNES = """X:1
T:The Shuttle
M:6/8
L:1/8
Q:3/8=20
K:G
GAB c2d|edc B2A|G3 G3:|

M:3/4
ABq c2|[M:9/q]d3|

X:3
T:The Knot
K:C
(3AXBc|

"""


def test_a_tune_is_shown_and_played(client: httpx2.Client, window: Window, tmp_path: Path) -> None:
    """What abcjs draws keeps to the content security policy, and asks no other host."""
    page = window.open(client, link(prime=TUNES, length=3), viewport=PHONE)
    written(page)
    page.get_by_role("button", name="Score").click()
    shuttle = page.get_by_role("article", name="The Shuttle")
    expect(page.get_by_role("article")).to_have_count(3)
    expect(shuttle.locator("svg .abcjs-note")).to_have_count(12)
    expect(shuttle.locator(".hint")).to_have_count(0)
    hint = page.get_by_role("article", name="Tune 2").locator(".hint")
    expect(hint).to_contain_text("It has no key (K:); read in C major.")
    expect(hint).to_contain_text("“M:9/q” makes no sense; left out.")
    expect(hint).to_contain_text("could not be read: “q” in “ABq c2|d3|”")
    # abcjs stumbles over a rest of a bar within a triplet.
    knot = page.get_by_role("article", name="The Knot")
    # What is far below is not drawn.
    knot.scroll_into_view_if_needed()
    expect(knot).to_contain_text("This tune could not be drawn.")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert accessible(page)

    with page.expect_download() as download:
        shuttle.get_by_role("button", name="MIDI").click()
    assert download.value.suggested_filename == "The-Shuttle.mid"
    download.value.save_as(tmp_path / "tune.mid")
    assert (tmp_path / "tune.mid").read_bytes().startswith(b"MThd\0\0\0\x06\0\0\0\x01\x01\xe0MTrk")

    begin = shuttle.get_by_role("button", name="Play")
    begin.press("Enter")
    mark = shuttle.locator(".sounding")
    expect(mark).to_be_visible()
    expect(mark).not_to_have_attribute("x", mark.get_attribute("x") or "")
    # Three bars, repeated, in beats of three seconds.
    expect(shuttle.locator(".time")).to_have_text(re.compile(r"0:(0[3-9]|[1-3]\d) / 0:36"))
    shuttle.get_by_role("button", name="Pause").press("Space")
    expect(begin).to_be_visible()
    position = shuttle.get_by_role("slider")
    paused = float(position.input_value())
    position.press("ArrowLeft")
    assert float(position.input_value()) == pytest.approx(paused - 2, abs=0.1)
    begin.click()
    expect(begin).to_be_hidden()
    # Who leaves hears no more of it; who comes back finds it where it was.
    page.get_by_role("link", name="Models", exact=True).click()
    # Until the other view is loaded, this one is not left.
    expect(shuttle).to_be_hidden()
    page.get_by_role("banner").get_by_role("link", name="Write", exact=True).click()
    expect(shuttle.get_by_role("button", name="Play")).to_be_visible()
    expect(mark).to_be_visible()


def test_other_texts_fetch_no_scores(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "about:blank")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(link(prime="A cage!\nX: 1 | a bag"))
    written(page)
    expect(page.get_by_role("button", name="Score")).to_be_hidden()
    assert asked and not [url for url in asked if "abcjs" in url or "tunes/list" in url]


def test_scores_that_cannot_be_fetched_are_said(client: httpx2.Client, window: Window) -> None:
    window.expected += ["ERR_FAILED", "could not be fetched"]
    page = window.open(client, "about:blank")
    page.route("**/abcjs-basic-min.js", lambda route: route.abort())
    page.goto(link(prime=TUNES, length=3))
    said = page.locator(".scores .message").first
    expect(said).to_contain_text("The scores could not be loaded.")
    page.unroute("**/abcjs-basic-min.js")
    page.get_by_role("button", name="Write", exact=True).click()
    expect(page.get_by_role("article")).to_have_count(3)
    expect(said).to_be_hidden()

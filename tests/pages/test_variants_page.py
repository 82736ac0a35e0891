"""Write keeps what was written: variants, compared, undone, saved; and no error costs a text."""

import json
import re
from pathlib import Path

import httpx2
from playwright.sync_api import Locator, Page, expect

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.browsing import (
    ASCII,
    PHONE,
    Window,
    accessible,
    link,
    sample,
    text_of,
    written,
)
from tests.serving import eventually
from tests.toys import toy_checkpoint


def branched(page: Page, key: str, *, back: int = 1) -> None:
    """Chooses an alternative to a character near the end of the text, by keyboard."""
    page.get_by_role("group", name="The text", exact=True).focus()
    for _ in range(back):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press(key)


def action(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def test_variants_are_kept_moved_in_and_saved(
    client: httpx2.Client, window: Window, tmp_path: Path
) -> None:
    page = window.open(client, link(length=40))
    text = written(page)
    rows = page.get_by_role("treeitem")
    # From the second to last character five ways on, one of which it had.
    for key in "12345":
        branched(page, key, back=2)
        written(page)
        page.keyboard.press("Escape")
        rows.first.click()
    expect(rows).to_have_count(6)
    action(page, "Another")
    expect(rows).to_have_count(7)
    other = written(page)
    assert other.startswith("Ka") and other != text
    named = named_by_keyboard(page, "The one")
    named.press("ArrowDown")
    rows.nth(3).press("c")
    panes = page.locator(".pane")
    expect(panes.nth(1)).to_be_visible()
    assert text_of(panes.nth(0)) != text_of(panes.nth(1))
    expect(page.get_by_role("button", name="Copy the right text")).to_be_visible()
    assert accessible(page)
    page.get_by_role("button", name="Close: The other text").click()
    expect(panes.nth(1)).to_be_hidden()

    # What was removed comes back, and nothing is lost by a reload.
    named.press("Delete")
    expect(named).to_have_count(0)
    page.locator("[role=treeitem][tabindex='0']").press("Control+z")
    expect(named).to_have_count(1)
    page.reload()
    expect(rows).to_have_count(7)
    expect(named).to_have_count(1)
    with page.expect_download() as saved:
        action(page, "Save all")
    file = tmp_path / saved.value.suggested_filename
    saved.value.save_as(file)
    assert len(json.loads(file.read_text())["variants"]) == 7
    with page.expect_download() as saved:
        action(page, "Save text")
    assert saved.value.suggested_filename.endswith(".txt")

    # Another browser, which has a text of its own.
    page = window.open(client, link(length=40, seed=8))
    written(page)
    page.locator("input[type=file]").set_input_files(file)
    expect(page.get_by_role("treeitem")).to_have_count(8)
    expect(page.get_by_role("treeitem", name="The one")).to_have_count(1)


def named_by_keyboard(page: Page, name: str) -> Locator:
    """Goes from the last row to the branches, which are folded and opened, and names the first."""
    tree = page.get_by_role("tree", name="Variants")
    rows = tree.get_by_role("treeitem")
    rows.first.press("End")
    expect(rows.last).to_be_focused()
    rows.last.press("ArrowLeft")
    root = tree.locator("[aria-expanded]")
    expect(root).to_be_focused()
    root.press("ArrowLeft")
    expect(rows).to_have_count(2)
    root.press("ArrowRight")
    root.press("ArrowDown")
    rows.nth(2).press("Enter")
    expect(rows.nth(2)).to_have_attribute("aria-selected", "true")
    rows.nth(2).press("F2")
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    named = tree.get_by_role("treeitem", name=name)
    expect(named).to_be_focused()
    return named


def test_two_texts_are_compared_on_a_phone_by_swiping(
    client: httpx2.Client, window: Window
) -> None:
    page = window.open(client, link(compare=1.4), viewport=PHONE, reduced_motion="reduce")
    left, right = written(page, 0), written(page, 1)
    assert left == "Ka" + sample(client, prime="Ka")
    assert right == "Ka" + sample(client, prime="Ka", temperature=1.4)
    panes = page.locator(".panes").first
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    sides = page.get_by_role("group", name="Sides")
    expect(sides.get_by_role("button", name="Left")).to_have_attribute("aria-pressed", "true")
    panes.evaluate("panes => panes.scrollTo({left: panes.scrollWidth})")
    expect(sides.get_by_role("button", name="Right")).to_have_attribute("aria-pressed", "true")
    # Copy takes the text in sight, and a branch stays on its side.
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    action(page, "Copy the right text")
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == right
    page.get_by_role("group", name="The other text", exact=True).focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("1")
    expect(panes.locator(".pane").nth(1).locator(".changed")).to_have_count(1)
    written(page)
    assert text_of(page.locator(".pane").nth(0)) == left
    assert accessible(page)


def test_a_long_text_is_branched_near_its_end_and_nothing_is_cut(
    client: httpx2.Client, window: Window
) -> None:
    page = window.open(client, link(length=20_000))
    text = "Ka" + sample(client, prime="Ka", length=20_000)
    assert written(page) == text
    page.get_by_label("Length").fill("50")
    branched(page, "5")
    expect(page.locator(".block .changed")).to_have_count(1)
    branch = written(page)
    assert branch[:20_001] == text[:20_001]
    assert len(branch) == 20_052
    # No link can hold it, and that is said.
    action(page, "Copy link")
    expect(page.locator(".foot .message")).to_contain_text("No link can hold this text")
    # It is there again after a reload, and what was not told then can be asked.
    page.reload()
    expect(page.locator(".block .changed")).to_have_count(1)
    assert text_of(page.locator(".pane").first) == branch
    page.get_by_role("group", name="The text", exact=True).focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".alternatives .head").first).to_contain_text("likely")


def test_what_was_stopped_is_continued_and_its_end_is_told(
    client: httpx2.Client, window: Window
) -> None:
    page = window.open(client, link(length=300_000))
    expect(page.locator(".facts").first).to_contain_text("per second")
    action(page, "Stop")
    stopped = written(page)
    heard = page.locator(".pane").first.locator(".heard")
    expect(heard).to_contain_text("Stopped after")
    page.get_by_label("Length").fill("100")
    action(page, "Continue")
    expect(heard).to_contain_text("The text is complete")
    text = written(page)
    assert len(text) == len(stopped) + 100
    length = len(text) - 2
    assert text == "Ka" + sample(client, prime="Ka", length=length)
    # The link holds the whole.
    assert f"length={length}&" in page.url
    action(page, "Copy link")
    expect(page.locator(".foot .message")).to_contain_text("holds this whole text")


def test_no_error_costs_the_text(client: httpx2.Client, window: Window) -> None:
    window.expected += ["422", "Failed to load resource"]
    page = window.open(client, link())
    text = written(page)
    page.route("**/sample", lambda route: route.abort())
    page.get_by_label("Begins with").fill("It\u2019s \u3042 cat\u2026")
    action(page, "Write")
    expect(page.locator(".rail .message")).to_contain_text("not responding")
    assert text_of(page.locator(".pane").first) == text
    page.unroute("**/sample")
    action(page, "Write")
    wrong = page.locator("[data-field=prime] .wrong")
    expect(wrong).to_contain_text("\u3042")
    expect(wrong).not_to_contain_text("unknown=")
    assert text_of(page.locator(".pane").first) == text
    assert accessible(page)
    action(page, "Use plain quotes, dots and dashes")
    expect(wrong).not_to_contain_text("\u2019")
    action(page, "Skip unknown characters")
    expect(page.get_by_label("Begins with")).to_have_value("It's  cat...")
    expect(page.get_by_role("treeitem")).to_have_count(2)
    assert written(page).startswith("It's  cat...")
    page.get_by_label("Begins with").fill("x" * 16_385)
    action(page, "Write")
    expect(wrong).to_contain_text("has 16,385 characters")
    action(page, "Begin with the last 16,384 characters")
    expect(page.get_by_role("treeitem")).to_have_count(3)


def test_a_state_that_has_expired_is_said(
    client: httpx2.Client, window: Window, toys: Path
) -> None:
    window.expected.append("409")
    registry = Registry(toys / "models")
    registry.publish(Reference("aging"), toy_checkpoint(vocabulary=ASCII, seed=1))
    page = window.open(client, link(model="aging", length=50))
    text = written(page)
    registry.publish(Reference("aging"), toy_checkpoint(vocabulary=ASCII, seed=2))
    action(page, "Continue")
    said = page.locator(".rail .message")
    expect(said).to_contain_text("the state that it would continue from has expired")
    assert text_of(page.locator(".pane").first) == text
    action(page, "Continue from the last 16,384 characters")
    expect(page.get_by_role("treeitem")).to_have_count(2)
    assert written(page) == text + sample(client, model="aging", prime=text, length=50)
    action(page, "Copy link")
    expect(page.locator(".foot .message")).to_contain_text("No link can hold this text")


def test_a_text_is_edited_and_tab_offers_continuations(
    client: httpx2.Client, window: Window
) -> None:
    page = window.open(client, link(length=60))
    text = written(page)
    action(page, "Edit")
    area = page.get_by_label("The text, to edit")
    expect(area).to_be_focused()
    # What is offered does not run away from a button that is about to be pressed.
    area.press("Tab")
    offers = page.get_by_role("listbox", name="Continuations").get_by_role("option")
    expect(offers).to_have_count(3)
    action(page, "Cancel")
    expect(area).to_have_count(0)
    action(page, "Edit")
    area.press_sequentially("My ")
    area.press("Tab")
    expect(offers).to_have_count(3)
    assert accessible(page)
    area.press("ArrowDown")
    area.press("Enter")
    expect(offers).to_have_count(0)
    offered = sample(client, prime=text + "My ", length=40, seed=8)
    expect(area).to_have_value(text + "My " + offered)
    # Whoever wants to leave the text can.
    area.press("Escape")
    area.press("Tab")
    expect(area).not_to_be_focused()
    action(page, "Keep as a variant")
    expect(page.get_by_role("treeitem")).to_have_count(2)
    expect(page.locator(".block .changed")).to_have_text("My " + offered, use_inner_text=True)
    page.get_by_label("Length").fill("20")
    action(page, "Continue")
    expect(page.locator(".facts").first).to_contain_text("80 characters")
    assert written(page)[:-20] == text + "My " + offered


CODE = """static int begin(struct device *one)
{
    return one->count ? 0 : -1; /* none */
}
"""
COLOURED = """() => Object.fromEntries(["keyword", "number", "comment"].map((kind) =>
    [kind, [...CSS.highlights.get(`code-${kind}`)].map(String)]))"""


def test_code_has_colours_and_stays_text(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, link(prime=CODE, length=1, temperature=0))
    written(page)
    # The grammar comes after the text.
    eventually(lambda: page.evaluate(COLOURED)["keyword"])
    # The prime is an element, and no token is.
    expect(page.locator(".block span")).to_have_count(1)
    coloured = page.evaluate(COLOURED)
    assert coloured["keyword"][:3] == ["static", "int", "struct"]
    assert "/* none */" in coloured["comment"] and "0" in coloured["number"]


def test_hints_come_one_at_a_time_and_go_for_good(client: httpx2.Client, window: Window) -> None:
    # A browser that keeps nothing says so; hints come all the same.
    page = window.open(client, "about:blank")
    page.add_init_script("Object.defineProperty(window, 'indexedDB', {value: undefined})")
    page.goto(link(length=60))
    written(page)
    expect(page.locator(".variants .message")).to_contain_text("keeps nothing for this page")
    hint = page.locator(".hint-line")
    expect(hint).to_contain_text("Touch a character")
    branched(page, "1")
    expect(hint).to_contain_text("Raise the temperature")
    page.get_by_role("slider", name="Temperature").press("ArrowRight")
    expect(hint).to_contain_text(re.compile("Train a model on a text of yours"))
    page.reload()
    written(page)
    expect(hint).to_contain_text("Train a model")
    action(page, "Close this hint")
    expect(hint).to_be_hidden()


def test_the_last_choice_of_a_model_is_offered(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "/", reduced_motion="reduce")
    model = page.get_by_label("Model", exact=True)
    model.select_option("list")
    page.goto("about:blank")
    page.goto("/")
    expect(model).to_have_value("list")

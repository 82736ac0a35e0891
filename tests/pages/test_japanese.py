"""The pages in Japanese, in a real browser: no sentence is left in English, and all fits."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, expect

from app.http.language import COOKIE
from tests.browsing import PHONE, Window, accessible, link, point_at, text_of, written
from tests.japanese import in_japanese
from tests.serving import serve
from worker.events import EventLog
from worker.jobs import JobStore

JAPANESE: dict[str, Any] = {"locale": "ja-JP", "reduced_motion": "reduce"}


@contextmanager
def told(text: str) -> Iterator[None]:
    """Names the place of what is found in a block."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{text}: {error}") from None


def unfolded(page: Page) -> None:
    """Opens whatever is folded in the view."""
    page.evaluate("document.querySelectorAll('main details').forEach(one => { one.open = true })")


def pressed(page: Page, *, most: int = 40) -> None:
    """Presses each button of a view once, and of the dialogs that open: all that is said then is
    in Japanese."""
    seen: set[str] = set()
    while most > len(seen):
        buttons = page.locator("main button:visible:enabled")
        names = buttons.evaluate_all("all => all.map(b => b.ariaLabel ?? b.textContent)")
        new = [i for i, name in enumerate(names) if name not in seen]
        if not new:
            return
        seen.add(names[new[0]])
        buttons.nth(new[0]).dispatch_event("click")
        with told(f"after {names[new[0]]!r}"):
            assert in_japanese(page)
        if page.locator("dialog[open], :popover-open").count():
            page.keyboard.press("Escape")


@pytest.fixture(scope="module")
def client(toys: Path) -> Iterator[httpx2.Client]:
    """With models, a job that waits and one that has ended."""
    store = JobStore(toys / "jobs")
    store.create("toy", "c" * 64, {}, None)
    ended, _ = store.create("loom", "c" * 64, {}, None)
    log = EventLog(ended.directory)
    for step in (50, 100):
        log.append("progress", {"step": step, "train_loss": 3.0, "elapsed_seconds": step / 10})
        sample = {"step": step, "temperature": 0.8, "style": None, "text": "A fox."}
        log.append("sample", sample)
    log.append("evaluation", {"step": 100, "val_loss": 2.5, "bpc": 3.6, "best": True})
    ended.finish("cancelled")
    with serve(toys) as client:
        yield client


VIEWS = {
    "write": (link(), ".foot:not(:empty)"),
    "compare texts": (link(compare=1.2), ".foot:not(:empty)"),
    "train": ("/train", ".jobs li"),
    "compare runs": ("/train/compare", "tbody tr"),
    "inside": ("/inside?model=toy", ".facts:not(:empty)"),
    "names": ("/names", ".names li"),
    "models": ("/models", ".model h2"),
    "about": ("/about", "table"),
    "docs": ("/docs", ".endpoint"),
}
"""The URL of each view, and what is there once it is."""


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_in_japanese_and_fits(client: httpx2.Client, window: Window, view: str) -> None:
    window.expected.append("404")
    path, there = VIEWS[view]
    page = window.open(client, path, **JAPANESE)
    page.locator(f"main {there}").first.wait_for()
    if view == "docs":
        page.locator("#get-sample > summary").click()
    else:
        unfolded(page)
    if view == "train":
        page.locator(".options legend").first.wait_for()
    assert in_japanese(page)
    assert accessible(page)
    page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert accessible(page)


PRESSED = ("write", "compare texts", "inside", "names", "models")


@pytest.mark.parametrize("view", PRESSED)
def test_whatever_is_pressed_answers_in_japanese(
    client: httpx2.Client, window: Window, view: str
) -> None:
    window.expected += ["404", "409", "422", "503"]
    path, there = VIEWS[view]
    page = window.open(client, path, **JAPANESE)
    page.locator(f"main {there}").first.wait_for()
    if view == "write":
        expect(page.locator(".foot")).to_contain_text("シード 7")
        point_at(page, 1)
        assert in_japanese(page)
        page.keyboard.press("Escape")
    unfolded(page)
    pressed(page)


def test_a_job_is_told_in_japanese(client: httpx2.Client, window: Window) -> None:
    jobs = client.get("/jobs").json()["jobs"]
    for status in ("queued", "cancelled"):
        [job] = [one for one in jobs if one["status"] == status]
        page = window.open(client, f"/train/{job['id']}", **JAPANESE)
        page.locator(".title-line .status").wait_for()
        unfolded(page)
        assert in_japanese(page)
        assert accessible(page)
        page.goto("about:blank")


def test_the_language_is_a_choice_that_stays(client: httpx2.Client, window: Window) -> None:
    """And costs no text."""
    page = window.open(client, link())
    text = written(page)
    page.get_by_role("button", name="日本語").click()
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    expect(page.get_by_role("link", name="書く", exact=True)).to_be_visible()
    expect(page.locator(".foot")).to_contain_text("7")
    assert text_of(page.locator(".pane").first) == text
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    assert written(page) == text


def test_the_browser_is_asked_first(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "/names?model=list", **JAPANESE)
    expect(page).to_have_title("名前 · charloom")
    assert page.context.cookies() == []
    page.get_by_role("button", name="English").click()
    expect(page).to_have_title("Names · charloom")
    [cookie] = page.context.cookies()
    assert (cookie["name"], cookie["value"], cookie["path"]) == (COOKIE, "en", "/")


def test_an_error_is_a_page_in_japanese(client: httpx2.Client, window: Window) -> None:
    window.expected += ["404", "422"]
    page = window.open(client, "/models/nope", **JAPANESE)
    expect(page.get_by_role("heading", level=1)).to_have_text("このモデルはありません")
    assert in_japanese(page)
    assert accessible(page)
    page.goto("/sample?length=0")
    # What only the server can say is in English, and marked as such.
    expect(page.locator("[lang=en].lead")).to_contain_text("must be a whole number")
    assert in_japanese(page)
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Unprocessable Content")


@pytest.mark.parametrize("width", [320, 390, 1440])
def test_the_header_fits(client: httpx2.Client, window: Window, width: int) -> None:
    window.expected.append("404")
    for locale in ("ja-JP", "en-US"):
        page = window.open(
            client, "/models/nope", locale=locale, viewport={"width": width, "height": 700}
        )
        rights = page.locator(".top :is(a, button):visible").evaluate_all(
            """all => all.map(one => {
                const { left, right, height } = one.getBoundingClientRect();
                return [left, right, height];
            })"""
        )
        assert all(left >= 0 and right <= width for left, right, _ in rights), locale
        # No word is broken over two lines.
        assert max(height for _, _, height in rights) < 50, locale


def test_problems_are_told_in_japanese(toys: Path, window: Window) -> None:
    window.expected += ["401", "ERR_INTERNET_DISCONNECTED", "Failed to fetch"]
    with serve(toys, api_keys="almighty:admin") as client:
        page = window.open(client, "/models", **JAPANESE)
        dialog = page.get_by_role("dialog", name="このサーバーにはキーが必要です")
        assert in_japanese(page)
        dialog.get_by_label("キー").fill("wrong")
        dialog.get_by_role("button", name="キーを使う").click()
        expect(dialog).to_contain_text("このサーバーでは使えません")
        assert in_japanese(page)
        page.keyboard.press("Escape")
        expect(page.get_by_role("alert")).to_contain_text("入力したキーは")
        page.context.set_offline(True)
        page.get_by_role("link", name="紹介").click()
        expect(page.get_by_role("alert")).to_contain_text("サーバーに接続できません")
        assert in_japanese(page)


def test_what_the_pages_do_not_know_is_marked_as_english(
    client: httpx2.Client, window: Window
) -> None:
    window.expected.append("422")
    page = window.open(client, "about:blank", **JAPANESE)
    said = '{"code": "invalid_fields", "detail": "words of another release"}'
    page.route("**/models?*", lambda route: route.fulfill(status=422, body=said))
    page.goto("/models")
    alert = page.get_by_role("alert").filter(has_text="入力内容に誤りがあります。")
    expect(alert.locator("[lang=en]")).to_have_text("Words of another release.")
    assert in_japanese(page)

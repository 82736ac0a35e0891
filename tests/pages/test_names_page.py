"""Names: those that are wanted, an address for them, a shelf, and the HTML that embeds them."""

import csv
import functools
import http.server
import io
import re
from pathlib import Path
from typing import Any

import httpx2
from playwright.sync_api import Locator, Page, expect

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.browsing import ASCII, PHONE, Window, accessible, site_of
from tests.serving import serve
from tests.toys import toy_checkpoint


def embed(page: Page) -> Locator:
    return page.get_by_role("region", name="HTML to embed the names", exact=True)


def names_on(page: Page) -> Locator:
    return page.locator(".names .name")


def shown(page: Page, count: int) -> list[str]:
    """The names, once there are so many of a search that has ended."""
    expect(page.get_by_role("button", name="More names")).to_be_visible()
    expect(names_on(page)).to_have_count(count)
    return names_on(page).all_text_contents()


def test_names_as_they_are_wanted(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "/names")
    expect(names_on(page)).to_have_count(24)
    page.get_by_label("How many").fill("3")
    page.get_by_label("Starts with").fill("n")
    page.get_by_label("Contains").fill("i")
    page.get_by_label("Ends with").fill("n")
    page.get_by_label("Pattern").fill("?*i?*")
    page.wait_for_url(re.compile(r"pattern=%3F\*i%3F\*"))
    drawn = shown(page, 3)
    assert all(re.fullmatch("n.*i.*n", name) for name in drawn)
    snippet = embed(page).text_content() or ""
    assert 'starts-with="n" contains="i" ends-with="n" pattern="?*i?*"' in snippet
    assert "/widget/charloom-names.js" in snippet and " novel" in snippet
    page.get_by_label("Pattern").fill("")
    page.get_by_label("Contains").fill("zqz")
    expect(page.get_by_text(re.compile("Found 0 of 3: such names are rare"))).to_be_visible()
    assert names_on(page).count() == 0


def test_an_address_gives_the_same_names(client: httpx2.Client, window: Window) -> None:
    """Elsewhere, too, and to whoever asks the API at the same address."""
    page = window.open(client, "/names")
    page.get_by_label("Shortest").fill("2")
    page.get_by_label("Longest").fill("30")
    page.get_by_text("Only names not in its list").click()
    page.wait_for_url(re.compile("min_length=2.*max_length=30.*novel=false"))
    drawn = shown(page, 24)
    address = page.url
    there = window.open(client, address, viewport=PHONE)
    assert shown(there, 24) == drawn
    there.get_by_text("More limits").click()
    expect(there.get_by_label("Longest")).to_have_value("30")
    expect(there.get_by_role("switch")).not_to_be_checked()
    answer = client.get(address, headers={"Accept": "application/json"}).json()
    assert [one["name"] for one in answer["names"]] == drawn
    # Other views and back: as it was left, at its address.
    page.get_by_role("link", name="Models", exact=True).click()
    page.get_by_role("link", name="Names", exact=True).click()
    page.wait_for_url(address)
    assert shown(page, 24) == drawn
    page.get_by_role("button", name="More names").click()
    page.wait_for_url(lambda url: url != address and "min_length=2" in url)
    assert shown(page, 24) != drawn


def test_errors_stand_at_their_fields_and_names_stay(client: httpx2.Client, window: Window) -> None:
    window.expected.append("422")
    page = window.open(client, "/names?count=6")
    drawn, address = shown(page, 6), page.url
    code = embed(page).text_content()

    def wrong(label: str) -> Locator:
        return page.locator(".field", has=page.get_by_label(label)).locator(".wrong")

    page.get_by_label("Longest").fill("6")
    page.get_by_label("Shortest").fill("9")
    expect(wrong("Shortest")).to_have_text("must not be more than the longest")
    # Who types on keeps the focus.
    expect(page.get_by_label("Shortest")).to_be_focused()
    expect(page.get_by_label("Shortest")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Shortest").fill("1.5")
    expect(wrong("Shortest")).to_have_text("a whole number from 1 to 200")
    page.get_by_label("Shortest").fill("")
    page.get_by_label("How many").fill("1001")
    expect(wrong("How many")).to_have_text("a whole number from 1 to 1000")
    page.get_by_label("How many").fill("6")
    page.get_by_label("Contains").fill("É")
    expect(wrong("Contains")).to_contain_text("'É'")
    page.get_by_label("Contains").fill("")
    page.get_by_label("Pattern").fill("???????")
    expect(wrong("Pattern")).to_have_text("fits no name of at most the longest characters")
    assert accessible(page)
    assert names_on(page).all_text_contents() == drawn and embed(page).text_content() == code
    page.get_by_label("Pattern").fill("")
    # Short names are rare here.
    page.get_by_label("Longest").fill("")
    expect(page.locator(".wrong:visible")).to_have_count(0)
    page.wait_for_url(lambda url: url != address)
    assert shown(page, 6) != drawn


def test_a_server_that_is_away_costs_no_name(client: httpx2.Client, window: Window) -> None:
    window.expected += ["503", "ERR_FAILED"]
    page = window.open(client, "/names?count=6")
    drawn = shown(page, 6)
    page.route("**/names?*", lambda route: route.abort())
    page.get_by_role("button", name="More names").click()
    expect(page.locator(".message.problem")).to_contain_text("unavailable right now")
    assert shown(page, 6) == drawn
    page.unroute("**/names?*")
    page.get_by_role("button", name="More names").click()
    expect(page.locator(".message.problem")).to_be_hidden()
    expect(names_on(page)).to_have_count(6)


def test_only_models_of_lists_are_offered(
    client: httpx2.Client, toys: Path, window: Window
) -> None:
    """Also where a text has lines as short as a list's, and at an address that names another."""
    corpus: Any = {"characters": 3000, "lines": 100, "tokens": "characters"}
    verse = toy_checkpoint(vocabulary=ASCII, corpus=corpus)
    Registry(toys / "models").publish(Reference("verse"), verse)
    assert [client.get(f"/models/{one}").json()["names"] for one in ("verse", "list")] == [
        False,
        True,
    ]
    page = window.open(client, "/names?model=verse")
    model = page.get_by_label("Model")
    expect(model.locator("option")).to_have_text(["list"])
    expect(page.locator(".wrong:visible")).to_contain_text("verse has no names to give")
    assert names_on(page).count() == 0
    page.get_by_role("button", name="More names").click()
    expect(names_on(page)).to_have_count(24)
    client.delete("/models/verse")


def test_it_says_what_new_means(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "/names")
    expect(page.locator(".lead")).to_contain_text("is not in that list; somebody may be called so")
    assert "nobody has" not in (page.locator("main").text_content() or "").lower()


def test_a_shelf_outlives_the_page(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "/names?count=8&novel=false")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    drawn = shown(page, 8)
    page.get_by_role("button", name="Copy all").first.click()
    assert page.evaluate("navigator.clipboard.readText()").split() == drawn
    expect(page.get_by_text("Press a name to keep it.")).to_be_visible()
    for name in drawn[:3]:
        names_on(page).filter(has_text=re.compile(f"^{name}$")).click()
    kept = page.get_by_role("list", name="Kept names").locator("li span")
    expect(kept).to_have_text(drawn[:3])
    expect(names_on(page).first).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="More names").click()
    expect(kept).to_have_text(drawn[:3])
    page.reload()
    expect(kept).to_have_text(drawn[:3])
    # In another tab at once.
    other = page.context.new_page()
    other.goto("/names")
    there = other.get_by_role("list", name="Kept names").locator("li span")
    expect(there).to_have_text(drawn[:3])
    page.get_by_role("button", name=f"Remove {drawn[0]}", exact=True).click()
    expect(there).to_have_text(drawn[1:3])
    other.close()

    shelf = page.get_by_role("region", name="Kept")
    shelf.get_by_role("button", name="Copy all").click()
    assert page.evaluate("navigator.clipboard.readText()") == "".join(f"{n}\n" for n in drawn[1:3])
    with page.expect_download() as text:
        shelf.get_by_role("button", name="Save as TXT").click()
    assert Path(text.value.path()).read_text() == "".join(f"{name}\n" for name in drawn[1:3])
    with page.expect_download() as table:
        shelf.get_by_role("button", name="Save as CSV").click()
    assert table.value.suggested_filename == "names.csv"
    rows = list(csv.DictReader(io.StringIO(Path(table.value.path()).read_text("utf-8-sig"))))
    assert [(row["name"], row["model"]) for row in rows] == [(n, "list") for n in drawn[1:3]]
    shown(page, 8)
    assert accessible(page)
    shelf.get_by_role("button", name="Remove all").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(kept).to_have_count(0)
    assert page.evaluate("localStorage.getItem('charloom-kept-names')") == "[]"


def test_a_shelf_without_storage_says_so(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "about:blank")
    page.add_init_script("Storage.prototype.setItem = () => { throw new Error('full'); };")
    page.goto("/names?count=4")
    [name, *_] = shown(page, 4)
    names_on(page).first.click()
    expect(page.get_by_role("list", name="Kept names").locator("li span")).to_have_text([name])
    expect(page.get_by_text("This browser stores nothing for this page")).to_be_visible()


def test_a_wizard_says_what_the_server_lacks(toys: Path, window: Window) -> None:
    """And no longer, once the server has been told."""
    site = "https://example.org"
    keys = {"api_keys": "top-secret:admin"}
    with serve(toys, **keys) as server:
        window.expected.append("401")
        page = window.open(server, "/names")
        page.get_by_role("textbox", name="Key").fill("top-secret")
        page.get_by_role("button", name="Unlock").last.click()
        shown(page, 24)
        page.get_by_label("Address of your page").fill("example.org/shop?a=1")
        expect(page.get_by_text(f"{site} isn't allowed yet.")).to_be_visible()
        setting = page.get_by_role("region", name="Settings of the server")
        expect(setting).to_have_text(f"CHARLOOM_CORS_ORIGINS={site}\nCHARLOOM_PUBLIC=sample")
        expect(page.get_by_text("Only this computer reaches")).to_be_visible()
        assert accessible(page)
        page.get_by_label("Address of your page").fill("not an address")
        expect(page.get_by_text("An address such as https://example.org is needed")).to_be_visible()
        expect(setting).to_be_hidden()
        page.goto("about:blank")
    with serve(toys, public="sample", cors_origins=site, **keys) as server:
        page = window.open(server, "/names")
        shown(page, 24)
        page.get_by_label("Address of your page").fill(site)
        expect(page.get_by_text(f"Pages of {site} may draw names here.")).to_be_visible()
        expect(page.get_by_role("region", name="Settings of the server")).to_be_hidden()
        page.get_by_label("Address of your page").fill("https://example.com")
        expect(page.get_by_text("https://example.com isn't allowed yet.")).to_be_visible()
        page.goto("about:blank")


def test_names_without_a_server_are_offered(
    client: httpx2.Client, window: Window, tmp_path: Path
) -> None:
    """Two files that are saved and HTML that is copied make a page that draws the names."""
    page = window.open(client, "/names?pattern=n*n&count=4")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    shown(page, 4)
    page.get_by_text("Without a server").click()
    for button in (
        page.get_by_role("button", name="Save list.html"),
        page.get_by_role("link", name="Save charloom-names.js"),
    ):
        with page.expect_download() as saved:
            button.click()
        saved.value.save_as(tmp_path / saved.value.suggested_filename)
    page.get_by_role("button", name="Copy HTML to embed the names without a server").click()
    code = page.evaluate("navigator.clipboard.readText()")
    (tmp_path / "index.html").write_text(f'<link rel="icon" href="data:,">{code}')
    handler = functools.partial(QuietFiles, directory=str(tmp_path))
    with site_of(handler) as origin:
        there = window.open(httpx2.Client(base_url=origin), "/index.html")
        names = there.locator("charloom-names li")
        expect(names).to_have_count(4)
        assert all(re.fullmatch("n.*n", name) for name in names.all_text_contents())


class QuietFiles(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

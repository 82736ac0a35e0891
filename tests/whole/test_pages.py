"""The pages in a real browser, on a real server; one training with a real worker.

Every test fails if the browser complained of anything: an error in the console, a breach of the
content security policy, a request to anybody else.
"""

import os
import re
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx2
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Locator,
    Page,
    Route,
    expect,
    sync_playwright,
)

from app.__main__ import Server, listen
from app.access.table import VIEWS
from app.http.negotiation import prefers_html
from app.main import create_app
from app.settings import ServerSettings
from models.checkpoints.format import Checkpoint
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.text.corpus import Corpus
from models.text.novelty import line_hashes
from models.text.vocab import Vocabulary
from tests.planted import COLUMN, QUOTES, made, planted, quoting_text
from tests.serving import problem, serve
from tests.support import StartWorker
from tests.toys import ALPHABET, toy_checkpoint

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if not CHROMIUM and not os.environ.get("CI"):
    pytest.skip("Chromium is not installed", allow_module_level=True)

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
NAVIGATION = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}

# A machine that trains beside the tests takes its time.
expect.set_options(timeout=20_000)

EVIL = "<img src=x onerror=hit()>"
ASCII = Vocabulary("characters", [0x0A, *range(0x20, 0x7F)])
LINES = ["kara", "karel", "karin", "katja", "kira"] * 20


def of_a_list() -> Checkpoint:
    """The toy model, as if it had been trained on a list of names."""
    ids = ALPHABET.encode("\n".join(LINES)).astype(np.uint8)
    card = {"corpus": {"characters": len(ids), "lines": len(LINES), "tokens": "characters"}}
    hashes = line_hashes(Corpus(ALPHABET, ids[:-2], ids[-2:]), limit=10_000)
    return replace(toy_checkpoint(**card), lines=hashes)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    registry = Registry(data / "models")
    baseline = {"ngram_order": 5, "val_loss": 2.5, "bpc": 3.6}
    points = [{"step": n, "train_loss": 4 - n / 99, "val_loss": None} for n in range(0, 200, 10)]
    toy = toy_checkpoint(vocabulary=ASCII, baseline=baseline)
    registry.publish(Reference("toy"), replace(toy, history=points, validation=b"A fox.\n" * 99))
    registry.publish(Reference("list"), of_a_list())
    registry.publish(Reference("quoting"), made(planted(), quoting_text(20_000)))
    return data


@pytest.fixture(scope="module")
def client(toys: Path) -> Iterator[httpx2.Client]:
    with serve(toys) as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.fail("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Window:
    """Opens pages, and keeps what the browser complained of while they were there.

    ``expected`` are parts of complaints that a test provokes.
    """

    browser: Browser
    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    def open(self, server: httpx2.Client, path: str = "/", **options: Any) -> Page:
        options = {"viewport": DESKTOP, "locale": "en-US"} | options
        context = self.browser.new_context(base_url=str(server.base_url), **options)
        context.set_default_timeout(10_000)
        self.contexts.append(context)
        host = urlsplit(str(server.base_url)).netloc
        context.on("console", lambda m: self._note(m.type in ("error", "warning"), m.text))
        context.on("weberror", lambda error: self._note(True, str(error.error)))
        context.on("request", lambda r: self._note(_is_foreign(r.url, host), f"asked {r.url}"))
        page = context.new_page()
        page.goto(path)
        return page

    def _note(self, is_bad: bool, text: str) -> None:
        if is_bad and not any(part in text for part in self.expected):
            self.complaints.append(text)


def _is_foreign(url: str, host: str) -> bool:
    address = urlsplit(url)
    return address.scheme not in ("data", "blob") and address.netloc != host


@pytest.fixture
def window(browser: Browser) -> Iterator[Window]:
    window = Window(browser)
    yield window
    for context in window.contexts:
        context.close()
    assert window.complaints == []


def sample(client: httpx2.Client, **fields: Any) -> str:
    """What the API writes, to hold against what the page shows."""
    fields = {"model": "toy", "temperature": 0.8, "length": 400, "seed": 7} | fields
    response = client.post("/sample", json=fields)
    assert response.status_code == 200, response.text
    return response.text


def link(**fields: Any) -> str:
    return "/#" + urlencode({"model": "toy", "length": 400, "seed": 7, "prime": "Ka"} | fields)


def text_of(pane: Locator) -> str:
    """The text as it was written: blocks end with the line ends that they hold."""
    text: str = pane.locator(".body").evaluate("body => body.textContent")
    return text


def written(page: Page, pane: int = 0) -> str:
    """What a pane shows once it is done."""
    expect(page.locator(".foot")).to_contain_text("seed")
    expect(page.get_by_role("button", name="Write", exact=True)).to_be_visible()
    return text_of(page.locator(".pane").nth(pane))


# Over HTTP


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_a_page_for_browsers_alone(client: httpx2.Client, view: str) -> None:
    page = client.get(view.replace("{job_id}", "0" * 22), headers=NAVIGATION)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Accept" in page.headers["vary"] and page.headers["cache-control"] == "no-cache"
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';") and "unsafe" not in policy
    for accept in ("*/*", "application/json", "text/plain"):
        other = client.get(view, headers={"Accept": accept})
        assert "html" not in other.headers["content-type"]


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        (NAVIGATION["Accept"], True),
        ("text/html", True),
        ("*/*", False),
        ("", False),
        ("application/json, text/html;q=0.5", False),
        ("text/html;q=0", False),
        ("text/html;q=nonsense, */*", False),
    ],
)
def test_who_wants_a_page(accept: str, is_page: bool) -> None:
    assert prefers_html(accept) is is_page


def test_files_are_kept_forever_and_pages_asked_for_anew(client: httpx2.Client) -> None:
    page = client.get("/", headers=NAVIGATION)
    again = client.get("/", headers=NAVIGATION | {"If-None-Match": page.headers["etag"]})
    assert again.status_code == 304 and not again.content
    links = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    assert len(links) >= 5
    for address in links:
        file = client.get(address)
        assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert file.headers["content-type"].startswith(kinds[Path(address).suffix])
        assert client.head(address).headers["etag"] == file.headers["etag"]
    version = links[0].split("/")[2]
    for gone in ("/static/000000000000/app.css", f"/static/{version}/../pages.py"):
        problem(client.get(gone), 404)
    problem(client.get(f"/static/{version}/index.html"), 404)


def test_the_widget_may_be_used_by_any_site(client: httpx2.Client) -> None:
    headers = client.get("/widget/charloom-names.js").headers
    assert headers["content-type"] == "text/javascript; charset=utf-8"
    assert headers["access-control-allow-origin"] == "*"
    assert headers["cross-origin-resource-policy"] == "cross-origin"


# Write


def test_the_first_page_is_light(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "about:blank")
    sizes: dict[str, int] = {}
    page.on("response", lambda response: sizes.update({response.url: len(response.body())}))
    page.goto("/")
    assert written(page).strip()
    # Texts weigh what they weigh: some 200 bytes for each character with its alternatives.
    assert sum(size for url, size in sizes.items() if not url.endswith("/sample")) < 150_000


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


def point_at(page: Page, offset: int) -> None:
    """Clicks a character; counted from the first of the prime."""
    place = page.locator(".body").first.evaluate(
        """(body, offset) => {
            const walker = document.createTreeWalker(body, NodeFilter.SHOW_TEXT);
            for (let node; (node = walker.nextNode()); offset -= node.length) {
                if (offset >= node.length) continue;
                const range = document.createRange();
                range.setStart(node, offset);
                range.setEnd(node, offset + 1);
                const box = range.getBoundingClientRect();
                return [box.left + box.width * 0.7, box.top + box.height / 2];
            }
        }""",
        offset,
    )
    page.mouse.click(*place)


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
    expect(page.get_by_label("Begins with")).to_have_value(prime)
    assert written(page) == prime + sample(client, prime=prime, length=60)
    page.go_back()
    expect(page.get_by_label("Begins with")).to_have_value("Ka")
    assert written(page) == text


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
    expect(page.get_by_label("Begins with")).not_to_have_value("Ka")


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
    page.get_by_role("button", name="Go on").click()
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


# Train


class Restartable:
    """A server that can be away for a while, at one address."""

    def __init__(self, data: Path, redis_url: str) -> None:
        self.settings = ServerSettings(data=data, redis_url=redis_url, pretrained=None)
        self.port = 0
        self.start()

    def start(self) -> None:
        listener = listen("127.0.0.1", self.port)
        self.port = listener.getsockname()[1]
        self.server = Server(create_app(self.settings))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listener]})
        self.thread.start()

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()

    @contextmanager
    def away(self) -> Iterator[None]:
        self.stop()
        try:
            yield
        finally:
            self.start()


@pytest.fixture
def server(data: Path, redis_url: str) -> Iterator[Restartable]:
    server = Restartable(data, redis_url)
    yield server
    server.stop()


def test_a_training_from_file_to_end(
    server: Restartable, start_worker: StartWorker, window: Window, tmp_path: Path
) -> None:
    """Through a reload and a restart of the server; text that could be markup stays text."""
    window.expected += ["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE", "ERR_EMPTY", "ERR_CONNECTION"]
    worker = start_worker()
    file = tmp_path / "Evil Lines.txt"
    file.write_text("".join(f"{EVIL} {n}\n" for n in range(300)))
    with httpx2.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=20) as client:
        page = window.open(client, "/train")
        page.set_input_files("#corpus-file", file)
        expect(page.locator(".report")).to_contain_text("300lines")
        expect(page.get_by_label("Name of the model")).to_have_value("evil-lines")
        page.get_by_text("Options").click()
        for label, value in {
            "Layers": "1",
            "Cells in a layer": "32",
            "Batch size": "8",
            "Sequence length": "32",
            "Learning rate": "0.01",
            "Steps at most": "2000",
            "Steps between evaluations": "150",
            "Samples at steps": "100,300,500",
        }.items():
            page.get_by_label(label, exact=True).fill(value)
        page.get_by_role("button", name="Train", exact=True).click()
        expect(page).to_have_url(re.compile("/train/[0-9a-f]{22}$"))

        samples = page.locator(".samples li")
        expect(samples.first).to_contain_text("Step 100", timeout=180_000)
        # Held, so that it is still there when it is cancelled, however fast it trains.
        (horse,) = worker.horses()
        os.kill(horse, signal.SIGSTOP)
        page.reload()
        expect(samples.first).to_contain_text("Step 100")
        with server.away():
            expect(page.get_by_text("The server is away")).to_be_visible()
        expect(page.get_by_text("The server is away")).to_be_hidden()
        status = page.locator(".title-line .status")
        page.get_by_role("button", name="Cancel").click()
        expect(status).to_have_text("cancelling")
        os.kill(horse, signal.SIGCONT)
        expect(status).to_have_text("cancelled")
        page.get_by_role("button", name="Resume").click()
        page.get_by_role("dialog").get_by_role("button", name="Resume").click()
        expect(status).to_have_text("finished", timeout=180_000)
        expect(samples).to_have_count(3)
        expect(page.locator(".figures").first).to_contain_text("2,000")
        expect(page.locator(".figures").first).to_contain_text("Counting alone")
        expect(page.locator(".legend")).to_contain_text("-gram baseline")
        lines = page.locator(".chart .val-line path")
        assert (lines.get_attribute("d") or "").count("L") >= 10
        # How it begins is above the frame, and cut off: it would flatten the rest.
        trained = page.locator(".drawing svg .train-line path").get_attribute("d") or ""
        heights = [float(point.split()[1]) for point in re.split("[ML]", trained)[1:]]
        assert heights[0] < 12 < min(heights[len(heights) // 2 :])
        assert EVIL in (samples.last.text_content() or "")
        page.get_by_role("img", name="Loss over steps").focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator(".tip")).to_contain_text("bpc")
        assert accessible(page)

        page.get_by_role("link", name="Let it write").click()
        expect(page.locator(".body").first).to_contain_text(EVIL)
        page.get_by_role("link", name="Names", exact=True).click()
        expect(page.locator("charloom-names li", has_text="onerror=").first).to_be_visible()
        assert page.evaluate("document.images.length") == 0

        page.get_by_role("link", name="Train", exact=True).click()
        expect(page.locator(".jobs li")).to_contain_text("evil-lines")
        # The same text again, under a name that is no name.
        page.get_by_label("A text that is here already").select_option(index=1)
        page.get_by_label("Name of the model").fill("evil-lines")
        page.get_by_text("Options").click()
        page.get_by_label("Layers", exact=True).fill("9")
        window.expected.append("422")
        page.get_by_role("button", name="Train", exact=True).click()
        expect(page.locator("[data-field=num_layers] .wrong")).to_contain_text("1 to 8")
        expect(page.get_by_label("Layers", exact=True)).to_be_focused()


def test_a_job_is_cancelled(server: Restartable, window: Window) -> None:
    """No worker is there: it waits until somebody changes their mind."""
    with httpx2.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=20) as client:
        page = window.open(client, "/train")
        page.get_by_label("The text itself").fill(
            "A text that is pasted, twice and once more. " * 9
        )
        page.get_by_label("Name of the model").fill("pasted")
        expect(page.get_by_role("button", name="Train", exact=True)).to_be_enabled()
        page.get_by_role("button", name="Train", exact=True).click()
        expect(page.locator(".title-line .status")).to_have_text("queued")
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator(".title-line .status")).to_have_text("cancelled")
        page.get_by_role("button", name="Remove").click()
        page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        expect(page).to_have_url(re.compile("/train$"))
        expect(page.get_by_text("None yet.")).to_be_visible()


def test_the_doctor_speaks_before_anything_is_trained(
    client: httpx2.Client, window: Window
) -> None:
    page = window.open(client, "/train")
    latin = ("Das Fr\u00fchst\u00fcck war sch\u00f6n. " * 20).encode("latin-1")
    page.set_input_files(
        "#corpus-file", {"name": "B\u00fccher.txt", "mimeType": "text/plain", "buffer": latin}
    )
    expect(page.locator(".report .warning").first).to_contain_text("UTF-8")
    expect(page.get_by_label("Name of the model")).to_have_value("bu-cher")
    page.get_by_text("Options").click()
    expect(page.get_by_label("What is read")).to_have_value("bytes")


def test_an_unknown_job_is_said(client: httpx2.Client, window: Window) -> None:
    window.expected.append("404")
    page = window.open(client, f"/train/{'0' * 22}")
    expect(page.get_by_role("heading", level=1)).to_have_text("There is no such job")


# Inside


def pixels(page: Page) -> str:
    """The first strip of the picture, as it is painted."""
    image: str = page.locator(".strips canvas").first.evaluate("canvas => canvas.toDataURL()")
    return image


def test_a_cell_is_picked_from_the_ranking(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "/inside?model=quoting")
    readout = page.locator(".readout")
    # The best of all is shown to begin with, on the text that it was found on.
    expect(readout).to_contain_text(f"Layer 0, cell {COLUMN} follows “position in the line”")
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
    expect(readout).to_contain_text(f"the cell says {value:.2f}")
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
    expect(readout).to_contain_text("the cell says 0.12")


def test_the_search_through_the_cells_is_waited_for(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "about:blank")
    nothing = '{"hypotheses":null,"share":null}'
    page.route(
        "**/models/quoting/cells",
        lambda route: route.fulfill(status=202, headers={"Retry-After": "1"}, body=nothing),
    )
    page.goto("/inside?model=quoting&picture=cell")
    expect(page.get_by_text("Looking through the cells")).to_be_visible()
    # Something is there to look at meanwhile: what the model writes itself.
    expect(page.locator(".facts")).to_contain_text("2,000 characters")
    page.unroute("**/models/quoting/cells")
    expect(page.locator(".chip").first).to_be_visible()
    expect(page.get_by_text("Looking through the cells")).to_be_hidden()
    expect(page.locator(".facts")).to_contain_text("2,000 characters")
    page.get_by_role("button", name="Held-out text").click()
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


# Names, and the widget elsewhere


def test_names_as_they_are_wanted(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "/names")
    names = page.locator("charloom-names li")
    expect(names).to_have_count(24)
    page.get_by_label("Starts with").fill("k")
    page.get_by_label("How many").fill("3")
    expect(names).to_have_count(3)
    expect(page.locator("charloom-names li", has_text=re.compile("^k"))).to_have_count(3)
    snippet = page.locator("pre code").text_content() or ""
    assert 'starts-with="k"' in snippet and "/widget/charloom-names.js" in snippet


STRICT = "default-src 'none'; script-src {0}; connect-src {0}"


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

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_the_widget_on_a_page_of_another_origin(toys: Path, window: Window) -> None:
    """With keys on, and sampling public; and once the operator takes the origin off the list."""
    tag = '<charloom-names model="list" count="5" seed="3"></charloom-names>'
    icon = '<link rel="icon" href="data:,">'
    script = '<script type="module" src="{}/widget/charloom-names.js"></script>'
    body = icon + tag + script
    with site(lambda: body.format(api)) as origin:
        names = {"api_keys": "secret:admin", "public": "sample"}
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
            window.expected += ["has been blocked by CORS policy", "ERR_FAILED"]
            page = window.open(server, origin)
            expect(page.locator("[part=status]")).to_contain_text("away just now")
            expect(page.locator("charloom-names li")).to_have_count(0)


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
    query = {"model": "list", "count": 7, "seed": 3}
    answer = client.get("/names", params=query).json()
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
    window.expected += ["503", "ERR_FAILED", "422"]
    page = window.open(client, "about:blank")
    page.route("**/names?*", lambda route: route.fulfill(status=503, body="{}"))
    elsewhere(page, client, '<charloom-names model="list"></charloom-names>')
    status = page.locator("charloom-names [part=status]")
    expect(status).to_contain_text("Many people are asking")
    page.unroute("**/names?*")
    page.route("**/names?*", lambda route: route.abort())
    page.get_by_role("button").click()
    expect(status).to_contain_text("away just now")
    page.unroute("**/names?*")
    page.locator("charloom-names").evaluate("(e) => e.setAttribute('model', 'toy')")
    expect(status).to_contain_text("was not trained on a list")


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


# Models


def test_a_model_goes_out_and_comes_in(
    client: httpx2.Client, window: Window, tmp_path: Path
) -> None:
    page = window.open(client, "/models")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download toy").click()
    assert download.value.suggested_filename == "toy.zip"
    download.value.save_as(tmp_path / "Taken Away.zip")
    page.set_input_files("#model-file", tmp_path / "Taken Away.zip")
    dialog = page.get_by_role("dialog", name="Import a model")
    expect(dialog.get_by_label("Name")).to_have_value("taken-away")
    dialog.get_by_role("button", name="Import").click()
    expect(page.get_by_text("taken-away is here.")).to_be_visible()
    expect(page.get_by_role("heading", name="taken-away", exact=True)).to_be_visible()
    same = [client.get(f"/models/{name}").json()["parameters"] for name in ("toy", "taken-away")]
    assert same[0] == same[1]
    (tmp_path / "nonsense.zip").write_bytes(b"PK")
    window.expected.append("422")
    page.set_input_files("#model-file", tmp_path / "nonsense.zip")
    dialog.get_by_role("button", name="Import").click()
    expect(page.locator(".message.problem")).to_contain_text("zip")
    client.delete("/models/taken-away")


def test_models_and_their_end(client: httpx2.Client, toys: Path, window: Window) -> None:
    Registry(toys / "models").publish(Reference("unloved"), toy_checkpoint(vocabulary=ASCII))
    page = window.open(client, "/models")
    expect(page.locator(".model")).to_have_count(4)
    toy = page.locator(".model", has=page.get_by_role("heading", name="toy", exact=True))
    expect(toy).to_contain_text("5-gram")
    expect(toy.get_by_role("img")).to_have_attribute(
        "aria-label", re.compile("Loss over 190 steps")
    )
    page.get_by_role("button", name="Delete unloved").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.locator(".model")).to_have_count(4)
    page.get_by_role("button", name="Delete unloved").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".model")).to_have_count(3)
    problem(client.get("/models/unloved"), 404)


# For everybody


def accessible(page: Page) -> bool:
    """Whether axe finds nothing; what it finds is what the test fails with."""
    violations = Axe().run(page).response["violations"]
    assert [(v["help"], [node["html"] for node in v["nodes"]]) for v in violations] == []
    return True


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
        "Models": ".model svg",
    }
    window.expected.append("404")
    for view, there in ready.items():
        page.get_by_role("link", name=view, exact=True).click()
        page.locator(f"main {there}").first.wait_for()
        assert accessible(page), view
        if view == "Train":
            page.get_by_text("Options").click()
            page.locator("legend").first.wait_for()
            assert accessible(page), "options"


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


def test_who_wants_less_motion_gets_no_text_unasked(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "/", reduced_motion="reduce")
    expect(page.get_by_label("Model", exact=True)).to_have_value(re.compile("toy|list|quoting"))
    assert not text_of(page.locator(".pane").first)


KEYS = "sesame:sample,mighty:admin"


def answered(page: Page, key: str) -> None:
    page.get_by_role("textbox", name="Key").fill(key)
    page.get_by_role("button", name="Go on").last.click()


def test_a_key_is_asked_for_once(toys: Path, window: Window) -> None:
    window.expected += ["401", "403"]
    with serve(toys, api_keys=KEYS) as client:
        client.headers["Authorization"] = "Bearer mighty"
        page = window.open(client, link())
        dialog = page.get_by_role("dialog", name="This server asks for a key")
        answered(page, "wrong")
        expect(dialog).to_contain_text("is not one of its keys")
        answered(page, "sesame")
        text = "Ka" + sample(client, prime="Ka")
        assert written(page) == text
        page.reload()
        assert written(page) == text
        expect(dialog).to_have_count(0)

        page.get_by_role("link", name="Models", exact=True).click()
        page.get_by_role("button", name="Delete toy").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(dialog).to_contain_text("may not do this")
        dialog.get_by_role("button", name="Cancel").click()
        expect(page.locator(".message")).to_contain_text("needs a key with the scope admin")
        page.get_by_role("link", name="Train", exact=True).click()
        answered(page, "mighty")
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
        dialog = page.get_by_role("dialog", name="This server asks for a key")
        dialog.get_by_role("button", name="Cancel").click()
        expect(page.locator(".job-list")).to_contain_text("needs a key")
        for _ in range(2):
            with page.expect_response("**/jobs?*"):
                page.clock.fast_forward(10_000)
        expect(dialog).to_have_count(0)


def test_the_api_can_be_read_and_tried(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "/docs")
    expect(page.get_by_text("Stream text from a model", exact=True)).to_be_visible()
    page.get_by_text("The process lives").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".responses-inner")).to_contain_text('"status": "ok"')

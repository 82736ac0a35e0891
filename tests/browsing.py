"""A real browser on a real server, for the tests of the pages.

Every test fails if the browser complained of anything: an error in the console, a breach of the
content security policy, a request to another host. Knows no view.
"""

import os
import re
import shutil
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
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from models.checkpoints.format import Checkpoint
from models.checkpoints.history import HistoryPoint
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.text.corpus import Corpus
from models.text.novelty import line_hashes
from models.text.vocab import Vocabulary
from tests.local_http import answering
from tests.planted import made, planted, quoting_text
from tests.serving import serve
from tests.toys import ALPHABET, toy_checkpoint

# The same browser without a window's frame takes a third less of the processor.
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser")
CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)

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
expect.set_options(timeout=60_000)

EVIL = "<img src=x onerror=hit()>"
ASCII = Vocabulary("characters", [0x0A, *range(0x20, 0x7F)])
LINES = ["kara", "karel", "karin", "katja", "kira"] * 20


def of_a_list() -> Checkpoint:
    """The toy model, as if it had been trained on a list of names."""
    ids = ALPHABET.encode("\n".join(LINES)).astype(np.uint8)
    corpus = {"characters": len(ids), "lines": len(LINES), "tokens": "characters"}
    hashes = line_hashes(Corpus(ALPHABET, ids[:-2], ids[-2:]), limit=10_000)
    return replace(toy_checkpoint(corpus=corpus), lines=hashes)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    registry = Registry(data / "models")
    baseline = {"ngram_order": 5, "val_loss": 2.5, "bpc": 3.6}
    points: list[HistoryPoint] = [
        {"step": n, "train_loss": 4 - n / 99, "val_loss": None} for n in range(0, 200, 10)
    ]
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
        # Where nobody looks at what was skipped, it must be there.
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse("Chromium is not installed")
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
        context.set_default_timeout(60_000)
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
    # Not a test module, so pytest would not say which.
    assert window.complaints == [], window.complaints


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
    """What a pane shows once it is done; in any language."""
    expect(page.locator(".foot")).to_contain_text(re.compile("seed|シード"))
    expect(page.get_by_role("button", name=re.compile("^(Write|書く)$"))).to_be_visible()
    return text_of(page.locator(".pane").nth(pane))


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


def accessible(page: Page) -> bool:
    """Whether axe finds nothing; what it finds is what the test fails with."""
    violations = Axe().run(page).response["violations"]
    assert [(v["help"], [node["html"] for node in v["nodes"]]) for v in violations] == []
    return True


@contextmanager
def site_of(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """The origin of a site that is not ours, during the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with answering(server):
        yield f"http://127.0.0.1:{server.server_port}"

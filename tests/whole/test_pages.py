"""Write and Train in a real browser, on a real server; one training with a real worker."""

# The fixtures are imported until these tests move to tests/pages, which has them.
# ruff: noqa: F811

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import expect

from app.__main__ import Server, listen
from app.main import create_app
from app.settings import ServerSettings
from tests.browsing import (  # noqa: F401
    EVIL,
    Window,
    accessible,
    browser,
    client,
    link,
    point_at,
    sample,
    text_of,
    toys,
    window,
    written,
)
from tests.support import StartWorker

# Write


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


def test_who_wants_less_motion_gets_no_text_unasked(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "/", reduced_motion="reduce")
    expect(page.get_by_label("Model", exact=True)).to_have_value(re.compile("toy|list|quoting"))
    assert not text_of(page.locator(".pane").first)

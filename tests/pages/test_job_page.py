"""A job's page: one training with a real worker, from the file to the end."""

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from playwright.sync_api import Page, expect

from app.__main__ import Server
from app.main import create_app
from app.server.sockets import listen
from app.settings import ServerSettings
from tests.browsing import EVIL, PHONE, Window, accessible
from tests.support import StartWorker
from worker.events import EventLog, ProgressData
from worker.job_files import NGramFigures
from worker.jobs import Job, JobStore
from worker.queue import Queue


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

    def client(self) -> httpx2.Client:
        return httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

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


OPTIONS = {
    "Layers": "1",
    "Cells per layer": "32",
    "Batch size": "8",
    "Sequence length": "32",
    "Learning rate": "0.01",
    "Step limit": "2000",
    "Steps between evaluations": "150",
    "Samples at steps": "100,300,500",
}


def test_a_training_from_file_to_end(
    server: Restartable, start_worker: StartWorker, window: Window, tmp_path: Path
) -> None:
    """Through a reload and a restart of the server; text that could be markup stays text."""
    window.expected += ["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE", "ERR_EMPTY", "ERR_CONNECTION"]
    worker = start_worker()
    file = tmp_path / "Evil Lines.txt"
    file.write_text("".join(f"{EVIL} {n}\n" for n in range(300)))
    with server.client() as client:
        page = window.open(client, "/train")
        begin(page, file)

        newest = page.locator(".film-stage h3")
        expect(newest).to_have_text(re.compile("Step [135]00"), timeout=180_000)
        # Held, so that it is still there when it is cancelled, however fast it trains.
        (horse,) = worker.horses()
        os.kill(horse, signal.SIGSTOP)
        page.reload()
        expect(newest).to_have_text(re.compile("Step [135]00"))
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
        assert_is_whole(page)

        page.locator(".actions").get_by_role("link", name="Write", exact=True).click()
        expect(page.locator(".body").first).to_contain_text(EVIL)
        page.get_by_role("link", name="Names", exact=True).click()
        expect(page.locator("ol.names li", has_text="onerror=").first).to_be_visible()
        assert page.evaluate("document.images.length") == 0

        page.get_by_role("link", name="Train", exact=True).click()
        expect(page.locator(".jobs li")).to_contain_text("evil-lines")
        window.expected.append("422")
        begin_again_with_too_many_layers(page)


def begin(page: Page, file: Path) -> None:
    """Trains a small network on a file of 300 lines."""
    page.set_input_files("#corpus-file", file)
    expect(page.locator(".report")).to_contain_text("300lines")
    expect(page.get_by_label("Name of the model")).to_have_value("evil-lines")
    page.get_by_text("Options").click()
    for label, value in OPTIONS.items():
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page).to_have_url(re.compile("/train/[0-9a-f]{22}$"))


def assert_is_whole(page: Page) -> None:
    """The page of the job shows all of it."""
    assert_is_a_film(page)
    page.get_by_text("All 5 samples").click()
    samples = page.locator(".samples h3")
    expect(samples).to_have_text(["Step 2,000", "Step 500", "Step 300", "Step 100", "Step 0"])
    expect(page.locator(".figures").first).to_contain_text("2,000")
    expect(page.locator(".figures").first).to_contain_text("n-gram baseline")
    expect(page.locator(".figures").first).to_contain_text(re.compile(r"the .+ is .+ better"))
    counted = r"Beside the network it counts contexts of up to \d+ characters, [\d.]+ [kM]B\."
    expect(page.get_by_text(re.compile(counted))).to_be_visible()
    expect(page.locator(".legend")).to_contain_text("-gram baseline")
    lines = page.locator(".chart .val-line path")
    assert (lines.get_attribute("d") or "").count("L") >= 10
    # How it begins is above the frame, and cut off: it would flatten the rest.
    trained = page.locator(".drawing svg .train-line path").get_attribute("d") or ""
    heights = [float(point.split()[1]) for point in re.split("[ML]", trained)[1:]]
    assert heights[0] < 12 < min(heights[len(heights) // 2 :])
    assert EVIL in (page.locator(".samples .sample").first.text_content() or "")
    page.get_by_role("img", name="Loss over steps").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".tip")).to_contain_text("bpc")
    assert accessible(page)


def assert_is_a_film(page: Page) -> None:
    """From the untrained network to the end, by hand and by itself."""
    shown, slider = page.locator(".film-stage h3"), page.get_by_role("slider", name="Sample")
    expect(shown).to_have_text("Step 2,000")
    expect(page.locator(".mark line")).to_have_count(1)
    slider.press("Home")
    expect(shown).to_have_text("Step 0")
    assert EVIL not in (page.locator(".film-stage .sample").text_content() or "")
    slider.press("ArrowRight")
    expect(shown).to_have_text("Step 100")
    expect(slider).to_have_attribute("aria-valuetext", "Step 100")
    slider.press(" ")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(shown).to_have_text("Step 2,000")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    page.get_by_role("button", name="Play").click()
    expect(shown).to_have_text("Step 0")
    page.get_by_role("button", name="Pause").click()


def begin_again_with_too_many_layers(page: Page) -> None:
    """The same text again; the server refuses it, and the field says why."""
    page.get_by_label("A text already on the server").select_option(index=1)
    page.get_by_label("Name of the model").fill("evil-lines")
    page.get_by_text("Options").click()
    page.get_by_label("Layers", exact=True).fill("9")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.locator("[data-field=num_layers] .wrong")).to_contain_text("1 to 8")
    expect(page.get_by_label("Layers", exact=True)).to_be_focused()


def test_a_job_is_cancelled(server: Restartable, window: Window) -> None:
    """No worker is there: it waits until somebody changes their mind."""
    with server.client() as client:
        page = window.open(client, "/train")
        page.get_by_label("Text to train on").fill(
            "A text that is pasted, twice and once more. " * 9
        )
        page.get_by_label("Name of the model").fill("pasted")
        expect(page.get_by_role("button", name="Train", exact=True)).to_be_enabled()
        page.get_by_role("button", name="Train", exact=True).click()
        expect(page.locator(".title-line .status")).to_have_text("queued")
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator(".title-line .status")).to_have_text("cancelled")
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(page).to_have_url(re.compile("/train$"))
        expect(page.get_by_text("None yet.")).to_be_visible()


def test_a_job_that_a_worker_takes_is_no_longer_queued(
    server: Restartable, data: Path, queue: Queue, window: Window
) -> None:
    """Before its first event; and its baseline is there as soon as it is counted."""
    job, _ = JobStore(data / "jobs").create("long", "c" * 64, {}, None)
    with server.client() as client:
        page = window.open(client, f"/train/{job.id}")
        status = page.locator(".title-line .status")
        expect(status).to_have_text("queued")
        with job.lock():
            expect(status).to_have_text("running")
            log = EventLog(job.directory)

            def tell(event: str, data: dict[str, Any]) -> None:
                queue.events.publish(job.id, log.append(event, data))

            tell("progress", {"step": 1, "train_loss": 2.5})
            job.set_running({"baseline": BASELINE})
            tell("notice", {"code": "baseline", "text": "the n-gram baseline is known"})
            expect(page.locator(".legend")).to_contain_text("5-gram baseline 2.000")
            page.goto("about:blank")


BASELINE: NGramFigures = {"ngram_order": 5, "val_loss": 2.0, "bpc": 2.885}


def planned(store: JobStore, loss: float, **options: Any) -> Job:
    """A job that has told of 100 steps, ten a second."""
    job, _ = store.create("linux", "c" * 64, options, None)
    log = EventLog(job.directory)
    for step in (50, 100):
        log.append("progress", {"step": step, "train_loss": 3.0, "elapsed_seconds": step / 10})
    log.append("evaluation", {"step": 100, "val_loss": loss, "bpc": loss, "best": True})
    progress = dict.fromkeys(ProgressData.__annotations__, 0.0) | {"step": 100, "max_steps": 200}
    progress |= {"best_val_loss": loss, "val_loss": loss}
    job.set_running(
        {"options": options, "progress": cast(ProgressData, progress), "baseline": BASELINE}
    )
    return job


def test_runs_are_compared_live_and_by_a_link(
    server: Restartable, data: Path, queue: Queue, window: Window
) -> None:
    store = JobStore(data / "jobs")
    ended = planned(store, 1.5, learning_rate=0.004, seed=1)
    ended.finish("cancelled")
    live = planned(store, 1.75, learning_rate=0.002, seed=1)
    names = {job: f"linux {job.id[-4:]}" for job in (ended, live)}
    with server.client() as client, live.lock():
        page = window.open(client, "/train")
        page.get_by_role("link", name="Compare", exact=True).click()
        legend, rows = page.locator(".legend"), page.locator(".runs tbody th a")
        expect(legend).to_contain_text(f"{names[live]} 1.750")
        expect(legend).to_contain_text(f"{names[ended]} 1.500")
        expect(legend).to_contain_text("5-gram baseline 2.000")
        expect(rows).to_have_text([names[live], names[ended]])
        heads = page.locator(".runs thead")
        expect(heads).to_contain_text("Learning rate")
        expect(heads).not_to_contain_text("Seed")
        expect(page.locator(".runs tbody tr").first).to_contain_text("Beats the 5-gram by 13%.")

        log = EventLog(live.directory)
        told = {"step": 200, "val_loss": 1.25, "bpc": 1.8, "best": True}
        queue.events.publish(live.id, log.append("evaluation", told))
        expect(legend).to_contain_text(f"{names[live]} 1.250")
        page.get_by_label("Time").check()
        expect(page.locator(".axes")).to_contain_text("training time")
        page.get_by_role("button", name="Validation loss").click()
        expect(rows).to_have_text([names[ended], names[live]])
        assert accessible(page)

        window.expected.append("404")
        with_a_deleted_one = page.url.replace("jobs=", f"jobs={'0' * 22},")
        there = window.open(client, with_a_deleted_one, viewport=PHONE)
        expect(there.get_by_text("Deleted since this address was made: 1 run.")).to_be_visible()
        expect(there.get_by_label("Time")).to_be_checked()
        expect(there.locator(".runs tbody th a")).to_have_text([names[ended], names[live]])
        assert there.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        there.get_by_label(f"Compare {names[live]}").uncheck()
        expect(there.locator(".legend")).not_to_contain_text(names[live])
        expect(there).to_have_url(re.compile(f"jobs={ended.id}&"))
        for open_page in (page, there):
            open_page.goto("about:blank")


def test_no_label_of_the_chart_is_cut_off(server: Restartable, data: Path, window: Window) -> None:
    job, _ = JobStore(data / "jobs").create("long", "c" * 64, {}, None)
    log = EventLog(job.directory)
    for step in (0, 1_000_000):
        log.append("progress", {"step": step, "train_loss": 2.5})
    with server.client() as client:
        page = window.open(client, f"/train/{job.id}", viewport=PHONE)
        labels = page.locator(".chart .axes text")
        expect(labels.filter(has_text="1,000,000")).to_be_visible()
        ends = labels.evaluate_all("all => all.map(e => e.getBoundingClientRect().right)")
        drawing = page.locator(".chart .drawing").evaluate("e => e.getBoundingClientRect().right")
        assert max(ends) <= drawing + 0.5


def test_an_unknown_job_is_said(client: httpx2.Client, window: Window) -> None:
    window.expected.append("404")
    page = window.open(client, f"/train/{'0' * 22}")
    expect(page.get_by_role("heading", level=1)).to_have_text("This job does not exist")

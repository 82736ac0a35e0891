"""The browser's own EventSource follows a job and stops at its end."""

from pathlib import Path

from playwright.sync_api import Page

from tests.browsing import Window
from tests.serving import serve
from worker.events import EventLog
from worker.jobs import JobStore

FOLLOW = """url => new Promise((resolve) => {
    const seen = [];
    const source = new EventSource(url);
    for (const name of ["sample", "end"])
        source.addEventListener(name, (event) => seen.push(`${name} ${event.lastEventId}`));
    source.addEventListener("error", () => {
        if (source.readyState === EventSource.CLOSED) resolve(seen);
    });
})"""


def test_it_stops_at_the_end_of_a_job(data: Path, window: Window) -> None:
    """It reconnects once, as it does after every answer, and is told that there is no more."""
    job, _ = JobStore(data / "jobs").create("toy", "c" * 64, {}, None)
    EventLog(job.directory).append("sample", {"step": 1, "temperature": 0.5, "text": "a"})
    job.finish("finished")
    with serve(data) as client:
        page: Page = window.open(client, "/names")
        page.set_default_timeout(60_000)
        assert page.evaluate(FOLLOW, f"/jobs/{job.id}/events") == ["sample 1", "end 2"]

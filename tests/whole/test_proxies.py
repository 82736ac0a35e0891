"""Behind the real nginx and Caddy, as the README has it: texts, events, uploads, a path."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.proxies import BELOW, PASSED_ON, PLAIN, PROXIES, documented, nginx
from tests.serving import TEXT, problem, serve
from tests.toys import toy_checkpoint
from worker.events import EventLog
from worker.jobs import JobStore


@pytest.fixture
def server(tmp_path: Path) -> Iterator[httpx2.Client]:
    Registry(tmp_path / "data" / "models").publish(Reference("toy"), toy_checkpoint())
    with serve(tmp_path / "data", hosts="charloom.example.org") as client:
        yield client


@pytest.fixture(params=sorted(PROXIES))
def proxied(
    tmp_path: Path, server: httpx2.Client, request: pytest.FixtureRequest
) -> Iterator[httpx2.Client]:
    kind = request.param
    with PROXIES[kind](tmp_path, server, documented(kind)) as client:
        yield client


def test_a_text_comes_as_it_is_written(proxied: httpx2.Client) -> None:
    """Its end is a million characters away: a proxy that waits for it gives nothing."""
    with proxied.stream("GET", "/sample?model=toy&length=1000000") as response:
        assert response.status_code == 200
        assert next(response.iter_text())


def test_events_come_as_they_happen(tmp_path: Path, proxied: httpx2.Client) -> None:
    job, _ = JobStore(tmp_path / "data" / "jobs").create("toy", "c" * 64, {}, None)
    log = EventLog(job.directory)
    log.append("sample", {"step": 1, "temperature": 0.5, "text": "a"})
    with proxied.stream("GET", f"/jobs/{job.id}/events") as response, job.lock():
        events = iter(httpx2.EventSource(response))
        assert next(events).id == "1"
        job.finish("finished")
        assert [event.event for event in events] == ["end"]


def test_an_upload_is_as_large_as_the_server_says_and_goes_straight_through(
    server: httpx2.Client, proxied: httpx2.Client, tmp_path: Path
) -> None:
    """More than nginx's megabyte; staged here while the rest is still to come."""
    staged = threading.Event()
    corpora = tmp_path / "data" / "corpora"

    def body() -> Iterator[bytes]:
        for _ in range(40):
            yield TEXT.encode() * 30
        while not list(corpora.glob(".stage-*")):
            staged.wait(0.01)
        yield b"end\n"

    report = proxied.post("/corpora", content=body())
    assert report.status_code == 201, report.text
    assert report.json()["bytes"] == len(TEXT) * 30 * 40 + 4 > 4 << 20
    assert server.get("/corpora").json()["corpora"][0]["id"] == report.json()["id"]


def test_pages_of_its_own_may_change_things(proxied: httpx2.Client) -> None:
    origin = str(proxied.base_url).rstrip("/")
    started = proxied.post("/train?model=mine", content=TEXT, headers={"Origin": origin})
    assert started.status_code == 202, started.text
    refused = proxied.post("/train?model=m", headers={"Origin": "https://evil.example"})
    problem(refused, 403, "cross_origin")


def test_a_proxy_that_passes_no_host_is_told_what_to_do(
    tmp_path: Path, server: httpx2.Client
) -> None:
    with nginx(tmp_path, server, PLAIN) as client:
        origin = str(client.base_url).rstrip("/")
        assert client.get("/models").status_code == 200
        refused = client.post("/train?model=m", content=TEXT, headers={"Origin": origin})
        said = problem(refused, 403, "cross_origin")["detail"]
        assert "let the proxy pass the Host header on, or set CHARLOOM_HOSTS" in said
        # As it was told.
        public = {"Origin": "https://charloom.example.org"}
        assert client.post("/train?model=m", content=TEXT, headers=public).status_code == 202


# Below a path


@pytest.mark.parametrize("lines", [BELOW, PASSED_ON], ids=["stripped", "passed on"])
def test_a_server_that_knows_its_path_names_it(tmp_path: Path, lines: str) -> None:
    with (
        serve(tmp_path / "data", root_path="/loom") as server,
        nginx(tmp_path, server, lines) as client,
    ):
        started = client.post("/loom/train?model=m", content=TEXT)
        assert started.status_code == 202, started.text
        assert started.headers["location"] == f"/loom/jobs/{started.json()['id']}"
        assert client.get(started.headers["location"]).json()["id"] == started.json()["id"]
        assert client.get("/loom/openapi.json").json()["servers"] == [{"url": "/loom"}]
        assert f"{str(client.base_url).rstrip('/')}/loom/sample" in client.get("/loom/").text
        # Straight to the server, with and without the path.
        for path in ("/loom/jobs", "/jobs"):
            assert server.get(path).json()["jobs"]
        assert problem(client.get("/loom/nothing"), 404, "unknown_endpoint")
        home = server.get("/loom", headers={"Accept": "text/html"})
        assert (home.status_code, home.headers["location"]) == (308, "/loom/")
        error = client.post("/loom/v1/completions", content=b"{}").json()["error"]
        assert error["type"], json.dumps(error)

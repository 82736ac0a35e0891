"""Two servers behind nginx, of which one ends while texts run: nobody's text does.

Stopped, and killed; in a page and in a terminal. What they show is the text of an undisturbed
server.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.terminal import texts
from app.terminal.client import Client
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.browsing import ASCII, Window, browser, link, sample, window, written
from tests.proxies import documented, free_port, nginx
from tests.serving import eventually
from tests.support import ROOT
from tests.toys import toy_checkpoint

__all__ = ["browser", "window"]

NGINX = documented("nginx").replace("http://127.0.0.1:8000", "http://servers")


class Process:
    """A server in a process of its own, at one port."""

    def __init__(self, data: Path) -> None:
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{free_port()}", timeout=60)
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith("CHARLOOM_")}
        self._environment |= {
            "CHARLOOM_DATA": str(data),
            "CHARLOOM_REDIS_URL": "redis://127.0.0.1:1/0",
            "CHARLOOM_PRETRAINED": "/nowhere",
            "CHARLOOM_PORT": str(self.client.base_url.port),
            "CHARLOOM_DRAIN_SECONDS": "0.2",
        }
        self._log = data / "log"

    @contextmanager
    def running(self) -> "Iterator[subprocess.Popen[bytes]]":
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "app"],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        try:
            eventually(self._answers, 60)
            yield process
        finally:
            process.terminate()
            process.wait(60)

    def _answers(self) -> bool:
        try:
            return self.client.get("/healthz").status_code == 200
        except httpx2.HTTPError:
            return False

    def writes(self) -> int:
        """The number of texts that are being written."""
        found = re.search(r"(?m)^charloom_streams_open (\d+)", self.client.get("/metrics").text)
        assert found
        return int(found[1])


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, Process]]:
    """The first one is not running, the second one is."""
    data = tmp_path_factory.mktemp("data")
    Registry(data / "models").publish(Reference("toy"), toy_checkpoint(vocabulary=ASCII))
    first, second = Process(data), Process(data)
    with first.client, second.client, second.running():
        yield first, second


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_texts_continue_on_the_other_server(
    servers: tuple[Process, Process], window: Window, tmp_path: Path, how: signal.Signals
) -> None:
    window.expected.append("ERR_INCOMPLETE_CHUNKED_ENCODING")
    first, second = servers
    ports = [one.client.base_url.port for one in servers]
    upstream = (
        f"upstream servers {{ server 127.0.0.1:{ports[0]} max_fails=0;"
        f" server 127.0.0.1:{ports[1]} backup; }}"
    )
    fields: dict[str, Any] = {"model": "toy", "prime": "Ka", "length": 60_000, "seed": 3}
    with first.running() as process, nginx(tmp_path, first.client, NGINX, upstream) as proxy:
        page = window.open(proxy, link(length=40_000))
        body = page.locator(".body").first
        page.wait_for_function("e => e.textContent.length > 100", arg=body.element_handle())
        said = texts.text(Client(str(proxy.base_url)), fields)
        text = next(said)
        assert (first.writes(), second.writes()) == (2, 0)
        process.send_signal(how)
        assert text + "".join(said) == second.client.post("/sample", json=fields).text
        assert written(page) == "Ka" + sample(second.client, prime="Ka", length=40_000)

"""A real server on a free port, for tests: uvicorn in a thread, clients over TCP."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from app.__main__ import Server
from app.http.problems import CODES
from app.main import create_app
from app.server.sockets import listen
from app.settings import ServerSettings
from worker.data import DataDirectory

NOWHERE = "redis://127.0.0.1:1/0"
"""A Redis that is away: nobody listens on port 1."""

Query = dict[str, Any]
"""Fields of a query; httpx2's own type takes no ``dict[str, object]``."""

TEXT = "".join(f"{n} green bottles hanging on the wall\n" for n in range(100, 0, -1))


@contextmanager
def serve(
    data: Path | DataDirectory,
    redis_url: str = NOWHERE,
    *,
    listen_on: str = "127.0.0.1",
    **settings: Any,
) -> Iterator[httpx2.Client]:
    """A client of a server that runs during the block."""
    with stoppable(data, redis_url, listen_on=listen_on, **settings) as (client, _):
        yield client


@contextmanager
def stoppable(
    data: Path | DataDirectory,
    redis_url: str = NOWHERE,
    *,
    listen_on: str = "127.0.0.1",
    **settings: Any,
) -> Iterator[tuple[httpx2.Client, Callable[[], None]]]:
    """As ``serve``, with what tells the server to stop before the end of the block."""
    listener = listen(listen_on, 0)
    port = listener.getsockname()[1]
    settings = {"pretrained": None, "drain_seconds": 0} | settings
    directory = data if isinstance(data, DataDirectory) else DataDirectory(data)
    app = create_app(ServerSettings(data=directory, redis_url=redis_url, **settings))
    server = Server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()

    def stop() -> None:
        server.should_exit = True

    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client, stop
    finally:
        stop()
        thread.join()


def eventually(happened: Callable[[], Any], seconds: float = 60) -> Any:
    """What ``happened`` returns once it is true; asked less often the longer it takes."""
    began = time.monotonic()
    while not (value := happened()):
        waited = time.monotonic() - began
        assert waited < seconds, "it did not happen"
        time.sleep(min(0.005 + waited / 50, 0.05))
    return value


def problem(response: httpx2.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """The problem of a response that must be one, of that status and, if given, that code."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["type"] == "about:blank"
    assert body["title"] and body["detail"]
    assert body["code"] in CODES
    assert code in (None, body["code"]), body["code"]
    return body


def wrong_fields(response: httpx2.Response, code: str | None = None) -> dict[str, str]:
    """Field names and messages of a 422."""
    return {error["field"]: error["message"] for error in problem(response, 422, code)["errors"]}

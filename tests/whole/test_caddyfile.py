"""The real Caddy with ``deploy/Caddyfile``, as Compose starts it, in front of real servers."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.proxies import CADDY, free_port
from tests.serving import eventually, serve
from tests.support import ROOT
from tests.toys import toy_checkpoint


@pytest.fixture
def data(data: Path) -> Path:
    Registry(data / "models").publish(Reference("toy"), toy_checkpoint())
    return data


@contextmanager
def caddy(folder: Path, upstream: int) -> Iterator[httpx2.Client]:
    if CADDY is None:
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse("Caddy is not installed")
    port, health = free_port(), free_port()
    # Two tests at a time cannot both have the port of the health check.
    lines = (ROOT / "deploy" / "Caddyfile").read_text()
    assert lines.count("127.0.0.1:8001") == 1
    (folder / "Caddyfile").write_text(lines.replace("127.0.0.1:8001", f"127.0.0.1:{health}"))
    own = {
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "CHARLOOM_SITE": f":{port}",
        "CHARLOOM_UPSTREAM": "localhost",
        "CHARLOOM_UPSTREAM_PORT": str(upstream),
    }
    start = [str(CADDY), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    with (folder / "caddy.log").open("wb") as log:
        process = subprocess.Popen(start, stdout=log, stderr=log, env=os.environ | own)
    try:
        with (
            httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
            httpx2.Client(base_url=f"http://127.0.0.1:{health}", timeout=30) as checking,
        ):

            def is_healthy() -> bool:
                try:
                    return checking.get("/").status_code == 200
                except httpx2.HTTPError:
                    return process.poll() is not None

            eventually(is_healthy, 30)
            assert process.poll() is None, (folder / "caddy.log").read_text()
            yield client
    finally:
        process.terminate()
        process.wait(20)


def test_a_text_comes_as_it_is_written(data: Path, tmp_path: Path) -> None:
    """Its end is a million characters away: a proxy that waits for it gives nothing."""
    with (
        serve(data) as server,
        caddy(tmp_path, server.base_url.port or 0) as client,
        client.stream("GET", "/sample?model=toy&length=1000000") as response,
    ):
        assert response.status_code == 200
        assert next(response.iter_text())


def test_limits_count_clients_and_nobody_can_be_another(data: Path, tmp_path: Path) -> None:
    """The proxy says who asks, whatever a client says of itself."""
    limits: dict[str, Any] = {
        "api_keys": "abcdefgh:admin",
        "public": "sample",
        "public_rate": "2/hour",
        "trusted_proxies": ("127.0.0.1", "10.0.0.0/8"),
    }
    with serve(data, **limits) as server, caddy(tmp_path, server.base_url.port or 0) as client:
        codes = [
            client.get(
                "/sample?model=toy&length=1", headers={"X-Forwarded-For": f"192.0.2.{n}"}
            ).status_code
            for n in range(3)
        ]
        assert codes == [200, 200, 429]

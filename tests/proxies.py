"""The real nginx and Caddy in front of a server, configured as in the README or more plainly."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.serving import eventually
from tests.support import ROOT

# Debian has it where only root's PATH goes.
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
CADDY = shutil.which("caddy")

_AROUND = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{before}
    server {{
        listen 127.0.0.1:{port};
{lines}
    }}
}}
"""


def documented(kind: str) -> str:
    """The README's lines for a kind of proxy."""
    readme = (ROOT / "README.md").read_text()
    found = re.search(rf"^```{kind}\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert found, kind
    return found[1]


BELOW = (
    documented("nginx")
    .replace("location /", "location /loom/")
    .replace("127.0.0.1:8000", "127.0.0.1:8000/")
)
"""Below a path, which is taken off."""

PASSED_ON = BELOW.replace("127.0.0.1:8000/", "127.0.0.1:8000")
"""Below a path that the server must know."""

PLAIN = "location / { proxy_pass http://127.0.0.1:8000; }"
"""What people write who have read nothing."""


@contextmanager
def nginx(
    folder: Path, server: httpx2.Client, lines: str, before: str = ""
) -> Iterator[httpx2.Client]:
    """A client of nginx, whose ``lines`` for a server on port 8000 are used for this one.

    ``before`` are lines before those of the server, such as an ``upstream``.
    """
    port = free_port()
    file = folder / "nginx.conf"
    file.write_text(
        _AROUND.format(folder=folder, port=port, lines=_of(server, lines), before=before)
    )
    where = ["-p", str(folder), "-e", str(folder / "error.log")]
    with _running(folder, port, NGINX, "-c", str(file), *where) as client:
        yield client


@contextmanager
def caddy(folder: Path, server: httpx2.Client, lines: str) -> Iterator[httpx2.Client]:
    """A client of Caddy, likewise; without TLS, for which it would ask an authority."""
    port = free_port()
    file = folder / "Caddyfile"
    site = _of(server, lines).replace("charloom.example.org {", f"http://127.0.0.1:{port} {{")
    file.write_text(f"{{\n admin off\n auto_https off\n}}\n{site}")
    start = ("run", "--adapter", "caddyfile", "--config", str(file))
    with _running(folder, port, CADDY, *start) as client:
        yield client


PROXIES = {"nginx": nginx, "caddy": caddy}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _of(server: httpx2.Client, lines: str) -> str:
    return lines.replace("127.0.0.1:8000", f"127.0.0.1:{server.base_url.port}")


@contextmanager
def _running(
    folder: Path, port: int, program: str | None, *arguments: str
) -> Iterator[httpx2.Client]:
    if not program:
        # Where nobody looks at what was skipped, it must be there.
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse("nginx or Caddy is not installed")
    own = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [str(program), *arguments], stdout=output, stderr=output, env=os.environ | own
        )
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            eventually(lambda: process.poll() is not None or _listens(port), 30)
            assert process.poll() is None, (folder / "output").read_text()
            yield client
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0

"""Too many connections lock nobody out: those that wait are dropped for those that ask."""

import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest

from app.server.admission import MOST, Admission, most_connections
from app.server.connection import Connection
from tests.serving import NOWHERE, TEXT, eventually, serve

ROOT = Path(__file__).resolve().parents[2]


class Dropped:
    """Stands for a connection, which is its own transport."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.transport = self
        self.is_dropped = False

    def abort(self) -> None:
        self.is_dropped = True


def waiting(admission: Admission, host: str) -> Dropped:
    address = admission.admit(host)
    assert address
    connection = Dropped(address)
    admission.waits(cast(Connection, connection))
    return connection


def served(admission: Admission, host: str) -> Dropped:
    connection = waiting(admission, host)
    admission.is_served(cast(Connection, connection))
    return connection


def test_the_oldest_that_waits_is_dropped_for_a_new_one(caplog: pytest.LogCaptureFixture) -> None:
    admission = Admission(4)
    busy = served(admission, "127.0.0.1")
    there = [waiting(admission, "127.0.0.1") for _ in range(3)]
    for one in there[:2]:
        waiting(admission, "127.0.0.1")
        assert one.is_dropped
        admission.left(cast(Connection, one))
    assert not there[2].is_dropped and not busy.is_dropped
    assert admission.count == 4
    assert caplog.text.count("as many as the limit for files allows") == 1


def test_where_all_are_served_a_new_one_is_refused() -> None:
    admission = Admission(2)
    for _ in range(2):
        served(admission, "127.0.0.1")
    assert admission.admit("127.0.0.1") is None
    assert admission.count == 2


def test_one_address_has_its_share_and_drops_its_own() -> None:
    admission = Admission(8, ["192.0.2.0/24"])
    others = [waiting(admission, "198.51.100.1")]
    many = [served(admission, "203.0.113.1"), waiting(admission, "::ffff:203.0.113.1")]
    waiting(admission, "203.0.113.1")
    assert many[1].is_dropped and not many[0].is_dropped and not others[0].is_dropped
    # Of an IPv6 network too; but a proxy speaks for many, and loopback for this machine.
    household = [served(admission, f"2001:db8::{n}") for n in range(2)]
    assert admission.admit("2001:db8::9") is None
    for one in household:
        admission.left(cast(Connection, one))
    for host in ("192.0.2.1", "127.0.0.1"):
        trusted = [served(admission, host) for _ in range(3)]
        for one in trusted:
            admission.left(cast(Connection, one))


def test_nothing_is_kept_of_who_has_left() -> None:
    admission = Admission(100)
    for n in range(50):
        admission.left(cast(Connection, waiting(admission, f"198.51.100.{n}")))
    assert admission.count == 0
    assert not any((admission._count, admission._waiting, admission._waiting_of))


def test_files_are_left_for_models_and_jobs() -> None:
    assert most_connections(256) == 160
    assert most_connections(1024) == 768
    assert most_connections(sys.maxsize) == MOST
    assert most_connections(8) >= 1


# A real server


@contextmanager
def with_files(limit: int, data: Path, log: Path, **environment: str) -> Iterator[httpx2.Client]:
    """A server that may open few files."""

    def restrict() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    own = {"CHARLOOM_DATA": str(data), "CHARLOOM_REDIS_URL": NOWHERE, "CHARLOOM_PORT": "0"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app"],
            cwd=ROOT,
            env=os.environ | own | environment,
            stderr=output,
            preexec_fn=restrict,
        )
    try:
        found: Any = eventually(lambda: re.search(r" port (\d+)", log.read_text()), 60)
        with httpx2.Client(base_url=f"http://127.0.0.1:{found[1]}", timeout=30) as client:
            eventually(lambda: _answers(client), 60)
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx2.ConnectError:
        return False


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET /healthz HTTP/1.1\r\n"])
def test_few_files_and_many_slow_heads(tmp_path: Path, sent: bytes) -> None:
    log = tmp_path / "log"
    with with_files(256, tmp_path / "data", log) as client, ExitStack() as held:
        where = (client.base_url.host, client.base_url.port)
        for _ in range(400):
            connection = held.enter_context(socket.create_connection(where, timeout=30))
            try:
                connection.sendall(sent)
            except OSError:
                # Dropped already.
                continue
        # Everything works at once, with connections of its own.
        url = str(client.base_url)
        assert httpx2.get(f"{url}/healthz").status_code == 200
        started = httpx2.post(f"{url}/train?model=m", content=TEXT, timeout=60)
        assert started.status_code == 202, started.text
        sampled = httpx2.get(f"{url}/sample?model=linux&length=20", timeout=60)
        assert sampled.status_code == 200 and len(sampled.text) == 20
    said = log.read_text()
    assert said.count("as many as the limit for files allows") == 1
    assert "Too many open files" not in said and "Traceback" not in said


def test_where_no_file_is_free_it_says_so_once_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Should others of the process have taken what was reserved."""
    with serve(tmp_path) as client, ExitStack() as held:
        where = (client.base_url.host, client.base_url.port)
        assert client.get("/healthz").status_code == 200
        # Files of the clients, before none is left.
        asking = [held.enter_context(socket.socket()) for _ in range(20)]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            for connection in asking:
                connection.connect(where)
            eventually(lambda: "cannot accept connections: Too many open files" in caplog.text)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        asking[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        asking[-1].settimeout(20)
        assert asking[-1].recv(100).startswith(b"HTTP/1.1 200")
    assert caplog.text.count("cannot accept connections") == 1

"""A Redis of somebody else's: over TLS, a user who may do little, a password that nobody sees."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from app.supervisor.valkey import EmbeddedRedis
from tests.serving import eventually, serve
from tests.support import Horses, WorkerProcess, all_events, queue_at
from worker.connection import connect
from worker.jobs import Job
from worker.settings import WorkerSettings

PASSWORD = "open/sesame@now?"
RULES = "on resetchannels &rq:* ~rq:* ~charloom:* +@all -@admin -@dangerous +info"
"""What SECURITY.md says that charloom's user needs."""


TLS = """
import asyncio, ssl, sys
certificate, key, target = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)

async def copy(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()

async def serve(reader, writer):
    reader_there, writer_there = await asyncio.open_unix_connection(target)
    await asyncio.gather(copy(reader, writer_there), copy(reader_there, writer))

async def main():
    server = await asyncio.start_server(serve, "localhost", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""
"""Takes TLS off and passes on: Valkey's wheel was built without it."""


@contextmanager
def tls(certificate: Path, key: Path, target: Path) -> Iterator[int]:
    """The port on localhost of a server before ``target``, a Unix socket."""
    command = [sys.executable, "-c", TLS, str(certificate), str(key), str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[str]:
    """The URL of a Redis behind TLS that lets one user in."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    files = ("-keyout", str(key), "-out", str(certificate))
    subprocess.run(["openssl", *request.split(), *names, *files], check=True, capture_output=True)
    with EmbeddedRedis(tmp_path / "redis") as server:
        with redis.Redis.from_url(server.url) as admin:
            admin.execute_command("ACL", "SETUSER", "charloom", *RULES.split(), f">{PASSWORD}")
            admin.execute_command("ACL", "SETUSER", "default", "off")
        with tls(certificate, key, server.socket) as port:
            yield (
                f"rediss://charloom:{quote(PASSWORD, safe='')}@localhost:{port}/0"
                f"?ssl_ca_certs={certificate}"
            )


def command_lines() -> str:
    """Of all processes, as everybody on the machine can read them."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(file.read_bytes().decode(errors="replace"))
    return "\n".join(found)


def test_a_job_goes_its_way_over_tls_and_nobody_sees_the_password(
    foreign: str,
    job: Job,
    horses: Horses,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    horses.finish(job)
    monkeypatch.setenv("CHARLOOM_DATA", str(data))
    monkeypatch.setenv("CHARLOOM_REDIS_URL", foreign)
    monkeypatch.setenv("CHARLOOM_THREADS", "1")
    worker = WorkerProcess(WorkerSettings.from_environment(), tmp_path / "log")
    try:
        with serve(data, foreign) as client:
            eventually(lambda: client.get("/readyz").json().get("workers") == 1, 60)
            # The server finds it on disk, and puts it into the queue.
            # Between its fork and its exec, a horse still has its parent's command line.
            eventually(lambda: "worker.trainer.horse" in command_lines(), 60)
            seen = command_lines()
            events = all_events(queue_at(foreign, data), job)
        assert events[-1].data == {"status": "finished", "error": None}
    finally:
        worker.terminate()
    said = worker.said()
    for secret in (PASSWORD, quote(PASSWORD, safe="")):
        assert secret not in seen and secret not in said


def test_its_user_may_do_no_more_than_it_must(foreign: str) -> None:
    with connect(foreign) as client:
        assert client.ping()
        for refused in (
            ("CONFIG", "GET", "*"),
            ("FLUSHALL",),
            ("SET", "other", "1"),
            ("KEYS", "*"),
        ):
            with pytest.raises(redis.ResponseError, match=r"permissions"):
                client.execute_command(*refused)


def test_a_wrong_password_is_said_without_it(foreign: str) -> None:
    wrong = foreign.replace(quote(PASSWORD, safe=""), "barley")
    with connect(wrong) as client, pytest.raises(redis.AuthenticationError) as refused:
        client.ping()
    assert "barley" not in str(refused.value)

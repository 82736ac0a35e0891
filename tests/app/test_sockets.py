"""Listening sockets: loopback in both families, and connections that cost the kernel little."""

import errno
import socket
import threading
from pathlib import Path

import httpx2
import pytest

from app.__main__ import Server
from app.main import create_app
from app.server import sockets
from app.server.sockets import SEND_BUFFER, listen, listen_all
from app.settings import ServerSettings
from worker.data import DataDirectory


def test_a_connection_cannot_hold_much_of_the_kernels_memory() -> None:
    with (
        listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as connection,
    ):
        # Linux reports twice what was asked for.
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * SEND_BUFFER
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 15_000


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "LocalHost"])
@pytest.mark.parametrize("chosen", [False, True])
def test_localhost_is_both_loopbacks_on_one_port(host: str, chosen: bool) -> None:
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1] if chosen else 0
    listeners = listen_all(host, port)
    try:
        assert [one.getsockname()[0] for one in listeners] == ["127.0.0.1", "::1"]
        (port,) = {one.getsockname()[1] for one in listeners}
        for address in ("127.0.0.1", "::1"):
            socket.create_connection((address, port)).close()
    finally:
        for one in listeners:
            one.close()


def test_a_server_answers_on_both(tmp_path: Path) -> None:
    listeners = listen_all("localhost", 0)
    port = listeners[0].getsockname()[1]
    server = Server(create_app(ServerSettings(data=DataDirectory(tmp_path), pretrained=None)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": listeners})
    thread.start()
    try:
        for host in ("127.0.0.1", "[::1]", "localhost"):
            assert httpx2.get(f"http://{host}:{port}/models", timeout=60).status_code == 200
    finally:
        server.should_exit = True
        thread.join()


def test_a_host_of_its_own_is_one_socket() -> None:
    for host in ("::1", "0.0.0.0", "127.0.0.2"):
        (listener,) = listen_all(host, 0)
        listener.close()


def test_a_port_that_others_have_on_ipv6_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with listen("::1", 0) as taken:
        port = taken.getsockname()[1]
        (listener,) = listen_all("127.0.0.1", port)
        listener.close()
    assert f"cannot listen on ::1 port {port}" in caplog.text
    assert "use 127.0.0.1, not localhost" in caplog.text


def test_a_machine_without_ipv6_listens_on_ipv4(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def listening(host: str, port: int) -> socket.socket:
        if ":" in host:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return listen(host, port)

    monkeypatch.setattr(sockets, "listen", listening)
    (listener,) = listen_all("localhost", 0)
    listener.close()
    assert not caplog.records


def test_a_free_port_is_free_on_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """Port 0 finds one on IPv4; that somebody has it on IPv6 shows only then."""
    asked: list[tuple[str, int]] = []

    def listening(host: str, port: int) -> socket.socket:
        asked.append((host, port))
        if ":" in host and len(asked) < 6:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return listen(host, port)

    monkeypatch.setattr(sockets, "listen", listening)
    for listener in listen_all("localhost", 0):
        listener.close()
    assert [host for host, _ in asked] == ["127.0.0.1", "::1"] * 3

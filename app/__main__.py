"""``python -m app``: runs the server with settings from the environment.

Knows sockets, signals and uvicorn, and nothing of what is served.
"""

import asyncio
import logging
import resource
import socket
import struct
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from uvicorn.protocols.http.h11_impl import H11Protocol

from app import __version__
from app.access import deadlines
from app.http.streaming import CUT
from app.main import create_app
from app.routes.services import Services
from app.settings import ServerSettings, explained, refusal
from worker import logs
from worker.data import DataError, open_data

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

SEND_BUFFER = 256 << 10
"""Bytes that the kernel keeps until they are acknowledged; by default it keeps megabytes. Several
segments must fit (64 KiB each on loopback), or each waits for a delayed acknowledgement."""

UNSENT = 8 << 10
"""Unsent bytes that wait for a reader, in the kernel and again in uvicorn."""

STALLED_MILLISECONDS = 15_000
"""After which a reader that acknowledges nothing is cut off."""

MAX_HEAD = 16 << 10
"""Most bytes of a request's line and headers."""

GRACE_SECONDS = 5

log = logs.logger("app")


class _Protocol(H11Protocol):
    """uvicorn's protocol, with a small write buffer and a deadline for a request's head.

    The deadline runs from the start of a connection, or from the end of an answer.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=UNSENT)
        self.app = self._with_cut(self.app)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unwatch()

    def _with_cut(self, app: "ASGI3Application") -> "ASGI3Application":
        """The application, which may also cut the connection off in the middle of an answer."""

        async def cuttable(scope: Any, receive: Any, send: Any) -> None:
            extensions = {**scope.get("extensions", {}), CUT: self._cut}
            scope["extensions"] = extensions
            await app(scope, receive, send)

        return cuttable

    def _cut(self) -> None:
        if self.conn.their_http_version == b"1.0":
            # There the end of the connection is that of the answer: only a reset is none.
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.close()

    def _watch(self) -> None:
        in_a_request = self.cycle is not None and not self.cycle.response_complete
        if in_a_request or self.transport.is_closing():
            self._unwatch()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(deadlines.HEAD_SECONDS, self.transport.close)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Server(uvicorn.Server):
    """Tells the application about a shutdown before it comes, so that endless answers can end."""

    def __init__(self, app: FastAPI) -> None:
        settings: ServerSettings = app.state.settings
        super().__init__(
            uvicorn.Config(
                app,
                # httptools buffers headers without a limit.
                http=_Protocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=list(settings.trusted_proxies),
                server_header=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
                h11_max_incomplete_event_size=MAX_HEAD,
            )
        )
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        services: Services = self._app.state.services
        services.stopping.set()
        services.background.stop()
        # Before uvicorn waits for answers to end: texts stop where they are.
        await run_in_threadpool(services.streams.stop)
        await super().shutdown(sockets)
        # A client that has not read its answer by now will not.
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)


def listen(host: str, port: int) -> socket.socket:
    """Opens a listening socket whose connections cannot hold much kernel memory for long.

    Raises:
        OSError: the port is taken, or the IP address is not this machine's.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit all of these.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_MILLISECONDS)
        listener.bind(address)
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


def _allow_many_files() -> None:
    """Raises the limit for open files: a connection is one, and a shell may allow a few hundred."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    """Serves until SIGINT or SIGTERM; a failed start prints one line and exits with 1."""
    try:
        settings = ServerSettings()
    except ValidationError as error:
        sys.exit(explained(error))
    if reason := refusal(settings):
        sys.exit(reason)
    logs.configure(sys.stderr)
    # They log every start and every malformed form, which the access log and answers tell too.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    _allow_many_files()
    try:
        open_data(settings.data.root, log.warning, __version__)
    except DataError as error:
        sys.exit(str(error))
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        sys.exit(f"cannot listen on {settings.host} port {settings.port}: {error.strerror}")
    host, port = listener.getsockname()[:2]
    log.info("listening on %s port %d", host, port)
    try:
        Server(create_app(settings)).run(sockets=[listener])
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()

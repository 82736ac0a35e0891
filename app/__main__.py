"""``python -m app``: runs the server with settings from the environment.

Knows sockets, signals and uvicorn, and nothing of what is served.
"""

import asyncio
import logging
import socket
import sys
import time

import uvicorn
from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError

from app import __version__
from app.engine.memory import configure_allocator
from app.main import create_app
from app.routes.services import Services
from app.server import heads
from app.server.admission import Acceptor, Admission, most_connections
from app.server.connection import Connection, Turns
from app.server.preload import preload
from app.server.sockets import allow_many_files, listen_all, open_files
from app.settings import ServerSettings, explained, refusal
from worker import logs
from worker.data import DataError, open_data
from worker.hosts import LocksStayHere, present
from worker.settings import exit_misconfigured
from worker.storage.bucket import StorageRefused
from worker.storage.opening import open_storage

READ_SECONDS = 5
"""For which clients may read the ends of answers, once all have ended."""

LOOK_SECONDS = 0.1
"""Between two looks whether a second Ctrl-C hurries; and for requests on the way."""

log = logs.logger("app")


class Server(uvicorn.Server):
    """Drains before it stops: takes no more connections, and lets answers end within a grace.

    Endless answers end at once, and texts that are left then with the state to continue them from.
    """

    def __init__(self, app: FastAPI) -> None:
        settings: ServerSettings = app.state.settings
        super().__init__(
            uvicorn.Config(
                app,
                # Connections are made in startup.
                http=Connection,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=list(settings.trusted_proxies),
                server_header=False,
                timeout_graceful_shutdown=READ_SECONDS,
                h11_max_incomplete_event_size=heads.MAX_HEAD,
            )
        )
        self._app = app
        self._acceptor: Acceptor | None = None
        self._admission: Admission | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])
        settings: ServerSettings = self._app.state.settings
        most = most_connections(open_files())
        self._admission = admission = Admission(
            most, settings.trusted_proxies, settings.quota_connections
        )
        turns = Turns(asyncio.get_running_loop())

        def connect(address: str) -> Connection:
            return Connection(
                self.config,
                self.server_state,
                self.lifespan.state,
                turns=turns,
                census=admission,
                address=address,
            )

        self._acceptor = Acceptor(admission, connect)
        self._acceptor.start(sockets or ())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        services: Services = self._app.state.services
        # A proxy that is refused a connection asks another server.
        if self._acceptor is not None and self._acceptor.stop():
            await asyncio.sleep(LOOK_SECONDS)
        if self._admission is not None:
            self._admission.is_closing = True
        services.stopping.set()
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.retire()
        await self._drain(services.settings.drain_seconds)
        services.background.stop()
        await run_in_threadpool(services.streams.stop)
        await super().shutdown(sockets)
        # A client that has not read its answer by now will not.
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    async def _drain(self, seconds: float) -> None:
        """Waits until all answers have ended, for so long at most, or a second Ctrl-C."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self.force_exit:
            if not self.server_state.tasks:
                return
            await asyncio.wait(set(self.server_state.tasks), timeout=min(left, LOOK_SECONDS))


def main() -> None:
    """Serves until SIGINT or SIGTERM.

    A failed start prints one line and exits with 1, or ``os.EX_CONFIG`` if the settings are wrong.
    """
    try:
        settings = ServerSettings()
    except ValidationError as error:
        exit_misconfigured(explained(error))
    if reason := refusal(settings):
        exit_misconfigured(reason)
    logs.configure(sys.stderr)
    # They log every start and every malformed form, which the access log and answers tell too.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    configure_allocator()
    allow_many_files()
    preload()
    try:
        open_data(settings.data.root, log.warning, __version__)
        data = open_storage(settings.data, settings.storage, settings.cache_bytes)
    except DataError as error:
        sys.exit(str(error))
    except StorageRefused as error:
        exit_misconfigured(str(error))
    settings = settings.model_copy(update={"data": data})
    try:
        listeners = listen_all(settings.host, settings.port)
    except OSError as error:
        sys.exit(f"cannot listen on {settings.host} port {settings.port}: {error.strerror}")
    for listener in listeners:
        log.info("listening on %s port %d", *listener.getsockname()[:2])
    try:
        with present(settings.data, settings.redis_url):
            Server(create_app(settings)).run(sockets=listeners)
    except LocksStayHere as error:
        exit_misconfigured(str(error))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()

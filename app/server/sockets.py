"""Listening sockets, whose connections cannot hold much kernel memory. Knows nothing of HTTP."""

import errno
import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from worker import logs

SEND_BUFFER = 256 << 10
"""Bytes that the kernel keeps until they are acknowledged; by default it keeps megabytes. Several
segments must fit (64 KiB each on loopback), or each waits for a delayed acknowledgement."""

UNSENT = 8 << 10
"""Unsent bytes that wait for a reader, in the kernel and again in uvicorn."""

STALLED_MILLISECONDS = 15_000
"""After which a reader that acknowledges nothing is cut off."""

BACKLOG = 2048

LOOPBACKS = ("127.0.0.1", "::1")
"""``localhost`` is either, as a client's resolver likes."""

ATTEMPTS = 20
"""Free ports that are tried until one is free on both loopbacks."""

_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)

log = logs.logger("app")


def listen_all(host: str, port: int, attempts: int = ATTEMPTS) -> list[socket.socket]:
    """Listening sockets for a host, on one port: both loopbacks for ``localhost`` and 127.0.0.1.

    Raises:
        OSError: the port is taken, or the IP address is not this machine's.
    """
    if host.lower() not in ("localhost", LOOPBACKS[0]):
        return [listen(host, port)]
    first = listen(LOOPBACKS[0], port)
    chosen = first.getsockname()[1]
    try:
        return [first, listen(LOOPBACKS[1], chosen)]
    except OSError as error:
        if port == 0 and error.errno == errno.EADDRINUSE and attempts:
            first.close()
            return listen_all(host, port, attempts - 1)
        if error.errno not in _NO_IPV6:
            log.warning(
                "cannot listen on ::1 port %d (%s): use 127.0.0.1, not localhost",
                chosen,
                error.strerror,
            )
        return [first]


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
        for level, option, value in _options():
            listener.setsockopt(level, option, value)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _options() -> Iterator[tuple[int, int, Any]]:
    yield socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        yield socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        yield socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_MILLISECONDS


def allow_many_files() -> None:
    """Raises the limit for open files: a connection is one, and a shell may allow a few hundred."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def open_files() -> int:
    """The limit for open files."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit

"""A server that answers each connection as a test says, for what no sound server would do."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

MUTE = b""
"""Answers nothing and keeps the connection open."""

HANG_UP = b"hang up"
"""Answers nothing and closes the connection."""


@dataclass
class Scripted:
    """``asked`` are the requests that came, as bytes; of a body, what came with its head or was
    announced."""

    url: str
    asked: list[bytes] = field(default_factory=list)


def answer(
    body: bytes | str, kind: str = "application/json", status: str = "200 OK", *more: str
) -> bytes:
    """A response that ends with its connection."""
    head = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", "Connection: close", *more]
    content = body.encode() if isinstance(body, str) else body
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content


@contextmanager
def scripted(*answers: bytes) -> Iterator[Scripted]:
    """Serves the answers, one a connection, and after the last one hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Scripted(f"http://127.0.0.1:{listener.getsockname()[1]}")
        ended = threading.Event()
        thread = threading.Thread(target=_serve, args=(listener, server, answers, ended))
        thread.start()
        try:
            yield server
        finally:
            ended.set()
            # Wakes what waits for a connection.
            with suppress(OSError), socket.create_connection(listener.getsockname()):
                pass
            thread.join()


def _serve(
    listener: socket.socket, server: Scripted, answers: Sequence[bytes], ended: threading.Event
) -> None:
    left = list(answers)
    held = []
    while True:
        connection, _ = listener.accept()
        if ended.is_set():
            connection.close()
            break
        server.asked.append(_request(connection))
        content = left.pop(0) if left else HANG_UP
        if content == MUTE:
            held.append(connection)
            continue
        with connection, suppress(OSError):
            if content != HANG_UP:
                connection.sendall(content)
    for connection in held:
        connection.close()


def _request(connection: socket.socket) -> bytes:
    received = b""
    while not _is_whole(received) and (block := connection.recv(1 << 16)):
        received += block
    return received


def _is_whole(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    if not end:
        return False
    headers = head.lower()
    if b"transfer-encoding: chunked" in headers:
        return body.endswith(b"0\r\n\r\n")
    _, _, length = headers.partition(b"content-length: ")
    return len(body) >= int(length.split(b"\r\n")[0] or 0) if length else True

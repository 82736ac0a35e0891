"""JSON, compressed for clients that take it so: their largest answers are a fifth as long.

Only JSON of a known length is: a text, events and lines of JSON are sent while they are made, and a
compressor would hold them back. Knows no route.
"""

import gzip
import zlib

from anyio.to_thread import run_sync
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.negotiation import takes_gzip

COMPRESSED_FROM = 1024
"""Bytes below which compression saves no packet."""

_TYPES = ("application/json", "application/problem+json")

_AT_ONCE = 64 << 10
"""Bytes that are compressed within the event loop, which takes about a millisecond."""

_PIECE = 256 << 10
"""Bytes that a thread compresses before they are sent, so that no answer is held twice."""

_LEVEL = 4
"""Where twice the time would save only a tenth of the bytes."""

_GZIP_WINDOW = 16 + zlib.MAX_WBITS


class Compressed:
    """Compresses answers in JSON with gzip."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await self.app(scope, receive, _Answer(send, takes_gzip(Headers(scope=scope))).send)


class _Answer:
    """An answer on its way; ``is_taken`` says whether the client takes gzip."""

    def __init__(self, send: Send, is_taken: bool) -> None:
        self._send = send
        self._is_taken = is_taken
        self._start: Message | None = None
        self._stream: zlib._Compress | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and self._is_compressed(message):
            # Its length is known once the first part of the body is there.
            self._start = message
        elif message["type"] == "http.response.body" and (self._start or self._stream):
            await self._send_body(message.get("body", b""), message.get("more_body", False))
        else:
            await self._send(message)

    def _is_compressed(self, start: Message) -> bool:
        headers = MutableHeaders(scope=start)
        media_type = headers.get("content-type", "").partition(";")[0]
        if media_type not in _TYPES or "content-encoding" in headers:
            return False
        headers.add_vary_header("Accept-Encoding")
        return self._is_taken and int(headers.get("content-length", "0")) >= COMPRESSED_FROM

    async def _send_body(self, body: bytes, more: bool) -> None:
        start, self._start = self._start, None
        if start:
            headers = MutableHeaders(scope=start)
            headers["Content-Encoding"] = "gzip"
            if not more and len(body) <= _AT_ONCE:
                body = gzip.compress(body, _LEVEL, mtime=0)
                headers["Content-Length"] = str(len(body))
                await self._send(start)
                await self._send({"type": "http.response.body", "body": body})
                return
            del headers["Content-Length"]
            await self._send(start)
            self._stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
        assert self._stream
        for begin in range(0, len(body), _PIECE):
            piece = await run_sync(self._stream.compress, body[begin : begin + _PIECE])
            if piece:
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        if not more:
            await self._send({"type": "http.response.body", "body": self._stream.flush()})

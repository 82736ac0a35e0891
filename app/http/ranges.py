"""Files that a client can resume: entity tags, ranges and their conditions (RFC 9110).

The size of such a file is known before it is sent, and its bytes are the same each time. Of several
ranges in one request the whole file is sent, as the RFC allows. Knows no route.
"""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from app.http.bodiless import wants_no_body
from app.http.problems import Problem
from app.http.streaming import ClosingResponse

STALLED_SECONDS = 60.0
"""A client that takes nothing for so long is left. It gets a quarter of a megabyte at a time."""

_RANGE = re.compile(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes of a file from ``first`` to before ``end``."""

    first: int
    end: int


def is_known(request: Request, tag: str) -> bool:
    """Whether the client has the file already: ``If-None-Match``."""
    known = request.headers.get("if-none-match", "")
    tags = {one.strip().removeprefix("W/") for one in known.split(",")}
    return tag in tags or "*" in tags


def asked_part(request: Request, tag: str, size: int) -> Part | None:
    """The part of a file that a request asks for; None for all of it.

    Raises:
        Problem: 416 for a part that is not in the file.
    """
    found = _RANGE.fullmatch(request.headers.get("range", ""))
    # A part of another file than the client has the beginning of would be of no use.
    if found is None or request.headers.get("if-range", tag) != tag:
        return None
    first, last = (_bounded(text, size) if text else None for text in found.groups())
    if first is None and last is None:
        return None
    if first is None or last is None:
        # The last so many bytes, or all from the first.
        part = Part(size - (last or 0) if first is None else first, size)
    elif last < first:
        return None
    else:
        part = Part(first, min(last + 1, size))
    if part.first >= size:
        raise Problem(
            416,
            "range_not_satisfiable",
            f"the file has {size:,} bytes, and the range begins after them: ask for all of it",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return part


def _bounded(text: str, size: int) -> int:
    # Of a number with thousands of digits only that it is too large matters.
    return min(int(text), size) if len(text) < 20 else size


@dataclass(frozen=True, slots=True)
class MadeFile:
    """A file that is made as it is sent.

    ``tag`` is its entity tag, in quotes: equal tags, equal bytes. ``size`` is in bytes.
    """

    chunks: Iterator[bytes]
    size: int
    tag: str
    media_type: str


class ResumableResponse(ClosingResponse):
    """Sends a file or a part of it; to ``HEAD`` only the headers.

    Args:
        request: the request to answer.
        file: the file.
        part: what ``asked_part`` found in the request.
        headers: of the answer, besides those that this needs.
        close: called once, after the last chunk or when the client has disconnected.
    """

    def __init__(
        self,
        request: Request,
        file: MadeFile,
        part: Part | None,
        headers: Mapping[str, str],
        close: Callable[[], None],
    ) -> None:
        sent = part or Part(0, file.size)
        headers = {**headers, **_headers(file.tag), "Content-Length": str(sent.end - sent.first)}
        if part:
            headers["Content-Range"] = f"bytes {part.first}-{part.end - 1}/{file.size}"
        body = iter(()) if wants_no_body(request) else _cut(file.chunks, sent)
        super().__init__(body, file.media_type, headers, close)
        self.status_code = 206 if part else 200

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(STALLED_SECONDS):
                    await send(message)
            except TimeoutError:
                raise ClientDisconnect from None

        await super().__call__(scope, receive, send_in_time)


def not_modified(tag: str) -> Response:
    """304: the client has the file already."""
    return Response(status_code=304, headers=_headers(tag))


def _headers(tag: str) -> dict[str, str]:
    # A cache may keep it, and has to ask whether it is still what the model's name stands for.
    return {"ETag": tag, "Accept-Ranges": "bytes", "Cache-Control": "private, no-cache"}


def _cut(chunks: Iterator[bytes], part: Part) -> Iterator[bytes]:
    """Yields the bytes of a part, and takes no chunk after its last one."""
    at = 0
    for chunk in chunks:
        found = chunk[max(0, part.first - at) : part.end - at]
        at += len(chunk)
        if found:
            yield found
        if at >= part.end:
            return

"""Answers that are sent while they are being made, or in parts. Knows no route."""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from starlette.types import Receive, Scope, Send

from models.json_lines import one_line

CUT = "charloom.cut"
"""The extension of the ASGI scope with which an answer cuts its connection off."""

_SENT_AT_ONCE = 64 << 10


class BrokenOff(Exception):
    """The source of an answer ended early, and its form has no words for that.

    Raised by ``chunks``: the connection ends without the end of the answer, so that no client takes
    it for complete.
    """


class ClosingResponse(StreamingResponse):
    """Sends chunks as they are made; ``close`` frees their source however the answer ends.

    Args:
        chunks: the body; a plain iterator runs in a thread. It may raise ``BrokenOff``.
        media_type: of the body.
        headers: of the answer.
        close: called once, after the last chunk or when the client has disconnected.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes] | Iterator[bytes],
        media_type: str,
        headers: Mapping[str, str],
        close: Callable[[], None],
    ) -> None:
        self.close = close
        super().__init__(chunks, headers=headers, media_type=media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Not in the generator: the finally of one that never started does not run.
        try:
            await super().__call__(scope, receive, send)
        except BrokenOff:
            await _cut_off(scope, receive)
        finally:
            self.close()


async def _cut_off(scope: Scope, receive: Receive) -> None:
    # Without the extension the server does what it does with an answer that does not end.
    if cut := scope.get("extensions", {}).get(CUT):
        cut()
        while (await receive())["type"] != "http.disconnect":
            pass


def parts_response(parts: Sequence[bytes], headers: Mapping[str, str]) -> StreamingResponse:
    """An answer in JSON that was made in parts, so that no step of sending takes long."""
    length = str(sum(map(len, parts)))
    return StreamingResponse(
        _blocks(parts), headers={**headers, "Content-Length": length}, media_type="application/json"
    )


async def _blocks(parts: Sequence[bytes]) -> AsyncIterator[bytes]:
    block = bytearray()
    for part in parts:
        block += part
        if len(block) >= _SENT_AT_ONCE:
            yield bytes(block)
            block.clear()
    yield bytes(block)


def compact(value: object) -> bytes:
    """JSON as short as it can be. It holds the interpreter's lock: encode long lists in parts."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def event(name: str, data: Mapping[str, object]) -> bytes:
    """One server-sent event."""
    return format_sse_event(event=name, data_str=one_line(data))

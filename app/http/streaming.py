"""Answers that are sent while they are being made. Knows no route."""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from starlette.types import Receive, Scope, Send


class ClosingResponse(StreamingResponse):
    """Sends chunks as they are made; ``close`` frees their source however the answer ends.

    Args:
        chunks: the body; a plain iterator runs in a thread.
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
        finally:
            self.close()


def event(name: str, data: Mapping[str, object]) -> bytes:
    """One server-sent event."""
    return format_sse_event(event=name, data_str=json.dumps(data, ensure_ascii=False))

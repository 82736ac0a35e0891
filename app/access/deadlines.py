"""Deadlines for clients that send slowly. Knows no request and no route."""

import asyncio

from starlette.types import Message, Receive

HEAD_SECONDS = 10.0
"""For a request's line and headers, or for the rest of a body that nobody reads."""

BODY_SECONDS = 30.0
"""Grace for a body before its pace counts."""

BODY_PACE = 8 << 10
"""Bytes per second that a body must reach on average after that."""


class Body:
    """A request's body; a client that sends it too slowly counts as disconnected.

    Only the time spent waiting for bytes counts, not the time spent on them.
    """

    def __init__(self, receive: Receive) -> None:
        self.late = False
        self._receive = receive
        self._ended = False
        self._bytes = 0
        self._waited = 0.0

    async def receive(self) -> Message:
        if self._ended:
            return await self._receive()
        if self.late:
            return {"type": "http.disconnect"}
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(BODY_SECONDS + self._bytes / BODY_PACE - self._waited):
                message = await self._receive()
        except TimeoutError:
            self.late = True
            return {"type": "http.disconnect"}
        self._waited += loop.time() - began
        self._bytes += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        return message

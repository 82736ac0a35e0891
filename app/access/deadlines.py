"""How long a client may take to send what it has begun. Knows no request and no route."""

import asyncio

from starlette.types import Message, Receive

HEAD_SECONDS = 10.0
"""Until a request's line and headers are there, or what is left of a body that nobody reads."""

BODY_SECONDS = 30.0
"""Until a body has begun to come as fast as it must."""

BODY_PACE = 8 << 10
"""Bytes a second that a body must bring on average after that."""


class Body:
    """A request's body as it comes; whoever sends it too slowly is taken to have left.

    Only waiting counts, not what is done with the bytes between.
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

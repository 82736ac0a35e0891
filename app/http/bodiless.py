"""HEAD, for every endpoint that has GET: the same answer without its body (RFC 9110, 9.3.2).

Knows no route; one whose body is costly asks ``wants_no_body`` and makes none.
"""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_KEY = "charloom.bodiless"


class Bodiless:
    """Serves HEAD as GET, and ends the answer after its headers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        is_sent = False

        async def send_headers(message: Message) -> None:
            nonlocal is_sent
            if not is_sent:
                is_sent = True
                await send(message)
                # To an answer that is made while it is sent, the client has gone.
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        async def receive_until_sent() -> Message:
            return {"type": "http.disconnect"} if is_sent else await receive()

        # A copy: the server, which frames the answer, must know that it is one to HEAD.
        asked = {**scope, "method": "GET", _KEY: True}
        await self.app(asked, receive_until_sent, send_headers)


def headers_only(headers: Mapping[str, str], media_type: str) -> Response:
    """Returns the answer to HEAD where GET makes its body while it is sent.

    It has no Content-Length: a wrong one is worse than none (RFC 9110, 8.6).
    """
    response = Response(headers=headers, media_type=media_type)
    del response.headers["content-length"]
    return response


def wants_no_body(request: Request) -> bool:
    return request.method == "HEAD" or _KEY in request.scope

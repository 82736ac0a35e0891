"""Serves an application below a path that a proxy passes on. Knows no route."""

from starlette.datastructures import MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Mounted:
    """Takes ``root`` off the paths of requests, where it is, and puts it before ``Location``."""

    def __init__(self, app: ASGIApp, root: str) -> None:
        self.app = app
        self._root = root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._root:
            await self.app(scope, receive, send)
            return
        if scope["path"] == self._root:
            # The links of a page are relative to a slash.
            await RedirectResponse(f"{self._root}/", 308)(scope, receive, send)
            return
        # With it FastAPI makes absolute URLs, and names the server in openapi.json.
        scope["root_path"] = self._root
        if scope["path"].startswith(f"{self._root}/"):
            # In place, since the layers around this one look at the path too.
            scope["path"] = scope["path"][len(self._root) :]
            scope["raw_path"] = scope["raw_path"].removeprefix(self._root.encode())

        async def send_rooted(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("location", "").startswith("/"):
                    headers["Location"] = self._root + headers["Location"]
            await send(message)

        await self.app(scope, receive, send_rooted)

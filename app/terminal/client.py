"""The HTTP client of the service: JSON, texts as they come, server-sent events, uploads.

Knows how the service reports an error; not where the service is, nor what its answers mean.
"""

import os
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import quote

import httpx
from httpx_sse import EventSource, SSEError

from app.supervisor.errors import UserError
from app.terminal.problems import explained

TIMEOUT = 60.0
"""Seconds without a byte: event streams carry a sign of life every 15."""

_MAX_ERROR = 64 << 10
_BLOCK = 1 << 16

Query = Mapping[str, Any]


class Unreachable(UserError):
    """The service does not answer, or its answer breaks off.

    ``heard`` says that some of the answer came: the service was there.
    """

    def __init__(self, message: str, *, heard: bool = False) -> None:
        super().__init__(message)
        self.heard = heard


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One server-sent event; ``id`` is empty if it has none."""

    name: str
    data: dict[str, Any]
    id: str = ""


class Client:
    """Talks to the service at a URL. Each request has a connection of its own: none gets stale.

    Args:
        url: ``http://host:port``, or https, perhaps with a path.
        key: sent as a bearer token; None sends none.

    Raises:
        UserError: the URL or the key cannot be one.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        if key and not (key.isascii() and key.isprintable()):
            raise UserError("the API key is not valid: it has characters other than ASCII")
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=_checked(self.url),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=TIMEOUT,
            limits=httpx.Limits(max_keepalive_connections=0),
            # Reading the system's certificates takes 50 ms, and plain HTTP needs none.
            verify=ssl.create_default_context() if self.url.startswith("https:") else False,
            # The environment may name a proxy, which does not reach a service on this machine.
            trust_env=False,
        )

    def get(self, path: str, query: Query | None = None) -> Any:
        with self._answer("GET", path, params=query) as response:
            return _json(response)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        with self._answer("POST", path, json=body) as response:
            return _json(response)

    def delete(self, path: str) -> None:
        with self._answer("DELETE", path):
            pass

    def upload(self, path: str, query: Query, file: IO[bytes]) -> Any:
        """Sends a file as the body, as it is read."""
        length = _length(file)
        headers = {} if length is None else {"Content-Length": str(length)}
        with self._answer(
            "POST", path, params=query, headers=headers, content=_blocks(file)
        ) as response:
            return _json(response)

    def save(self, path: str, query: Query, file: IO[bytes]) -> None:
        """Writes an answer to a file, as it comes."""
        with self._answer("GET", path, params=query, headers={"Accept": "*/*"}) as response:
            for block in response.iter_bytes():
                file.write(block)

    def pages(self, path: str, name: str, query: Query | None = None) -> Iterator[dict[str, Any]]:
        """Yields every item of a list."""
        asked = {"limit": 100, **(query or {})}
        while True:
            page = self.get(path, asked)
            yield from page[name]
            if page["next"] is None:
                return
            asked["cursor"] = page["next"]

    def lines(self, path: str, query: Query) -> Iterator[str]:
        """Yields the lines of a plain text as they come."""
        with self._answer("GET", path, params=query, headers={"Accept": "text/plain"}) as response:
            rest = ""
            # Not by iter_lines, for which a form feed and others end a line too.
            for text in response.iter_text():
                *whole, rest = (rest + text).split("\n")
                yield from whole
            if rest:
                yield rest

    def events(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, last_id: str = ""
    ) -> Iterator[ServerEvent]:
        """Yields server-sent events as they come, up to the one named ``end``.

        Args:
            method: of the request.
            path: of the endpoint.
            body: to be sent as JSON.
            last_id: the id after which to start.

        Raises:
            UserError: the service refuses.
            Unreachable: it does not answer, or the events break off before ``end``.
        """
        headers = {"Accept": "text/event-stream"}
        if last_id:
            headers["Last-Event-ID"] = last_id
        with self._answer(method, path, json=body, headers=headers) as response:
            for event in EventSource(response).iter_sse():
                # A sign of life has no data.
                if event.data:
                    yield ServerEvent(event.event, event.json(), event.id)
                if event.event == "end":
                    return
            raise httpx.RemoteProtocolError("no end event")

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        **request: Any,
    ) -> Iterator[httpx.Response]:
        """Yields a successful response, to be read within the block.

        Raises:
            UserError: the service refuses.
            Unreachable: it does not answer, or breaks off while the block reads.
        """
        response = None
        accepted = {"Accept": "application/json", **(headers or {})}
        try:
            with self._http.stream(
                method, quote(path, safe="/:"), headers=accepted, **request
            ) as response:
                if not response.is_success:
                    raise UserError(_reason(response))
                yield response
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unreachable(f"nothing answers at {self.url}: {_cause(error)}") from None
        except SSEError:
            raise UserError(f"the answer of {self.url} is not one of charloom's") from None
        except httpx.RequestError as error:
            how = "stopped responding" if isinstance(error, httpx.TimeoutException) else "broke off"
            heard = response is not None and response.num_bytes_downloaded > 0
            raise Unreachable(f"the service at {self.url} {how}", heard=heard) from None


def _checked(url: str) -> httpx.URL:
    """Returns a URL whose scheme, host and port are usable. Raises UserError."""
    try:
        parsed = httpx.URL(url)
        if parsed.scheme in ("http", "https") and parsed.host and (parsed.port or 1) < 1 << 16:
            return parsed
    except httpx.InvalidURL:
        pass
    raise UserError(f"{url} is not the URL of a service, such as http://localhost:8000")


def _length(file: IO[bytes]) -> int | None:
    """Returns the bytes left of a file; None for a pipe, which is sent in chunks."""
    return os.fstat(file.fileno()).st_size - file.tell() if file.seekable() else None


def _blocks(file: IO[bytes]) -> Iterable[bytes]:
    while block := file.read(_BLOCK):
        yield block


def _json(response: httpx.Response) -> Any:
    response.read()
    try:
        return response.json()
    except ValueError:
        raise UserError(f"the answer of {response.url.host} is not one of charloom's") from None


def _reason(response: httpx.Response) -> str:
    """Returns why the service, or a proxy before it, refuses."""
    try:
        problem = httpx.Response(200, content=next(response.iter_bytes(_MAX_ERROR), b"")).json()
        return explained(problem)
    except (ValueError, KeyError, TypeError, httpx.TransportError):
        return f"the service answers {response.status_code} {response.reason_phrase}"


def _cause(error: BaseException) -> str:
    """Returns the operating system's own words, if an error comes from there."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error)

"""The HTTP client of the service: JSON, texts as they come, server-sent events, uploads.

Knows how the service reports an error; not where the service is, nor what its answers mean.
"""

import os
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import quote

import httpx
from httpx_sse import EventSource, SSEError

from app.supervisor.errors import UserError
from app.terminal.problems import explained
from models.json_lines import parsed

TIMEOUT = 60.0
"""Seconds without a byte: event streams carry a sign of life every 15."""

_MAX_ERROR = 64 << 10
_BLOCK = 1 << 16

_PASSING = (429, 502, 503, 504)
"""Statuses of a service that is full, or of a proxy that has lost it."""

Query = Mapping[str, Any]
Headers = Mapping[str, str]


def _ignored(_headers: Headers) -> None:
    pass


class Passing(UserError):
    """What may be over in a moment: asked again, the same or another server may answer.

    ``heard`` says that some of the answer came. ``moves`` says that a server stops, and did
    nothing: whoever asked first asks again. ``retry_after`` is in seconds.
    """

    def __init__(
        self, message: str, *, heard: bool = False, moves: bool = False, retry_after: float = 0
    ) -> None:
        super().__init__(message)
        self.heard = heard
        self.moves = moves
        self.retry_after = retry_after


class Unreachable(Passing):
    """The service does not answer, or its answer breaks off.

    ``was_there`` says that a connection was made.
    """

    def __init__(self, message: str, *, heard: bool = False, was_there: bool = True) -> None:
        super().__init__(message, heard=heard)
        self.was_there = was_there


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

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        with self._answer("PATCH", path, json=body) as response:
            return _json(response)

    def delete(self, path: str) -> None:
        with self._answer("DELETE", path):
            pass

    def upload(self, path: str, query: Query, file: IO[bytes], key: str = "") -> Any:
        """Sends a file as the body, as it is read; perhaps with an Idempotency-Key."""
        length = _length(file)
        headers = {} if length is None else {"Content-Length": str(length)}
        if key:
            headers["Idempotency-Key"] = key
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

    def lines(
        self, path: str, query: Query, heard: Callable[[Headers], None] = _ignored
    ) -> Iterator[str]:
        """Yields the lines of a plain text as they come; ``heard`` gets the headers before."""
        with self._answer("GET", path, params=query, headers={"Accept": "text/plain"}) as response:
            heard(response.headers)
            rest = ""
            # Not by iter_lines, for which a form feed and others end a line too.
            for text in response.iter_text():
                *whole, rest = (rest + text).split("\n")
                yield from whole
            if rest:
                yield rest

    def events(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        last_id: str = "",
        heard: Callable[[Headers], None] = _ignored,
    ) -> Iterator[ServerEvent]:
        """Yields server-sent events as they come, up to the one named ``end``.

        Args:
            method: of the request.
            path: of the endpoint.
            body: to be sent as JSON.
            last_id: the id after which to start.
            heard: gets the headers of the answer, before its events.

        Raises:
            UserError: the service refuses.
            Unreachable: it does not answer, or the events break off before ``end``.
        """
        headers = {"Accept": "text/event-stream"}
        if last_id:
            headers["Last-Event-ID"] = last_id
        with self._answer(method, path, json=body, headers=headers) as response:
            heard(response.headers)
            for event in EventSource(response).iter_sse():
                # A sign of life has no data.
                if event.data:
                    yield ServerEvent(event.event, _parsed(event.data, self.url), event.id)
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
                    raise _refusal(response)
                yield response
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            words = f"nothing answers at {self.url}: {_cause(error)}"
            raise Unreachable(words, was_there=False) from None
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
    return _parsed(response.read(), response.url.host)


def _parsed(text: str | bytes, place: str) -> Any:
    try:
        return parsed(text)
    except ValueError:
        raise UserError(f"the answer of {place} is not one of charloom's") from None


def _refusal(response: httpx.Response) -> UserError:
    """Returns why the service, or a proxy before it, refuses."""
    status, code = response.status_code, None
    try:
        problem = parsed(next(response.iter_bytes(_MAX_ERROR), b""))
        words, code = explained(problem), problem.get("code")
    except (ValueError, KeyError, TypeError, AttributeError, httpx.TransportError):
        words = f"the service answers {status} {response.reason_phrase}"
    if status not in _PASSING:
        return UserError(words)
    after = response.headers.get("retry-after", "")
    seconds = int(after) if after.isascii() and after.isdigit() else 0
    return Passing(words, moves=code == "shutting_down", retry_after=seconds)


def _cause(error: BaseException) -> str:
    """Returns the operating system's own words, if an error comes from there."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error)

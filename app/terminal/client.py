"""A small HTTP client of the service: JSON, texts as they come, server-sent events, uploads.

Of the standard library alone. Knows how the service says that something is wrong; nothing of
where it is or what its answers mean.
"""

import http.client
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import quote, urlencode, urlsplit

TIMEOUT = 60.0
"""Seconds without a byte: streams of events say something every 15."""

_MAX_ERROR = 64 << 10
_BLOCK = 1 << 16

Query = Mapping[str, Any]


class ApiError(RuntimeError):
    """Why the service didn't do it, in one line. ``status`` is 0 where it gave no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        self.status = status
        super().__init__(" ".join(message.split()))


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event; ``id`` is empty where it has none."""

    name: str
    data: dict[str, Any]
    id: str = ""


class Client:
    """Of the service at a URL.

    Args:
        url: ``http://host:port``, or https, perhaps with a path.
        key: sent as a bearer's; None sends none.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._key = key
        parts = urlsplit(self.url)
        try:
            self._host, self._port = parts.hostname, parts.port
        except ValueError:
            self._host = None
        if parts.scheme not in ("http", "https") or not self._host:
            raise ApiError(f"{url} is no URL of a service: it looks like http://localhost:8000")
        self._connects = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._base = parts.path

    def get(self, path: str, query: Query | None = None) -> Any:
        with self.ask("GET", path, query) as response:
            return json.load(response)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        with self.ask("POST", path, body=None if body is None else json.dumps(body)) as response:
            return json.load(response)

    def upload(self, path: str, query: Query, text: IO[bytes]) -> Any:
        """Sends a text as the body, as it is read."""
        with self.ask("POST", path, query, body=text) as response:
            return json.load(response)

    def save(self, path: str, query: Query, file: IO[bytes]) -> None:
        """Writes what an address gives to a file, as it comes."""
        with self.ask("GET", path, query, accept="*/*") as response:
            shutil.copyfileobj(response, file)

    def pages(self, path: str, name: str, query: Query | None = None) -> Iterator[dict[str, Any]]:
        """Every item of a list."""
        asked = {"limit": 100, **(query or {})}
        while True:
            page = self.get(path, asked)
            yield from page[name]
            if page["next"] is None:
                return
            asked["cursor"] = page["next"]

    def lines(self, path: str, query: Query) -> Iterator[str]:
        """The lines of a plain text as they come."""
        with self.ask("GET", path, query, accept="text/plain") as response:
            for line in response:
                yield line.decode().rstrip("\n")

    def events(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, last_id: str = ""
    ) -> Iterator[Event]:
        """Server-sent events as they come, after one's id if it is given.

        A sign of life between them is one without a name.
        """
        headers = {"Last-Event-ID": last_id} if last_id else {}
        content = None if body is None else json.dumps(body)
        with self.ask(
            method, path, body=content, accept="text/event-stream", headers=headers
        ) as response:
            fields: dict[str, str] = {}
            for line in response:
                name, colon, value = line.decode().rstrip("\n").partition(": ")
                if name and colon:
                    fields[name] = value
                elif colon:
                    yield Event("", {})
                elif not name and fields:
                    if "data" in fields:
                        yield Event(
                            fields.get("event", ""),
                            json.loads(fields["data"]),
                            fields.get("id", ""),
                        )
                    fields = {}

    @contextmanager
    def ask(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        body: str | IO[bytes] | None = None,
        accept: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """A good answer, to be read within the block.

        Raises:
            ApiError: there is none, also while it is read.
        """
        sent = {"Accept": accept, **(headers or {})}
        if self._key:
            sent["Authorization"] = f"Bearer {self._key}"
        target = self._base + quote(path, safe="/:")
        if query:
            target += "?" + urlencode(query, doseq=True)
        assert self._host
        connection = self._connects(self._host, self._port, timeout=TIMEOUT)
        try:
            yield self._answer(connection, method, target, body, sent)
        except TimeoutError:
            raise ApiError(f"the service at {self.url} says nothing any more") from None
        except (http.client.HTTPException, ConnectionError):
            raise ApiError(f"the service at {self.url} broke off") from None
        finally:
            connection.close()

    def _answer(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        body: str | IO[bytes] | None,
        headers: dict[str, str],
    ) -> http.client.HTTPResponse:
        try:
            connection.connect()
        except OSError as error:
            reason = error.strerror or str(error)
            raise ApiError(f"nobody answers at {self.url}: {reason}") from None
        if isinstance(body, str):
            headers["Content-Type"] = "application/json"
            content: bytes | IO[bytes] | None = body.encode()
        else:
            content = body
            length = _length(body)
            if length is not None:
                headers["Content-Length"] = str(length)
        # Who refuses a body need not read it to its end: the answer says why.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, target, content, headers)
        response = connection.getresponse()
        if response.status >= 400:
            raise _error(response)
        return response


def _length(text: IO[bytes] | None) -> int | None:
    """Bytes left of a file; None of a pipe, which is sent in chunks."""
    if text is None or not text.seekable():
        return None
    return os.fstat(text.fileno()).st_size - text.tell()


def _error(response: http.client.HTTPResponse) -> ApiError:
    """What the service, or somebody before it, says is wrong."""
    try:
        problem = json.loads(response.read(_MAX_ERROR))
        detail = str(problem["detail"])
    except (ValueError, KeyError, TypeError, http.client.HTTPException):
        detail = f"the service answers {response.status} {response.reason}"
    return ApiError(detail, response.status)

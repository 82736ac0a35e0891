"""Requests that are poisoned in one field: every field of every endpoint, with hostile values.

The fields are those of ``/openapi.json``, and a few that only the dialects' clients send. Knows no
answer: what must hold of those is in ``tests/whole/test_poison.py``.
"""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx2

LONG = 1_000_000
NUMBERS = (0, -1, 1, 2**31, 2**53, 2**63 - 1, 2**63, 10**30, -(10**30), 1e308, 5e-324, -0.0, 0.5)
NOT_FINITE = (float("nan"), float("inf"), float("-inf"))
TEXTS = (
    "",
    " ",
    "\0",
    "\ud800",
    "a\u0301",
    "\u2028\x85",
    "\ufeffa",
    "\r\n",
    "NaN",
    "../../etc/passwd",
)
OTHERS: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    ["a"] * 1000,
    {"a": 1},
    [0, -1, 2**63],
)

RAW = (b"1" + b"0" * 5000, b"[" * 5000 + b"]" * 5000, b"1e400", b'"x" "y"', b"'x'")
"""As JSON that no encoder of ours writes; some of it is none."""

WORDS = (
    "1e400",
    "Infinity",
    "-Infinity",
    "0x10",
    "1_000",
    "\uff11\uff12",
    "null",
    "true",
    "[]",
    "9" * 5000,
)
"""In a query, besides the values above."""

NUMBER = b"NUMBER"
"""In a request, stands for a name that no other one of its operation has."""

INVALID = b"%ED%A0%80"
"""A lone surrogate as a query would have it: not UTF-8."""

HEADERS = (
    *("accept", "accept-encoding", "authorization", "content-encoding", "content-type"),
    *("cookie", "expect", "if-match", "if-modified-since", "if-none-match", "if-range"),
    *("idempotency-key", "last-event-id", "origin", "range", "x-forwarded-for", "x-request-id"),
)
HEADER_VALUES = (
    *(b"", b"*", b"*/*;q=nan", b"-1", b"0", b"9" * 5000, b"\xff\xfe", b"bytes=0-", b"bytes=-1"),
    *(b"bytes=9999999999999999999999-", b"bytes=" + b"0-1," * 1000, b"x" * 8000, b"null"),
    *(b"Bearer", b"Bearer \xed\xa0\x80", b"text/event-stream", b"application/json," * 300),
)

DIALECT_FIELDS = {
    "POST /api/generate": (
        *("suffix", "system", "template", "context", "raw", "format", "images", "keep_alive"),
        *("options", "think"),
        *(
            f"options.{name}"
            for name in (
                *("temperature", "top_k", "top_p", "seed", "num_predict", "stop", "num_ctx"),
                *("repeat_penalty", "min_p", "mirostat"),
            )
        ),
    ),
    "POST /api/show": ("verbose", "options"),
    "POST /v1/completions": (
        *("frequency_penalty", "presence_penalty", "logit_bias", "suffix", "user"),
        *("stream_options.include_usage",),
    ),
}
DIALECT_FIELDS["POST /api/chat"] = (*DIALECT_FIELDS["POST /api/generate"], "tools")
DIALECT_FIELDS["POST /v1/chat/completions"] = (
    *DIALECT_FIELDS["POST /v1/completions"],
    *("tools", "functions", "response_format", "modalities", "audio", "prediction"),
)
"""What their clients send though the document does not name it."""


@dataclass(frozen=True)
class Request:
    """``where`` names the poisoned field, such as ``query length``; ``value`` tells with what."""

    operation: str
    where: str
    value: str
    target: bytes
    content: bytes | None = None
    headers: Mapping[str, bytes] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.operation}, {self.where} = {self.value}"


@dataclass(frozen=True)
class Sound:
    """A request that is answered with success: to be poisoned in one field at a time."""

    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    path: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    headers: Mapping[str, bytes] = field(default_factory=dict)


def poisoned(document: Mapping[str, Any], sound: Mapping[str, Sound]) -> Iterator[Request]:
    """Yields the requests of a document's operations, each poisoned in one field.

    Args:
        document: ``/openapi.json``.
        sound: a request for each operation, such as ``GET /sample``, of the document.
    """
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            maker = _Maker(name, path, sound[name])
            for parameter in operation.get("parameters", []):
                schema = _resolved(parameter.get("schema", {}), document)
                if parameter["in"] == "query":
                    yield from maker.in_query(parameter["name"], _bounds(schema))
                elif parameter["in"] == "path":
                    yield from maker.in_path(parameter["name"])
            kinds = operation.get("requestBody", {}).get("content", {})
            for kind, described in kinds.items():
                fields = _fields(described.get("schema", {}), document)
                if kind == "application/json":
                    fields |= {extra: {} for extra in DIALECT_FIELDS.get(name, ())}
                    for key, schema in fields.items():
                        yield from maker.in_json(key, _bounds(schema))
                    yield from maker.whole_bodies()
                elif kind == "multipart/form-data":
                    for key, schema in fields.items():
                        yield from maker.in_form(key, _bounds(schema))
            yield from maker.in_headers()


class _Maker:
    """Makes the requests of one operation."""

    def __init__(self, operation: str, path: str, sound: Sound) -> None:
        self._operation = operation
        self._path = path
        self._sound = sound
        self._query = {k: quote(str(v), safe="").encode() for k, v in sound.query.items()}
        self._words = {k: quote(v, safe="").encode() for k, v in sound.path.items()}
        self._numbers = itertools.count()

    def in_query(self, name: str, bounds: list[Any]) -> Iterator[Request]:
        for value in (*NUMBERS, *NOT_FINITE, *TEXTS, *WORDS, *bounds, "x" * 10_000):
            text = str(value)
            encoded = INVALID if text == "\ud800" else quote(text, safe="").encode()
            yield self._request(f"query {name}", value, asked=self._query | {name: encoded})
        twice = b"1&" + name.encode() + b"=2"
        yield self._request(f"query {name}", "twice", asked=self._query | {name: twice})

    def in_path(self, name: str) -> Iterator[Request]:
        for value in (*TEXTS, "x" * 5000, "latest:latest:latest", "NUL", "-1", "9" * 100, "%2e%2e"):
            encoded = INVALID if value == "\ud800" else quote(value, safe="%").encode()
            yield self._request(f"path {name}", value, path={name: encoded})

    def in_json(self, name: str, bounds: list[Any]) -> Iterator[Request]:
        values = (*NUMBERS, *NOT_FINITE, *TEXTS, *OTHERS, *bounds, "x" * LONG)
        encoded = (json.dumps(value).encode() for value in values)
        for value in (*encoded, *RAW):
            yield self._request(f"body {name}", value, content=self._body(name, value))

    def whole_bodies(self) -> Iterator[Request]:
        for value in (b"", b"\xff", b"null", b"[]", b"0", b"{", b"{}", *RAW):
            yield self._request("body", value, content=value)

    def in_form(self, name: str, bounds: list[Any]) -> Iterator[Request]:
        for value in (*NUMBERS, *NOT_FINITE, *TEXTS, *WORDS, *bounds):
            content = str(value).encode("utf-8", "surrogatepass")
            yield self._form(name, value, content, "")
            yield self._form(name, f"file {value!r}", content, '; filename="\\ud800"')

    def in_headers(self) -> Iterator[Request]:
        for name, value in itertools.product(HEADERS, HEADER_VALUES):
            yield self._request(f"header {name}", value, headers={name: value})

    def _form(self, name: str, value: Any, content: bytes, file: str) -> Request:
        parts = {"corpus": self._sound.content or b"", "model": NUMBER, name: content}
        lines = []
        for part, data in parts.items():
            named = file if part == name else '; filename="c.txt"' if part == "corpus" else ""
            head = f'--poison\r\nContent-Disposition: form-data; name="{part}"{named}\r\n\r\n'
            lines.append(head.encode() + data + b"\r\n")
        body = b"".join(lines) + b"--poison--\r\n"
        headers = {"content-type": b"multipart/form-data; boundary=poison"}
        return self._request(f"form {name}", value, asked={}, content=body, headers=headers)

    def _body(self, name: str, value: bytes) -> bytes:
        """The sound body with one field, or one within another, of that value."""
        outer, _, inner = name.partition(".")
        body = {k: json.dumps(v).encode() for k, v in (self._sound.body or {}).items()}
        body[outer] = b'{"%s": %s}' % (inner.encode(), value) if inner else value
        return b"{" + b", ".join(b'"%s": %s' % (k.encode(), v) for k, v in body.items()) + b"}"

    def _request(
        self,
        where: str,
        value: Any,
        *,
        asked: Mapping[str, bytes] | None = None,
        path: Mapping[str, bytes] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, bytes] | None = None,
    ) -> Request:
        sound = self._sound
        if asked is None:
            asked = self._query
        target = self._path.encode()
        for key, word in {**self._words, **(path or {})}.items():
            target = target.replace(b"{%s}" % key.encode(), word)
        if asked:
            target += b"?" + b"&".join(k.encode() + b"=" + v for k, v in asked.items())
        sent = dict(sound.headers)
        if sound.body is not None:
            sent["content-type"] = b"application/json"
        if content is None:
            content = sound.content if sound.body is None else json.dumps(sound.body).encode()
        number = b"poisoned-%d" % next(self._numbers)
        shown = repr(value)
        shown = shown if len(shown) < 60 else f"{shown[:50]}… ({len(shown)} characters)"
        return Request(
            self._operation,
            where,
            shown,
            target.replace(NUMBER, number),
            content and content.replace(NUMBER, number),
            sent | dict(headers or {}),
        )


def _resolved(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        found: Mapping[str, Any] = document["components"]["schemas"][name]
        return found
    return schema


def _fields(schema: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    schema = _resolved(schema, document)
    found = dict(schema.get("properties", {}))
    for way in ("anyOf", "allOf", "oneOf"):
        for part in schema.get(way, []):
            found |= _fields(part, document)
    return found


def _bounds(schema: Mapping[str, Any]) -> list[Any]:
    """Values at and just past what a schema allows."""
    found: list[Any] = list(schema.get("enum", []))
    for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        if key in schema:
            bound = schema[key]
            step = 1 if isinstance(bound, int) else abs(bound) * 1e-9
            found += [bound, bound - step, bound + step]
    if (longest := schema.get("maxLength")) is not None:
        found += ["a" * longest, "a" * (longest + 1)]
    if (most := schema.get("maxItems")) is not None:
        found += [["a"] * most, ["a"] * (most + 1)]
    for way in ("anyOf", "allOf", "oneOf"):
        for part in schema.get(way, []):
            found += _bounds(part)
    return found


def thinned(requests: Iterable[Request], each: int) -> list[Request]:
    """Some of the values of each field, other ones for each."""
    fields: dict[tuple[str, str], list[Request]] = defaultdict(list)
    for request in requests:
        # Most endpoints read none of the headers.
        where = "header" if request.where.startswith("header") else request.where
        fields[request.operation, where].append(request)
    kept = []
    for index, values in enumerate(fields.values()):
        step = max(1, len(values) // each)
        kept += values[index % step :: step]
    return kept


def send(client: httpx2.Client, request: Request, most: int) -> tuple[int, httpx2.Headers, bytes]:
    """Sends a request and reads the answer, at most so many bytes: the rest is not wanted."""
    url = client.base_url.copy_with(raw_path=request.target)
    made = client.build_request(
        request.operation.split()[0],
        url,
        content=request.content,
        headers={k.encode(): v for k, v in request.headers.items()},
    )
    answer = client.send(made, stream=True)
    try:
        body = b""
        for chunk in answer.iter_raw():
            body += chunk
            if len(body) >= most:
                break
        return answer.status_code, answer.headers, body
    finally:
        answer.close()

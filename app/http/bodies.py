"""Request bodies: a text streamed to disk with its options, a file, or JSON.

A text is the file parts ``corpus`` of a form, one after the other, or the raw body, whatever its
content type. It is counted as it arrives, written a megabyte at a time off the event loop, and
removed if anything is wrong. Starlette's form() is not used: it has no limit for a file and decodes
fields with the charset that a client names. Knows no job and no meaning of an option.
"""

import json
import sys
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import IO, Any, Generic, NamedTuple, NoReturn, TypeVar, cast

import anyio
from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.http.curl import Sent
from app.http.problems import Problem, unprocessable
from app.http.queries import query_fields
from app.http.validation import invalid_json, repeated_fields, unknown_fields
from models.text.intake.members import MAX_MEMBERS, too_many_members
from worker.corpora import CorpusStore, Upload

CORPUS = "corpus"
FILES = {
    "type": "array",
    "items": {"type": "string", "format": "binary"},
    "description": "The text; or files, archives and documents that it is made of.",
}
"""How OpenAPI documents them."""

MAX_JSON = 64 << 10
MAX_FIELD = 64 << 10
_MAX_FORM = 1 << 20
"""Bytes of a form besides its files: more than all fields and headers that are let through."""
_MAX_FILE_HEAD = 2 << 10
"""Bytes of a form for the headers of each file, on average; its name has 1024 at most."""
_MAX_PART_HEADERS = 8
_MAX_PART_HEADER = 4096
_PIECE = 8 << 10
"""Bytes of a form that are parsed at once; of files of one byte, they take some milliseconds."""
_BLOCK = 1 << 20
_MAX_DIGITS = 1000
"""Digits of an integer in JSON: reading one takes time quadratic in them."""

Checked = TypeVar("Checked")


class SentFile(NamedTuple):
    """A file in a request: its name, perhaps empty, and where its bytes begin and end."""

    name: str
    begin: int
    end: int


class Received(Generic[Checked]):
    """Staged files on disk, the options that came with them, and what happened on the way."""

    def __init__(
        self,
        options: Checked,
        upload: Upload,
        files: Sequence[SentFile],
        warnings: list[str] | None = None,
    ) -> None:
        self.options = options
        self.upload = upload
        self.files = files
        self.warnings = warnings or []


@asynccontextmanager
async def receive_text(
    request: Request,
    corpora: CorpusStore,
    limit: int,
    known: Collection[str],
    check: Callable[[dict[str, str]], Checked],
    turns: anyio.Lock,
) -> AsyncIterator[Received[Checked]]:
    """Stages the text of a request; unless the store takes it, the block's end removes it.

    Args:
        request: its body is read here.
        corpora: where the text is staged.
        limit: most bytes of a text.
        known: names of the options.
        check: makes the options from the fields, or raises; called before a raw text is read.
        turns: of forms, to parse a few of their parts.

    Raises:
        Problem: 400, 413, 415 or 422.
        ClientDisconnect: the client left.
    """
    refuse_encoding(request)
    fields = query_fields(request, known)
    boundary = _boundary(request)
    longest = limit if boundary is None else limit + _MAX_FORM + MAX_MEMBERS * _MAX_FILE_HEAD
    _refuse_length(request, longest, limit)
    if boundary is None:
        options = check(fields)
        async with staged(corpora) as upload:
            sent = Sent(request)
            await _receive(request, upload.write, limit, sent.look)
            yield Received(options, upload, [SentFile("", 0, upload.bytes)], sent.warnings)
    else:
        async with staged(corpora) as upload:
            form = _Form(boundary, _Sink(upload.write, limit), known, fields, turns)
            async for chunk in request.stream():
                await form.add(chunk)
            await form.finish()
            yield Received(check(form.fields), upload, form.files)


async def receive_file(request: Request, file: IO[bytes], limit: int) -> None:
    """Writes a raw body to a file, whatever its content type.

    Raises:
        Problem: 413 for more than ``limit`` bytes, 415 for a compressed body or a form.
        ClientDisconnect: the client left.
    """
    refuse_encoding(request)
    if _boundary(request) is not None:
        raise Problem(
            415,
            "unsupported_media_type",
            "this endpoint does not accept a form: send the file as the body",
        )
    _refuse_length(request, limit, limit)
    await _receive(request, file.write, limit)


async def _receive(
    request: Request,
    write: Callable[[bytes], object],
    limit: int,
    look: Callable[[bytes], object] = lambda _: None,
) -> None:
    body = _Sink(write, limit)
    async for chunk in request.stream():
        body.add(chunk)
        look(chunk)
        await body.settle()
    await body.settle(final=True)


@asynccontextmanager
async def staged(corpora: CorpusStore) -> AsyncIterator[Upload]:
    """A place for a text, removed at the block's end unless the store takes it."""
    # FastAPI's contextmanager_in_threadpool would leave the staged text behind when cancelled.
    manager = corpora.upload()
    upload = await run_in_threadpool(manager.__enter__)
    try:
        yield upload
    finally:
        await run_in_threadpool(manager.__exit__, *sys.exc_info())


def is_json(request: Request) -> bool:
    kind, _ = parse_options_header(request.headers.get("content-type"))
    return kind == b"application/json" or kind.endswith(b"+json")


def json_body(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """Documents a JSON body that a route reads itself, as ``openapi_extra``."""
    content = {"application/json": {"schema": schema_of(model)}}
    return {"requestBody": {"required": required, "content": content}}


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a model, whole: inside OpenAPI a reference into it would lead nowhere."""
    schema = model.model_json_schema()
    return cast(dict[str, Any], _inlined(schema, schema.pop("$defs", {})))


def _inlined(part: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(part, list):
        return [_inlined(one, definitions) for one in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        part = definitions[part["$ref"].rpartition("/")[2]] | {
            name: value for name, value in part.items() if name != "$ref"
        }
    return {name: _inlined(value, definitions) for name, value in part.items()}


async def read_json(
    request: Request, limit: int = MAX_JSON, *, optional: bool = False
) -> dict[str, Any]:
    """Reads a JSON object of at most ``limit`` bytes; no body counts as ``{}`` if ``optional``.

    Raises:
        Problem: 413, 415 or 422.
    """
    refuse_encoding(request)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise Problem(413, "body_too_large", f"a JSON body may have at most {_size(limit)}")
    if optional and not body:
        return {}
    try:
        value = json.loads(body, parse_constant=_refuse_constant, parse_int=_integer)
    except RecursionError:
        raise invalid_json("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise invalid_json(f"{error.msg} at character {error.pos}") from None
    except UnicodeDecodeError:
        raise invalid_json("it is not UTF-8") from None
    except ValueError as error:
        raise invalid_json(str(error)) from None
    if not isinstance(value, dict):
        raise unprocessable("body", "must be a JSON object", "invalid_json")
    return value


def refuse_encoding(request: Request) -> None:
    """Raises 415 for a compressed body: a small one may unpack without end."""
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise Problem(
            415,
            "unsupported_media_type",
            "compressed bodies are not supported: send the body without Content-Encoding",
            headers={"Accept-Encoding": "identity"},
        )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number has more than {_MAX_DIGITS:,} digits")
    return int(digits)


def _refuse_length(request: Request, longest: int, limit: int) -> None:
    length = request.headers.get("content-length", "")
    # Of a thousand digits the first twenty are too many bytes already.
    if length.isdecimal() and int(length[:20]) > longest:
        raise _too_large(limit)


def _too_large(limit: int) -> Problem:
    return Problem(
        413,
        "body_too_large",
        f"the body is too large: this endpoint accepts at most {_size(limit)}",
    )


def _size(count: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit and count % unit == 0:
            return f"{count // unit} {name}"
    return f"{count:,} bytes"


def _boundary(request: Request) -> bytes | None:
    """The boundary of a multipart form; None for any other body.

    Raises:
        Problem: 400 for a form without one.
    """
    kind, parameters = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        return None
    if not parameters.get(b"boundary"):
        raise _malformed("its content type has no boundary")
    return parameters[b"boundary"]


def _malformed(reason: str) -> Problem:
    return Problem(400, "malformed_body", f"malformed multipart/form-data body: {reason}")


class _Sink:
    """Counts the bytes of a body at once, and writes them when there are enough."""

    def __init__(self, write: Callable[[bytes], object], limit: int) -> None:
        self._write = write
        self.limit = limit
        self.bytes = 0
        self._held = bytearray()

    def add(self, data: bytes) -> None:
        self.bytes += len(data)
        if self.bytes > self.limit:
            raise _too_large(self.limit)
        self._held += data

    async def settle(self, *, final: bool = False) -> None:
        if final or len(self._held) >= _BLOCK:
            data, self._held = bytes(self._held), bytearray()
            await run_in_threadpool(self._write, data)


class _Form:
    """A multipart/form-data body, part by part: files, and fields in memory.

    A wrong part is refused as soon as its headers are read, not after the text has arrived.
    """

    def __init__(
        self,
        boundary: bytes,
        text: _Sink,
        known: Collection[str],
        fields: dict[str, str],
        turns: anyio.Lock,
    ) -> None:
        self.fields = dict(fields)
        self.files: list[SentFile] = []
        self._known = known
        self._text = text
        self._turns = turns
        self._delimiter = b"--" + boundary
        self._bytes = 0
        self._file: tuple[str, int] | None = None
        self._ended = False
        self._header_name = b""
        self._header_value = b""
        self._headers: dict[bytes, bytes] = {}
        self._field: str | None = None
        self._value = bytearray()
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._add_header_name,
                    "on_header_value": self._add_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._open,
                    "on_part_data": self._add,
                    "on_part_end": self._close,
                    "on_end": self._end,
                },
                max_header_count=_MAX_PART_HEADERS,
                max_header_size=_MAX_PART_HEADER,
            )
        except FormParserError:
            raise _malformed("its boundary is too long") from None

    async def add(self, data: bytes) -> None:
        for begin in range(0, len(data), _PIECE):
            piece = data[begin : begin + _PIECE]
            if self._delimiter in piece:
                # Not at once when it is free, but in the event loop's next turn.
                async with self._turns:
                    self._parse(piece)
            else:
                self._parse(piece)
            await self._text.settle()

    def _parse(self, piece: bytes) -> None:
        self._bytes += len(piece)
        try:
            self._parser.write(piece)
        except FormParserError:
            raise _malformed(f"it cannot be parsed near byte {self._bytes:,}") from None
        if self._bytes - self._text.bytes > _MAX_FORM + _MAX_FILE_HEAD * len(self.files):
            raise Problem(
                413,
                "body_too_large",
                f"the form has too much besides its text: headers and fields may have "
                f"{_size(_MAX_FORM)}, and {_size(_MAX_FILE_HEAD)} for each file",
            )

    async def finish(self) -> None:
        if not self._ended:
            raise _malformed("it ends before its closing boundary")
        if not self.files:
            raise unprocessable(CORPUS, "is missing: send the text as the file part named corpus")
        await self._text.settle(final=True)

    def _begin(self) -> None:
        self._headers = {}

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _open(self) -> None:
        kind, parameters = parse_options_header(self._headers.get(b"content-disposition"))
        if kind != b"form-data" or b"name" not in parameters:
            raise _malformed("a part has no name")
        encoding = self._headers.get(b"content-transfer-encoding", b"binary").strip().lower()
        if encoding not in (b"7bit", b"8bit", b"binary"):
            raise Problem(
                415,
                "unsupported_media_type",
                "a Content-Transfer-Encoding is not supported: send each part as it is",
            )
        # The charset of a part is ignored: a text is scanned, a field is UTF-8.
        name = parameters[b"name"].decode("utf-8", "replace")
        if name == CORPUS:
            if len(self.files) == MAX_MEMBERS:
                raise Problem(413, "body_too_large", str(too_many_members()))
            filename = parameters.get(b"filename", b"").decode("utf-8", "replace")
            self._file, self._field = (filename, self._text.bytes), None
            return
        if name not in self._known:
            raise unknown_fields([name], [CORPUS, *self._known])
        if name in self.fields:
            raise repeated_fields([name])
        self._file, self._field, self._value = None, name, bytearray()

    def _add(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._text.add(data[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > MAX_FIELD:
            raise unprocessable(self._field, f"may have at most {_size(MAX_FIELD)}")

    def _close(self) -> None:
        if self._file is not None:
            self.files.append(SentFile(*self._file, self._text.bytes))
        if self._field is not None:
            try:
                self.fields[self._field] = self._value.decode()
            except UnicodeDecodeError:
                raise unprocessable(self._field, "must be UTF-8") from None

    def _end(self) -> None:
        self._ended = True

"""The head of a request, read strictly: its line and headers, before h11 sees them.

What a proxy and this server could read differently is refused (RFC 9112, 2.2, 5.2, 6.1 and 11.2),
since a second request could hide in it. Where a client errs honestly, the problem says how to ask.
Knows no connection and no endpoint.
"""

import re
from typing import NoReturn

from app.http.problems import Problem

MAX_HEAD = 16 << 10
"""Most bytes of a request's line and headers."""

MAX_QUERY = 8 << 10
"""Most bytes of a query, percent-encoded: what proxies pass on, too."""

MAX_HEADERS = 100

END = b"\r\n\r\n"

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S.*) HTTP/(\d\.\d)")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*)", re.DOTALL)
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)
_BARE_LINE_END = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_TLS = b"\x16\x03"

_HOW_TO_ASK = "percent-encode it, as in curl --get --data-urlencode 'prime=…'"


def complete(data: bytes | bytearray) -> int:
    """The length of the head at the start of ``data``; 0 while more of it must come.

    Raises:
        Problem: 400, 414 or 431; no more of it needs to come.
    """
    end = data.find(END, 0, MAX_HEAD)
    if end >= 0:
        return end + len(END)
    if data.startswith(_TLS):
        _refuse(
            "this port speaks HTTP, not HTTPS: use http://, or put a proxy that speaks TLS here"
        )
    if _BARE_LINE_END.search(data, 0, MAX_HEAD):
        _refuse("lines of a request must end with CRLF")
    if len(data) >= MAX_HEAD:
        # Most of the head is the URL.
        if not 0 <= data.find(b"\r\n") < MAX_HEAD // 2:
            raise _too_long()
        raise _too_large(f"must be shorter than {MAX_HEAD >> 10} KiB")
    return 0


def checked(head: bytes) -> bytes:
    """The head as h11 takes it: bytes beyond ASCII in its URL are percent-encoded, as browsers do.

    Args:
        head: all of it, up to and with its empty line.

    Raises:
        Problem: 400, 414, 431 or 505.
    """
    if _BARE_LINE_END.search(head) or b"\0" in head:
        _refuse("lines of a request must end with CRLF, and have no other control characters")
    line, *headers = head.removesuffix(END).split(b"\r\n")
    target = _check_line(line)
    if len(headers) > MAX_HEADERS:
        raise _too_large(f"may be at most {MAX_HEADERS}")
    _check_headers(headers, is_new=line.endswith(b"1.1"))
    encoded = _NOT_ASCII.sub(lambda match: b"%%%02X" % match[0][0], target)
    if len(encoded.partition(b"?")[2]) > MAX_QUERY:
        raise _too_long()
    return head.replace(target, encoded, 1) if encoded != target else head


def _check_line(line: bytes) -> bytes:
    """The request's target. Raises Problem."""
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        _refuse("a request must begin with a line such as GET /models HTTP/1.1")
    _, target, version = match.groups()
    if not version.startswith(b"1."):
        raise Problem(505, "unsupported_version", "this server speaks HTTP/1.1")
    if re.search(rb"[\x00-\x20\x7f]", target):
        _refuse(f"the URL contains a space or a control character: {_HOW_TO_ASK}")
    return target


def _check_headers(lines: list[bytes], *, is_new: bool) -> None:
    lengths: list[bytes] = []
    codings = hosts = 0
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None:
            _refuse("each header must be one line: a name, a colon and a value")
        name = match[1].lower()
        if name == b"content-length":
            lengths.append(match[2].strip(b" \t"))
        codings += name == b"transfer-encoding"
        hosts += name == b"host"
    if codings and lengths:
        _refuse("a body has either a Content-Length or a Transfer-Encoding, not both")
    if codings and not is_new:
        _refuse("Transfer-Encoding needs HTTP/1.1")
    if len(lengths) > 1 or codings > 1:
        _refuse("Content-Length and Transfer-Encoding may occur once only")
    if lengths and not _LENGTH.fullmatch(lengths[0]):
        _refuse("Content-Length must be a number of bytes")
    if hosts > 1 or (is_new and not hosts):
        _refuse("a request needs one Host header")


def resolved(target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
    """The target's path and query. An absolute URL's authority replaces ``Host`` in ``headers``.

    As RFC 9112, 3.2.2, demands; clients send such a URL to what they take for a proxy.
    """
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        return target
    headers[:] = [(b"host", match[1]), *(h for h in headers if h[0] != b"host")]
    path = match[2]
    return path if path.startswith(b"/") else b"/" + path


def _too_long() -> Problem:
    return Problem(
        414,
        "url_too_long",
        f"a query may have at most {MAX_QUERY >> 10} KiB, percent-encoded: send long fields in a "
        "body, such as JSON with POST /sample",
    )


def _too_large(words: str) -> Problem:
    return Problem(431, "head_too_large", f"the headers of a request {words}")


def _refuse(words: str) -> NoReturn:
    raise malformed(words)


def malformed(words: str, status: int = 400) -> Problem:
    return Problem(status, "malformed_request", words)

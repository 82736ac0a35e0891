"""Heads are read strictly: what two servers could read differently is refused."""

import pytest

from app.http.problems import Problem
from app.server.heads import MAX_HEAD, MAX_HEADERS, checked, complete, resolved

HOST = b"Host: localhost\r\n"


def head(*lines: bytes, first: bytes = b"POST /sample HTTP/1.1") -> bytes:
    return b"\r\n".join([first, b"Host: localhost", *lines, b"", b""])


def test_a_sound_head_is_left_as_it_is() -> None:
    sound = head(b"Content-Length: 5", b"Accept:", b"X-Odd: \xe9 \t", b"Cookie: a=b")
    assert complete(sound + b"12345") == len(sound)
    assert checked(sound) == sound
    for end in (1, 20, len(sound) - 1):
        assert complete(sound[:end]) == 0


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 5", b"Content-Length: 5"],
        [b"Content-Length: 5", b"Content-Length: 6"],
        [b"Content-Length: 5, 5"],
        [b"Content-Length: +5"],
        [b"Content-Length: -1"],
        [b"Content-Length: 0x5"],
        [b"Content-Length: 5 5"],
        [b"Content-Length: "],
        [b"Content-Length: " + b"9" * 5000],
        [b"Content-Length: \xd9\xa5"],
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"],
        [b"X: a", b" folded"],
        [b"X: a", b"\tfolded"],
        [b" X: a"],
        [b"X : a"],
        [b"X"],
        [b": a"],
        [b"X\x00: a"],
        [b"X: a\x00"],
        [b"X: a\rY: b"],
        [b"X: a\nY: b"],
        [b"X: a\r"],
        [b"Host: elsewhere"],
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(lines: list[bytes]) -> None:
    with pytest.raises(Problem) as refused:
        checked(head(*lines))
    assert (refused.value.status_code, refused.value.code) == (400, "malformed_request")


@pytest.mark.parametrize(
    ("first", "status", "words"),
    [
        (b"GET /", 400, "must begin with a line such as GET /models HTTP/1.1"),
        (b"", 400, "must begin with a line"),
        (b"GET  / HTTP/1.1", 400, "must begin with a line"),
        (b"G T / HTTP/1.1", 400, "contains a space"),
        (b"GET / HTTP/1.1 ", 400, "must begin with a line"),
        (b"GET / http/1.1", 400, "must begin with a line"),
        (b"GET /sample?prime=a b HTTP/1.1", 400, "--data-urlencode"),
        (b"GET /sample?prime=a\tb HTTP/1.1", 400, "--data-urlencode"),
        (b"PRI * HTTP/2.0", 505, "HTTP/1.1"),
    ],
)
def test_a_line_that_asks_nothing(first: bytes, status: int, words: str) -> None:
    with pytest.raises(Problem) as refused:
        checked(head(first=first))
    assert refused.value.status_code == status
    assert refused.value.code == ("unsupported_version" if status == 505 else "malformed_request")
    assert words in refused.value.detail


def test_a_host_is_needed_since_http_1_1() -> None:
    with pytest.raises(Problem, match="one Host header"):
        checked(b"GET / HTTP/1.1\r\n\r\n")
    assert checked(b"GET / HTTP/1.0\r\n\r\n")
    with pytest.raises(Problem, match="Transfer-Encoding needs"):
        checked(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n")


def test_what_is_not_ascii_in_a_url_is_encoded_as_browsers_do() -> None:
    asked = head(b"X: \xc3\xa9", first="GET /sample?prime=é€ HTTP/1.1".encode())
    assert checked(asked) == head(
        b"X: \xc3\xa9", first=b"GET /sample?prime=%C3%A9%E2%82%AC HTTP/1.1"
    )


def test_the_bound_of_a_head_is_true() -> None:
    def padded(length: int) -> bytes:
        return head(b"X: " + b"y" * (length - len(head(b"X: "))))

    assert complete(padded(MAX_HEAD)) == MAX_HEAD
    # Also of one that came at once, with its end in sight.
    for sent in (padded(MAX_HEAD + 1), padded(100_000), padded(100_000)[:MAX_HEAD]):
        with pytest.raises(Problem) as refused:
            complete(sent)
        assert (refused.value.status_code, refused.value.code) == (431, "head_too_large")
    for sent in (b"GET /?prime=" + b"y" * 100_000, b"x" * MAX_HEAD):
        with pytest.raises(Problem) as refused:
            complete(sent)
        assert (refused.value.status_code, refused.value.code) == (414, "url_too_long")
        assert "POST /sample" in refused.value.detail
    # As it is when it is encoded.
    for query, allowed in (("é" * 1365, True), ("é" * 1366, False)):
        asked = head(first=f"GET /?{query} HTTP/1.1".encode())
        if allowed:
            assert checked(asked)
        else:
            with pytest.raises(Problem, match="8 KiB"):
                checked(asked)
    many = [b"X: y"] * (MAX_HEADERS - 1)
    assert checked(head(*many))
    with pytest.raises(Problem) as refused:
        checked(head(*many, b"X: y"))
    assert (refused.value.status_code, refused.value.code) == (431, "head_too_large")


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"\x16\x03\x01\x02\x00\x01", "not HTTPS"),
        (b"GET / HTTP/1.1\nHost: localhost\n\n", "CRLF"),
        (b"GET / HTTP/1.1\rHost", "CRLF"),
    ],
)
def test_what_will_be_no_head_is_refused_before_its_end(sent: bytes, words: str) -> None:
    with pytest.raises(Problem, match=words):
        complete(sent)
    assert complete(b"GET / HTTP/1.1\r") == 0


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        (b"/models?a=b", b"/models?a=b", b"one"),
        (b"http://two:80/models?a=b", b"/models?a=b", b"two:80"),
        (b"HTTPS://two", b"/", b"two"),
        (b"http://two?a=b", b"/?a=b", b"two"),
        (b"http://x@two/", b"/", b"x@two"),
        (b"*", b"*", b"one"),
    ],
)
def test_an_absolute_target_names_the_host(target: bytes, path: bytes, host: bytes) -> None:
    headers = [(b"accept", b"*/*"), (b"host", b"one")]
    assert resolved(target, headers) == path
    assert sorted(headers) == [(b"accept", b"*/*"), (b"host", host)]

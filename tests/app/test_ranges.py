"""A part of a file is the part that was asked for, and of the same file."""

import asyncio
from collections.abc import Iterator

import pytest
from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Message

from app.http import ranges
from app.http.problems import Problem
from app.http.ranges import MadeFile, Part, ResumableResponse, asked_part, is_known, not_modified

TAG = '"abc.zip"'
CONTENT = bytes(range(100))


def asked(method: str = "GET", **headers: str) -> Request:
    pairs = [(k.replace("_", "-").encode(), v.encode("latin-1")) for k, v in headers.items()]
    return Request({"type": "http", "method": method, "headers": pairs})


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("bytes=0-", Part(0, 100)),
        ("bytes=0-0", Part(0, 1)),
        ("bytes=10-19", Part(10, 20)),
        ("bytes=99-", Part(99, 100)),
        ("bytes=90-1000", Part(90, 100)),
        ("bytes=90-" + "9" * 5000, Part(90, 100)),
        ("bytes=-1", Part(99, 100)),
        ("bytes=-100", Part(0, 100)),
        ("bytes=-1000", Part(0, 100)),
        ("Bytes = 1 - 2", Part(1, 3)),
        # What is no range of bytes is as if it were not there.
        ("", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=20-10", None),
        ("bytes=1-2,4-5", None),
        ("bytes=--1", None),
        ("bytes=0x1-", None),
        ("bytes=१-", None),
        ("lines=1-2", None),
    ],
)
def test_which_part_a_range_is(value: str, part: Part | None) -> None:
    pairs = [(b"range", value.encode())]
    request = Request({"type": "http", "method": "GET", "headers": pairs})
    assert asked_part(request, TAG, 100) == part


@pytest.mark.parametrize(
    "value", ["bytes=100-", "bytes=100-200", "bytes=-0", f"bytes={'9' * 5000}-"]
)
def test_a_range_behind_the_end_is_refused_with_the_size(value: str) -> None:
    with pytest.raises(Problem) as refusal:
        asked_part(asked(range=value), TAG, 100)
    assert (refusal.value.status_code, refusal.value.code) == (416, "range_not_satisfiable")
    assert refusal.value.headers == {"Content-Range": "bytes */100"}


@pytest.mark.parametrize("tag", ['"other.zip"', f"W/{TAG}", "Sat, 28 Nov 2026 00:00:00 GMT", "abc"])
def test_the_part_of_another_file_is_not_sent(tag: str) -> None:
    assert asked_part(asked(range="bytes=500-", if_range=tag), TAG, 100) is None
    assert asked_part(asked(range="bytes=50-", if_range=TAG), TAG, 100) == Part(50, 100)


def test_what_the_client_has_is_not_sent_again() -> None:
    for known in (TAG, f"W/{TAG}", f'"x", {TAG}', "*"):
        assert is_known(asked(if_none_match=known), TAG)
    for other in ("", '"x"', "abc.zip"):
        assert not is_known(asked(if_none_match=other), TAG)
    assert not_modified(TAG).headers["etag"] == TAG


def sent(request: Request, size: int = 7) -> tuple[bytes, list[int], Message]:
    """The body, the chunks that were made for it, and the head of an answer."""
    made: list[int] = []
    closed: list[bool] = []
    messages: list[Message] = []

    def chunks() -> Iterator[bytes]:
        for at in range(0, len(CONTENT), size):
            made.append(at)
            yield CONTENT[at : at + size]

    async def send(message: Message) -> None:
        messages.append(message)

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    file = MadeFile(chunks(), len(CONTENT), TAG, "application/zip")
    part = asked_part(request, TAG, len(CONTENT))
    response = ResumableResponse(request, file, part, {}, lambda: closed.append(True))
    scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
    asyncio.run(response(scope, receive, send))
    assert closed == [True]
    return b"".join(m.get("body", b"") for m in messages), made, messages[0]


def test_any_part_is_cut_out_of_the_chunks() -> None:
    for first in range(0, 100, 3):
        for last in range(first, 100, 5):
            body, made, head = sent(asked(range=f"bytes={first}-{last}"))
            assert body == CONTENT[first : last + 1]
            assert head["status"] == 206
            headers = dict(head["headers"])
            assert headers[b"content-range"] == f"bytes {first}-{last}/100".encode()
            assert headers[b"content-length"] == str(len(body)).encode()
            # Nothing is made that comes after it.
            assert made[-1] <= last


def test_all_of_it_has_a_length_and_a_tag_and_head_no_body() -> None:
    for method, expected in (("GET", CONTENT), ("HEAD", b"")):
        body, made, head = sent(asked(method))
        headers = dict(head["headers"])
        assert body == expected
        assert bool(made) == bool(expected)
        assert head["status"] == 200
        assert headers[b"content-length"] == b"100"
        assert headers[b"accept-ranges"] == b"bytes"
        assert headers[b"etag"] == TAG.encode()


def test_who_takes_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "STALLED_SECONDS", 0.01)
    closed: list[bool] = []

    async def stalled(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    request = asked()
    file = MadeFile(iter([CONTENT]), 100, TAG, "application/zip")
    response = ResumableResponse(request, file, None, {}, lambda: closed.append(True))
    scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
    with pytest.raises((ClientDisconnect, ExceptionGroup)):
        asyncio.run(response(scope, receive, stalled))
    assert closed == [True]

"""The ``Accept`` header decides which media type is sent (RFC 9110, 12.5.1)."""

import pytest
from starlette.requests import Request

from app.http.negotiation import EVENTS, JSON, TEXT, accepted, prefers_html
from app.http.problems import Problem

OFFERS = (TEXT, EVENTS, JSON)


def asking(accept: str | None) -> Request:
    headers = [] if accept is None else [(b"accept", accept.encode())]
    return Request({"type": "http", "headers": headers})


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, TEXT),
        ("", TEXT),
        ("*/*", TEXT),
        ("application/json", JSON),
        ("text/event-stream, text/plain;q=0.5", EVENTS),
        ("text/*;q=0.3, application/json;q=0.4", JSON),
        # The most specific range decides, wherever it stands.
        ("*/*, text/plain;q=0.1, text/event-stream;q=0", JSON),
        ("TEXT/PLAIN ; Q=1", TEXT),
        ("application/json;q=nonsense, text/plain;q=0.1", TEXT),
        # As clients are found to send it.
        ("*", TEXT),
        ("image/gif, *; q=.2, */*; q=.2", TEXT),
        ("application/json ; q = 0.9 , *", TEXT),
        ("application/json; q=.9, text/*; q=.05", JSON),
        ("application/json;q=0.99999, text/plain;q=0.9", JSON),
        ("application/json; charset=utf-8", JSON),
        ("nonsense", TEXT),
        (", ,", TEXT),
        ("json, text/event-stream", EVENTS),
    ],
)
def test_what_is_chosen(accept: str | None, chosen: str) -> None:
    assert accepted(asking(accept), OFFERS) == chosen


def test_several_headers_are_one_list() -> None:
    lines = [(b"accept", b"text/plain;q=0.5"), (b"accept", b"application/json")]
    assert accepted(Request({"type": "http", "headers": lines}), OFFERS) == JSON


@pytest.mark.parametrize("accept", ["image/png", "text/plain;q=0", "application/*;q=0"])
def test_a_client_that_takes_none_of_them(accept: str) -> None:
    with pytest.raises(Problem) as refused:
        accepted(asking(accept), (TEXT,))
    assert (refused.value.status_code, refused.value.code) == (406, "not_acceptable")
    assert refused.value.detail == "this endpoint answers with text/plain"


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("*/*", False),
        ("", False),
        ("application/json", False),
        ("text/html;q=0.4, application/json", False),
        ("text/html;q=0", False),
        ("text/html, application/json", True),
    ],
)
def test_a_browser_that_navigates_gets_a_page(accept: str, is_page: bool) -> None:
    assert prefers_html(accept) is is_page

"""Answers tell what a client may still do, in the fields of the IETF's draft."""

from typing import Any

from app.http.allowances import Allowance, begin, fields, tell, told


def test_each_limit_has_a_policy_and_a_state() -> None:
    scope: dict[str, Any] = {}
    begin(scope)
    assert told(scope) == {}
    copied = dict(scope)
    tell(copied, lambda: Allowance("requests", 60, 59, window=60, seconds=31))
    tell(copied, lambda: Allowance("streams", 8, 3, "concurrent-requests"))
    assert told(scope) == {
        "RateLimit-Policy": '"requests";q=60;w=60, "streams";q=8;qu="concurrent-requests"',
        "RateLimit": '"requests";r=59;t=31, "streams";r=3',
    }


def test_what_is_left_is_asked_when_the_answer_begins() -> None:
    scope: dict[str, Any] = {}
    begin(scope)
    left = 5
    tell(scope, lambda: Allowance("streams", 8, left))
    left = -1
    assert told(scope)["RateLimit"] == '"streams";r=0'


def test_where_no_guard_is_nothing_is_told() -> None:
    tell({}, lambda: Allowance("streams", 8, 3))
    assert told({}) == fields() == {}

"""Which names are wanted: patterns against a slow and obvious matcher, and their cost."""

import itertools
import re

import pytest

from models.text.naming import Limits, Pattern


def slowly(pattern: str, name: str) -> bool:
    """Whether a name fits a pattern, by a regular expression."""
    parts = {"?": ".", "*": ".*"}
    return re.fullmatch("".join(parts.get(c, re.escape(c)) for c in pattern), name) is not None


def strings(alphabet: str, longest: int) -> list[str]:
    lengths = range(longest + 1)
    return ["".join(s) for n in lengths for s in itertools.product(alphabet, repeat=n)]


def test_patterns_fit_what_a_regular_expression_fits() -> None:
    names = strings("ab", 5)
    for text in strings("ab?*", 4):
        pattern = Pattern(text)
        fitting = [name for name in names if slowly(text, name)]
        assert [name for name in names if pattern.matches(name)] == fitting, text
        lengths = {len(name) for name in fitting}
        assert not lengths or min(lengths) >= pattern.shortest
        assert pattern.longest is None or lengths <= {pattern.longest}
        assert all(name.startswith(pattern.beginning) for name in fitting)
        # Of the beginnings of names, it allows those that a longer name can have.
        begun = {name[:2] for name in fitting if len(name) >= 2}
        assert {two for two in strings("ab", 2) if len(two) == 2 and pattern.allows(two)} == begun


@pytest.mark.parametrize("text", ["*a" * 100, "*?" * 100, "*" * 200, "a*" * 99 + "b"])
def test_a_hostile_pattern_costs_a_step_a_character(text: str) -> None:
    """At these a matcher that backtracks would not come to an end."""
    pattern = Pattern(text)
    assert not pattern.matches("a" * 50 + "c") or set(text) <= set("*?")
    assert pattern.matches("a" * 200) == ("b" not in text)


def test_all_limits_hold_together() -> None:
    limits = Limits(3, 6, starts_with="k", contains="r", ends_with="a", pattern=Pattern("ka*"))
    assert (limits.beginning, limits.longest) == ("ka", 6)
    assert [
        n for n in ("kara", "karla", "kira", "kaa", "karin", "karolina") if limits.allow(n)
    ] == [
        "kara",
        "karla",
    ]
    assert Limits(1, 9, pattern=Pattern("k??")).longest == 3

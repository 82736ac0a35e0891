"""Passages to look at: whole, apart from each other, and with the thing in them."""

from itertools import pairwise

import numpy as np

from models.inside.hypotheses import HYPOTHESES, column, comment, quotes
from models.inside.passages import LONGEST, SHORTEST, Seamless, borders, examples, others

BY_NAME = {one.name: one for one in HYPOTHESES}
COMMENT, QUOTES, COLUMN = BY_NAME["comment"], BY_NAME["quotes"], BY_NAME["column"]

CODE = "int f(void)\n{\n\treturn 0;\n}\n\n/* What it\n   does. */\nint g(void);\n\n"


def of(text: str) -> list[Seamless]:
    return [Seamless(0, len(text), None)]


def test_a_passage_begins_and_ends_with_a_line() -> None:
    text = CODE * 40
    found = examples(text, of(text), comment(text), COMMENT)
    assert len(found) == 4
    for begin, end in found:
        assert begin == 0 or text[begin - 1] == "\n"
        assert text[end - 1] == "\n"
        assert SHORTEST <= end - begin <= LONGEST
        assert "/* What it\n   does. */" in text[begin:end]
    assert all(a[1] <= b[0] or b[1] <= a[0] for a in found for b in found if a != b)


def test_what_is_open_was_opened_in_it() -> None:
    """Half of the lines are within a long comment: none of them is an example of code."""
    text = ("/* A long\n" + "comment of many lines\n" * 30 + "*/\n" + CODE * 10) * 3
    found = examples(text, of(text), comment(text), COMMENT)
    assert found
    for begin, end in found:
        alone = comment(text[begin:end])
        assert np.array_equal(alone[:-1], comment(text)[begin : end - 1])


def test_of_something_that_is_longer_than_any_passage_a_piece_is_shown() -> None:
    text = 'He said: "' + ("it goes on and on " * 20 + "\n") * 4 + '"\n' + "and that was it. " * 60
    [(begin, end)] = examples(text, of(text), quotes(text), QUOTES)
    assert end - begin <= LONGEST


def test_long_lines_have_sentences() -> None:
    text = "One sentence of a long line. " * 30 + "\n" + "彼は言った。「そうだ。」" * 60
    places = set(borders(text).tolist())
    assert {0, 29, 58, len(text)} <= places
    for begin, end in examples(text, of(text), column(text), COLUMN):
        assert {begin, end} <= places


def test_nothing_is_an_example_of_what_never_changes() -> None:
    text = "a line\n" * 200
    assert examples(text, of(text), comment(text), COMMENT) == []
    assert examples("", [], comment(""), COMMENT) == []


def test_other_passages_are_from_all_over_the_text() -> None:
    text = CODE * 100
    taken = examples(text, of(text), comment(text), COMMENT)
    found = others(text, of(text), taken, 10)
    assert len(found) == 10
    assert found[0][0] < len(text) / 4
    assert found[-1][0] > len(text) * 3 / 4
    spans = sorted([*taken, *found])
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    assert others(text, of(text), taken, 0) == []

"""JSON that is one line to every reader."""

import json

import pytest

from models.json_lines import one_line, parsed

ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""All that ends a line to Python's ``splitlines``."""


def test_it_is_one_line_to_every_reader_and_the_same_value() -> None:
    value = {f"key{ENDS}": [f"a{ENDS}b", "é あ 🙂", {"n": 1.5}]}
    text = one_line(value)
    assert text.splitlines() == [text]
    assert json.loads(text) == value
    assert "é あ 🙂" in text


def test_the_whole_of_unicode_is_one_line() -> None:
    everything = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    assert len(one_line(everything).splitlines()) == 1
    assert json.loads(one_line(everything)) == everything


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError):
        one_line(float("nan"))


@pytest.mark.parametrize("text", ["[" * 100_000, b'{"a":' * 100_000, "", "{", b"\xff", "1 2"])
def test_what_is_no_json_is_one_kind_of_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        parsed(text)
    assert parsed('{"a": [1]}') == {"a": [1]}

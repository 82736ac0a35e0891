"""A text on its way to a terminal breaks between words, wherever its pieces end."""

import pytest

from app.terminal.wrapping import Wrapping

TEXTS = [
    ("It is a truth universally acknowledged", ["It is a truth", "universally", "acknowledged"]),
    ("one two\n\n  three four five\n", ["one two", "", "  three four", "five", ""]),
    # As wide as the terminal: the terminal itself goes on in the next line.
    ("0123456789abcdef 01", ["0123456789abcdef", "01"]),
    ("a 0123456789abcdefgh ij", ["a", "0123456789abcdefgh ij"]),
    ("\tif (x)\n\t\treturn 1;", ["\tif (x)", "\t\treturn 1;"]),
    ("いろはにほへとちりぬるを", ["いろはにほへとち", "りぬるを"]),
    ("ends here   ", ["ends here   "]),
    ("", [""]),
]


@pytest.mark.parametrize(("text", "lines"), TEXTS, ids=[text[:9] for text, _ in TEXTS])
def test_a_text_breaks_between_words(text: str, lines: list[str]) -> None:
    for size in (1, 2, 7, len(text) or 1):
        paper = Wrapping(lambda: 16)
        pieces = (text[at : at + size] for at in range(0, len(text), size))
        shown = "".join(map(paper.feed, pieces)) + paper.end()
        assert shown.split("\n") == lines, size


def test_whole_words_do_not_wait() -> None:
    paper = Wrapping(lambda: 80)
    assert paper.feed("To be, or") == "To be,"
    assert paper.feed(" not") == " or"
    assert paper.end() == " not"


def test_no_character_is_lost() -> None:
    text = "  Whose words\tare  not\n lost, but for\n\nspaces at the ends of lines.  "
    for columns in range(8, 80):
        paper = Wrapping(lambda columns=columns: columns)  # type: ignore[misc]
        shown = paper.feed(text) + paper.end()
        assert shown.split() == text.split()

"""What a cell might keep track of: the things that Karpathy's essay looked for by eye (2015).

A hypothesis is a function from a text to a value after each of its characters: yes or no, or a
number. To add one, write it below with its name and title, and its title in the other languages of
the pages. It returns NaN for characters that do not count, such as those outside of links for the
position in a link.

Knows texts; no networks.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Metric = Literal["auc", "correlation"]
Target = NDArray[np.float32]
"""One number for each character: 0 or 1 for ``auc``, NaN where the character does not count."""

Span = tuple[int, int]
Find = Callable[[str], Target]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """``metric`` is ``auc`` if ``find`` returns yes or no, ``correlation`` if numbers."""

    name: str
    title: str
    metric: Metric
    find: Find


HYPOTHESES: list[Hypothesis] = []

MAX_DEPTH = 12
"""Deeper brackets are likely misread text."""

MAX_POSITION = 200
"""Maximum of a column or another position: beyond, all are simply late."""

TAB = 8


def yes_no(name: str, title: str) -> Callable[[Find], Find]:
    return _listed(name, title, "auc")


def number(name: str, title: str) -> Callable[[Find], Find]:
    return _listed(name, title, "correlation")


def _listed(name: str, title: str, metric: Metric) -> Callable[[Find], Find]:
    def listed(find: Find) -> Find:
        HYPOTHESES.append(Hypothesis(name, title, metric, find))
        return find

    return listed


# Inside something: from its first character until its last one was read.


@yes_no("quotes", "inside quotes")
def quotes(text: str) -> Target:
    """Straight quotes, which an empty line closes in any case, and paired ones."""
    paired = r"“[^“”]*”|「[^「」]*」|『[^『』]*』|«[^«»]*»"
    straight = r'"(?:\\.|[^"\\\n]|\n(?!\n)){0,2000}"'
    return _inside(text, re.finditer(f"{straight}|{paired}", text))


@yes_no("parentheses", "inside parentheses")
def parentheses(text: str) -> Target:
    return _deeper(_depth(text, "(", ")"))


@yes_no("square-brackets", "inside square brackets")
def square_brackets(text: str) -> Target:
    return _deeper(_depth(text, "[", "]"))


@yes_no("braces", "inside braces")
def braces(text: str) -> Target:
    return _deeper(_depth(text, "{", "}"))


@number("bracket-depth", "depth of brackets of all kinds")
def bracket_depth(text: str) -> Target:
    return _depth(text, "([{", ")]}")


@number("brace-depth", "depth of braces")
def brace_depth(text: str) -> Target:
    return _depth(text, "{", "}")


@number("parenthesis-depth", "depth of parentheses")
def parenthesis_depth(text: str) -> Target:
    return _depth(text, "(", ")")


_LINK = re.compile(r"\[\[[^\[\]\n]*\]\]")


@yes_no("link", "inside [[ ]]")
def link(text: str) -> Target:
    return _inside(text, _LINK.finditer(text))


@number("link-position", "position within [[ ]]")
def link_position(text: str) -> Target:
    return _position_within(text, _LINK.finditer(text))


@yes_no("tag", "inside a tag < >")
def tag(text: str) -> Target:
    return _inside(text, re.finditer(r"<[/!?]?[A-Za-z][^<>\n]*>", text))


@yes_no("url", "in a URL")
def url(text: str) -> Target:
    found = re.finditer(r"(?:\b[a-z]+://|\bwww\.)[^\s\"'<>|{}\[\]()]+", text)
    return _inside(text, found, over=False)


@yes_no("www", "after www")
def www(text: str) -> Target:
    """From the last w to the end of the host name."""
    return _inside(text, re.finditer(r"(?<=\bww)w\.?[\w-]*", text), over=False)


_STRING = r'"(?:\\.|[^"\\\n]){0,1000}"|' + r"'(?:\\.|[^'\\\n]){1,2}'"


@yes_no("comment", "inside a comment /* */ or //")
def comment(text: str) -> Target:
    """As in C: not in a string, and not after the slashes of a URL."""
    found = re.finditer(rf"{_STRING}|/\*.*?(?:\*/|\Z)|(?<!:)//[^\n]*\n?", text, re.DOTALL)
    return _inside(text, (match for match in found if match.group()[0] == "/"))


@yes_no("if-condition", "inside the condition of an if")
def if_condition(text: str) -> Target:
    """The parentheses after ``if`` and their contents."""
    return _within(text, _conditions(text))


def _conditions(text: str) -> Iterator[Span]:
    for match in re.finditer(r"\bif\s*\(", text):
        depth = 0
        for bracket in re.compile(r"[()]").finditer(text, match.end() - 1):
            depth += 1 if bracket.group() == "(" else -1
            if not depth or bracket.start() - match.start() > 500:
                yield match.end() - 1, bracket.end()
                break


@yes_no("directive", "in a line that begins with #")
def directive(text: str) -> Target:
    return _inside(text, re.finditer(r"^[ \t]*#(?:\\\n|[^\n])*\n?", text, re.MULTILINE))


@yes_no("speaker", "in a line that ends with a colon")
def speaker(text: str) -> Target:
    """A heading, such as the speaker in a play."""
    return _inside(text, re.finditer(r"^[^\s:][^:\n]{0,40}:\n", text, re.MULTILINE))


@yes_no("math", "inside $ $")
def math(text: str) -> Target:
    return _inside(text, re.finditer(r"(?<!\\)\$\$?(?:\\.|[^$\\]){1,500}?\$\$?", text, re.DOTALL))


@yes_no("command", "in a command that begins with a backslash")
def command(text: str) -> Target:
    return _inside(text, re.finditer(r"\\[A-Za-z]+[^A-Za-z]?", text))


@number("environment-depth", r"depth of \begin and \end")
def environment_depth(text: str) -> Target:
    steps = ((m.end() - 1, 1 if m[1] == "begin" else -1) for m in _ENVIRONMENT.finditer(text))
    return _running(text, steps)


_ENVIRONMENT = re.compile(r"\\(begin|end)\{[^{}\n]*\}")


# Where in a line, a word, a sentence.


@number("column", "position in the line")
def column(text: str) -> Target:
    return _since(text, "\n")


@number("indentation", "indentation of the line")
def indentation(text: str) -> Target:
    """In columns; while it is being read, as far as it was read."""
    values = np.zeros(len(text), np.float32)
    for match in re.finditer(r"^[^\n]*", text, re.MULTILINE):
        width, begin = 0, match.start()
        for place in range(begin, match.end()):
            if text[place] == "\t":
                width += TAB - width % TAB
            elif text[place] == " ":
                width += 1
            else:
                values[place : match.end()] = width
                break
            values[place] = width
    return np.minimum(values, MAX_POSITION)


@yes_no("indenting", "in the indentation of a line")
def indenting(text: str) -> Target:
    return _inside(text, re.finditer(r"^[ \t]+", text, re.MULTILINE), over=False)


@number("paragraph-line", "lines since an empty one")
def paragraph_line(text: str) -> Target:
    values = np.zeros(len(text), np.float32)
    for match in re.finditer(r"(?:[^\n]+\n?)+", text):
        place, end = match.span()
        breaks = np.array([character == "\n" for character in text[place:end]])
        values[place:end] = np.cumsum(breaks)
    return np.minimum(values, MAX_POSITION)


@number("sentence-position", "position in the sentence")
def sentence_position(text: str) -> Target:
    return _since(text, ".!?。！？")  # noqa: RUF001


@number("word-position", "position in the word")
def word_position(text: str) -> Target:
    return _position_within(text, _WORD.finditer(text))


_WORD = re.compile(r"[^\W\d_]+")


# What the last characters were.


@yes_no("digits", "in a number")
def digits(text: str) -> Target:
    return _inside(text, re.finditer(r"\d+", text), over=False)


@yes_no("capitals", "in capitals")
def capitals(text: str) -> Target:
    """Two or more in a row: names, abbreviations, constants."""
    return _inside(text, re.finditer(r"\b[A-Z][A-Z0-9_]*[A-Z]\b", text), over=False)


@yes_no("capitalised-word", "in a word that begins with a capital")
def capitalised_word(text: str) -> Target:
    return _inside(text, re.finditer(r"\b[A-Z][a-z]+", text), over=False)


@yes_no("vowels", "after a vowel")
def vowels(text: str) -> Target:
    """Only letters count."""
    values = np.full(len(text), np.nan, np.float32)
    for match in _WORD.finditer(text):
        begin, end = match.span()
        values[begin:end] = [character in "aeiouAEIOU" for character in text[begin:end]]
    return values


# What comes next.


@yes_no("line-end-next", "end of line next")
def line_end_next(text: str) -> Target:
    return _before(text, re.finditer(r"\n", text))


@yes_no("word-end-next", "end of word next")
def word_end_next(text: str) -> Target:
    """Only letters count: elsewhere there is no word to end."""
    values = np.full(len(text), np.nan, np.float32)
    for match in _WORD.finditer(text):
        values[match.start() : match.end() - 1] = 0
        values[match.end() - 1] = 1
    if text and not np.isnan(values[-1]):
        # The text's last word may be incomplete.
        values[-1] = np.nan
    return values


@yes_no("space-next", "space next")
def space_next(text: str) -> Target:
    return _before(text, re.finditer(r"[ \t]", text))


def _inside(text: str, matches: Iterable[re.Match[str]], *, over: bool = True) -> Target:
    """Returns 1 from the first character of each match to its last, exclusive if ``over``.

    A closing character, once read, has closed the thing.
    """
    return _within(text, (match.span() for match in matches), over=over)


def _within(text: str, spans: Iterable[Span], *, over: bool = True) -> Target:
    values = np.zeros(len(text), np.float32)
    for begin, end in spans:
        values[begin : end - over] = 1
    return values


def _position_within(text: str, matches: Iterable[re.Match[str]]) -> Target:
    """Returns 1, 2, 3, … in each match, NaN elsewhere."""
    values = np.full(len(text), np.nan, np.float32)
    for match in matches:
        length = len(match.group())
        values[match.start() : match.end()] = np.minimum(np.arange(1, length + 1), MAX_POSITION)
    return values


def _before(text: str, matches: Iterable[re.Match[str]]) -> Target:
    """Returns 1 where a match begins next."""
    values = np.zeros(len(text), np.float32)
    for match in matches:
        if match.start():
            values[match.start() - 1] = 1
    return values


def _since(text: str, marks: str) -> Target:
    """Returns the characters since one of the marks, 0 at the mark itself."""
    places = np.arange(len(text))
    is_mark = np.array([character in marks for character in text], dtype=bool)
    last = np.maximum.accumulate(np.where(is_mark, places, -1)) if len(text) else places
    return np.minimum(places - last, MAX_POSITION).astype(np.float32)


def _depth(text: str, opening: str, closing: str) -> Target:
    """Returns the number of open brackets; other characters are ignored."""
    pattern = re.compile(f"[{re.escape(opening + closing)}]")
    steps = ((m.start(), 1 if m.group() in opening else -1) for m in pattern.finditer(text))
    return _running(text, steps)


def _running(text: str, steps: Iterable[tuple[int, int]]) -> Target:
    """Returns a sum that changes at some positions, within 0 and ``MAX_DEPTH``."""
    values = np.zeros(len(text), np.float32)
    depth, before = 0, 0
    for place, change in steps:
        values[before:place] = depth
        depth = min(MAX_DEPTH, max(0, depth + change))
        before = place
    values[before:] = depth
    return values


def _deeper(depth: Target) -> Target:
    return (depth > 0).astype(np.float32)

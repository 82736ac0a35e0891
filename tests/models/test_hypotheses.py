"""What hypotheses say of small texts."""

import numpy as np
import pytest

from models.inside.hypotheses import HYPOTHESES, Hypothesis

BY_NAME = {hypothesis.name: hypothesis for hypothesis in HYPOTHESES}


def marks(name: str, text: str) -> str:
    """A line below the text: ``#`` for yes, ``.`` for no, a number's last digit, ``-`` for none."""
    hypothesis = BY_NAME[name]
    values = hypothesis.find(text)
    assert values.dtype == np.float32
    numbers = "01" if hypothesis.metric == "correlation" else ".#"
    return "".join(
        "-" if np.isnan(value) else (numbers + "23456789")[int(value) % 10] for value in values
    )


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("quotes", 'a "b" c', "..##..."),
        ("quotes", 'a "b\n\n c" d', "." * 11),
        ("quotes", 's = "a\\"b";', "....#####.."),
        ("quotes", "他「は」x", ".##.."),
        ("parentheses", "f(a(b)c)d", ".######.."),
        ("parentheses", ")a(b", "..##"),
        ("square-brackets", "a[i]=0", ".##..."),
        ("braces", "{a{b}c}d", "######.."),
        ("bracket-depth", "a(b[c{d}])e", "01122332100"),
        ("brace-depth", "{{a}b}c", "1221100"),
        ("parenthesis-depth", "((a)b)c", "1221100"),
        ("link", "a [[b c]] d", "..######..."),
        ("link-position", "a [[b]] d", "--12345--"),
        ("tag", "a <b x> c < d", "..####......."),
        ("url", "at http://a.b/c, or", "...#############..."),
        ("www", "http://www.ab.c d", ".........####...."),
        ("comment", "a /* b */ c", "..######..."),
        ("comment", "a // b\nc", "..####.."),
        ("comment", 's = "/* no */"; // yes\n', "................######."),
        ("comment", "see http://a.b for", "." * 18),
        ("if-condition", "if (a(b)) c(d);", "...#####......."),
        ("directive", "#if X\nint a;\n", "#####........"),
        ("speaker", "ROMEO:\nHello: you\n", "######............"),
        ("math", "let $x$ be", "....##...."),
        ("command", "a \\foo{b}", "..####..."),
        ("environment-depth", "a\\begin{x}b\\end{x}c", "0000000001111111100"),
        ("column", "ab\ncd", "12012"),
        ("indentation", "a\n  b c\n\td", "0012222088"),
        ("indenting", "a\n  b c", "..##..."),
        ("paragraph-line", "a\nb\n\nc\n", "0112001"),
        ("sentence-position", "Ab. C", "12012"),
        ("word-position", "ab, c", "12--1"),
        ("digits", "a12b", ".##."),
        ("capitals", "KING of X MAX_A", "####......#####"),
        ("capitalised-word", "The KING", "###....."),
        ("vowels", "hello, I", ".#..#--#"),
        ("line-end-next", "ab\nc\n", ".#.#."),
        ("word-end-next", "ab, cde", ".#--..-"),
        ("space-next", "ab c", ".#.."),
    ],
)
def test_what_is_true_after_each_character(name: str, text: str, expected: str) -> None:
    assert marks(name, text) == expected


def test_every_hypothesis_is_among_them_and_named_once() -> None:
    names = [hypothesis.name for hypothesis in HYPOTHESES]
    assert len(names) == len(set(names))
    assert all(hypothesis.title for hypothesis in HYPOTHESES)


@pytest.mark.parametrize("hypothesis", HYPOTHESES, ids=lambda hypothesis: hypothesis.name)
def test_any_text_gives_a_number_for_each_character(hypothesis: Hypothesis) -> None:
    rng = np.random.default_rng(0)
    signs = list("ab \t\n\"'()[]{}<>/*\\$#:.www1Zあ")
    for length in (0, 1, 2, 50, 3000):
        text = "".join(rng.choice(signs, length))
        values = hypothesis.find(text)
        assert values.shape == (length,)
        if hypothesis.metric == "auc":
            assert set(values[~np.isnan(values)].tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("unit", ['"\\"', "<a", "[[", "/*", "$\\$", "if((", "{(", "'\\'"])
def test_no_text_takes_forever(unit: str) -> None:
    """100 kB of what begins and never ends: a search that went back each time would take hours."""
    text = (unit * 50_000)[:100_000]
    for hypothesis in HYPOTHESES:
        hypothesis.find(text)

"""What a terminal is told to show: the essay's colours, and nothing that it would obey."""

import re
from typing import Any

import pytest

from app.terminal.drawing import BARS, colours, inspection, ranking, sign

CODE = re.compile(r"\x1b\[[0-9;]*m")


def character(
    char: str, activation: float | None = None, *top: tuple[str, float]
) -> dict[str, Any]:
    return {
        "char": char,
        "probability": 0.5,
        "loss": 0.7,
        "top": [list(guess) for guess in top],
        "activations": [] if activation is None else [activation],
    }


def answer(*characters: dict[str, Any]) -> dict[str, Any]:
    return {"characters": list(characters), "loss": 0.7, "bpc": 1.0}


def plain(lines: list[str]) -> list[str]:
    return [CODE.sub("", line) for line in lines]


@pytest.mark.parametrize(
    ("environment", "is_terminal", "expected"),
    [
        ({"TERM": "xterm-256color"}, True, "256"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, True, "true"),
        ({"TERM": "xterm", "COLORTERM": "24bit"}, True, "true"),
        ({"TERM": "xterm-direct"}, True, "true"),
        ({"TERM": "xterm", "COLORTERM": "truecolor", "NO_COLOR": "1"}, True, "none"),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, "256"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, False, "none"),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, True, "none"),
        ({}, True, "none"),
    ],
)
def test_colours_are_for_terminals_that_have_them(
    environment: dict[str, str], is_terminal: bool, expected: str
) -> None:
    assert colours(environment, is_terminal) == expected


def backgrounds(line: str) -> list[tuple[int, int, int]]:
    found = re.findall(r"\x1b\[30;48;2;(\d+);(\d+);(\d+)m", line)
    return [(int(r), int(g), int(b)) for r, g, b in found]


def test_green_is_excited_and_blue_is_quiet() -> None:
    told = answer(character("a", 1.0), character("b", 0.0), character("c", -1.0))
    [line] = inspection(told, 80, "true")
    excited, neither, quiet = backgrounds(line)
    assert excited[1] > max(excited[0], excited[2])
    assert neither == (255, 255, 255)
    assert quiet[2] > max(quiet[0], quiet[1])
    assert line.endswith("\x1b[0m")
    assert plain([line]) == ["abc"]


def test_guesses_are_red_by_their_probability() -> None:
    told = answer(
        character("a", None, ("b", 0.9), ("c", 0.1)), character("b", None, ("x", 0.5), ("y", 0.2))
    )
    lines = list(inspection(told, 80, "true"))
    assert plain(lines) == ["ab", "bx", "cy"]
    assert backgrounds(lines[0]) == []
    (sure, fair), (unlikely, _) = backgrounds(lines[1]), backgrounds(lines[2])
    assert sure[0] == fair[0] == unlikely[0] == 255
    assert sure[1] < fair[1] < unlikely[1]


def test_256_colours_where_there_are_no_more() -> None:
    [line] = inspection(answer(character("a", 1.0), character("b", 0.0)), 80, "256")
    assert re.findall(r"48;5;(\d+)m", line) == [str(16 + 36 * 1 + 6 * 4 + 2), "231"]


def test_without_colours_bars_say_what_a_cell_does() -> None:
    told = answer(
        character("a", -1.0), character("b", 0.0), character("\n", 1.0), character("c", 0.9)
    )
    assert list(inspection(told, 80, "none")) == ["ab↵", "▁▅█", "c", "█"]


def test_lines_end_where_the_text_has_them_and_where_there_is_no_more_room() -> None:
    told = answer(*(character(char) for char in "abcde\nfg"))
    assert list(inspection(told, 4, "none")) == ["abcd", "e↵", "fg"]


def test_wide_characters_keep_the_columns() -> None:
    """A guess of two columns makes its character as wide."""
    told = answer(
        character("a", None, ("あ", 0.5)),
        character("漢", None, ("b", 0.5)),
        character("c", None, ("d", 0.1)),
    )
    assert list(inspection(told, 80, "none")) == ["a 漢c", "あb d"]
    assert list(inspection(told, 4, "none")) == ["a 漢", "あb", "", "c", "d"]


def test_tabs_indent() -> None:
    told = answer(*(character(char, 1.0) for char in "\t{\t"))
    assert list(inspection(told, 80, "none")) == ["→   {→", "█   ██"]
    assert list(inspection(told, 8, "none")) == ["→   {", "█   █", "→", "█"]


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        ("a", "a"),
        ("\n", "↵"),
        ("\t", "→"),
        (" ", "·"),
        ("\x1b", "▯"),
        ("\x00", "▯"),
        ("\x9b", "▯"),
        ("\u202e", "▯"),
        ("\\xe3", "▯"),
        ("\u0301", "◌\u0301"),
    ],
)
def test_nothing_that_a_terminal_obeys(character: str, shown: str) -> None:
    assert sign(character) == shown


def test_texts_and_excerpts_cannot_command_the_terminal() -> None:
    told = answer(character("\x1b", None, ("\x07", 0.5)), character("[", None, ("\u202e", 0.5)))
    drawn = "".join(inspection(told, 80, "none"))
    found = RANKING | {
        "hypotheses": [
            RANKING["hypotheses"][0] | {"excerpt": "\x1b\x07\n\u202e", "activations": [0.0] * 4}
        ]
    }
    drawn += "".join(ranking(found, 80, "none"))
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202e]", drawn)


RANKING: dict[str, Any] = {
    "hypotheses": [
        {
            "name": "quotes",
            "title": "inside quotes",
            "metric": "auc",
            "cells": [
                {"layer": 0, "cell": 119, "score": 0.9847, "sign": -1},
                {"layer": 1, "cell": 3, "score": 0.9, "sign": 1},
            ],
            "excerpt": 'say "' + "x" * 40,
            "activations": [0.9] * 4 + [-0.9] * 41,
        },
        {
            "name": "column",
            "title": "position in the line",
            "metric": "correlation",
            "cells": [{"layer": 0, "cell": 48, "score": 0.73, "sign": 1}],
            "excerpt": "a\nb",
            "activations": [0.1, -1.0, 0.1],
        },
    ],
    "share": 0.0512,
}


def test_a_ranking_names_cells_and_shows_where() -> None:
    lines = list(ranking(RANKING, 40, "none"))
    assert lines == [
        "inside quotes",
        "  layer 0 cell 119 (quiet there), AUC",
        "  0.985; also layer 1 cell 3 (0.900)",
        '  say "' + "x" * 33,
        "  ████" + "▁" * 34,
        "  xxxxxxx",
        "  ▁▁▁▁▁▁▁",
        "",
        "position in the line",
        "  layer 0 cell 48, correlation 0.730",
        "  a↵",
        "  ▅▁",
        "  b",
        "  ▅",
        "",
        "5.1% of the cells track something",
    ]
    coloured = list(ranking(RANKING, 40, "true"))
    assert plain(coloured) == [line for line in lines if not set(line) & set(BARS)]
    excited, quiet = backgrounds(coloured[3])
    assert excited[1] > excited[2] and quiet[2] > quiet[1]


def test_a_ranking_of_nothing_says_why() -> None:
    [line] = ranking({"hypotheses": [], "share": None}, 80, "true")
    assert "no text" in line
    [line] = ranking({"hypotheses": [], "share": 0.0}, 80, "true")
    assert "no cell" in line

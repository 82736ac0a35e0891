"""What a terminal is told to show: the essay's colours, and nothing that it would obey."""

import io
import re
from collections.abc import Iterable
from typing import Any, Literal

import pytest
from rich.console import Console
from rich.text import Text

from app.terminal.drawing import BARS, inspection, ranking, sign


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


def coloured(
    lines: Iterable[Text], colours: Literal["truecolor", "256"] = "truecolor"
) -> list[str]:
    """Lines as a terminal gets them, with the codes of colours."""
    out = io.StringIO()
    screen = Console(file=out, force_terminal=True, color_system=colours, width=80, _environ={})
    for line in lines:
        screen.print(line, soft_wrap=True)
    return out.getvalue().split("\n")[:-1]


def plain(lines: Iterable[Text]) -> list[str]:
    return [line.plain.rstrip() for line in lines]


def backgrounds(line: str) -> list[tuple[int, int, int]]:
    found = re.findall(r"\x1b\[30;48;2;(\d+);(\d+);(\d+)m", line)
    return [(int(r), int(g), int(b)) for r, g, b in found]


def test_green_is_excited_and_blue_is_quiet() -> None:
    told = answer(character("a", 1.0), character("b", 0.0), character("c", -1.0))
    [drawn] = inspection(told, 80, bars=False)
    [line] = coloured([drawn])
    excited, neither, quiet = backgrounds(line)
    assert excited[1] > max(excited[0], excited[2])
    assert neither == (255, 255, 255)
    assert quiet[2] > max(quiet[0], quiet[1])
    assert line.endswith("\x1b[0m")
    assert plain([drawn]) == ["abc"]


def test_guesses_are_red_by_their_probability() -> None:
    told = answer(
        character("a", None, ("b", 0.9), ("c", 0.1)), character("b", None, ("x", 0.5), ("y", 0.2))
    )
    drawn = list(inspection(told, 80, bars=False))
    assert plain(drawn) == ["ab", "bx", "cy"]
    lines = coloured(drawn)
    assert backgrounds(lines[0]) == []
    (sure, fair), (unlikely, _) = backgrounds(lines[1]), backgrounds(lines[2])
    assert sure[0] == fair[0] == unlikely[0] == 255
    assert sure[1] < fair[1] < unlikely[1]


def test_256_colours_where_there_are_no_more() -> None:
    # Shades of its own: rich keeps the codes of those that it has drawn.
    drawn = inspection(answer(character("a", 0.8), character("b", -0.8)), 80, bars=False)
    [line] = coloured(drawn, "256")
    assert re.findall(r"48;5;(\d+)m", line) == [
        str(16 + 36 * 1 + 6 * 4 + 2),
        str(16 + 36 * 2 + 6 * 2 + 5),
    ]


def test_without_colours_bars_say_what_a_cell_does() -> None:
    told = answer(
        character("a", -1.0), character("b", 0.0), character("\n", 1.0), character("c", 0.9)
    )
    assert plain(inspection(told, 80, bars=True)) == ["ab↵", "▁▅█", "c", "█"]


def test_lines_end_where_the_text_has_them_and_where_there_is_no_more_room() -> None:
    told = answer(*(character(char) for char in "abcde\nfg"))
    assert plain(inspection(told, 4, bars=True)) == ["abcd", "e↵", "fg"]


def test_wide_characters_keep_the_columns() -> None:
    """A guess of two columns makes its character as wide."""
    told = answer(
        character("a", None, ("あ", 0.5)),
        character("漢", None, ("b", 0.5)),
        character("c", None, ("d", 0.1)),
    )
    assert plain(inspection(told, 80, bars=True)) == ["a 漢c", "あb d"]
    assert plain(inspection(told, 4, bars=True)) == ["a 漢", "あb", "", "c", "d"]


def test_tabs_indent() -> None:
    told = answer(*(character(char, 1.0) for char in "\t{\t"))
    assert plain(inspection(told, 80, bars=True)) == ["→   {→", "█   ██"]
    assert plain(inspection(told, 8, bars=True)) == ["→   {", "█   █", "→", "█"]


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
    drawn = "".join(plain(inspection(told, 80, bars=True)))
    found = RANKING | {
        "hypotheses": [
            RANKING["hypotheses"][0]
            | {"title": "\x1b]0;", "excerpt": "\x1b\x07\n\u202e", "activations": [0.0] * 4}
        ]
    }
    drawn += "".join(plain(ranking(found, 80, bars=True)))
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
    lines = plain(ranking(RANKING, 40, bars=True))
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
    shaded = list(ranking(RANKING, 40, bars=False))
    assert plain(shaded) == [line for line in lines if not set(line) & set(BARS)]
    excited, quiet = backgrounds(coloured(shaded)[3])
    assert excited[1] > excited[2] and quiet[2] > quiet[1]


def test_a_ranking_of_nothing_says_why() -> None:
    [line] = ranking({"hypotheses": [], "share": None}, 80, bars=False)
    assert "no text" in line
    [line] = ranking({"hypotheses": [], "share": 0.0}, 80, bars=False)
    assert "no cell" in line

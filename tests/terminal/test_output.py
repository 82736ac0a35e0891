"""What all commands print with: colours where they show, and nothing that steers a terminal."""

import io
from typing import Any

import pytest

from app.terminal import output

HEAD = ("NAME", "SIZE", "ABOUT")
ROWS = [("first", "10", "one two three"), ("日本", "2,000", "four")]


class Screen(io.StringIO):
    """Standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "is_terminal", "expected"),
    [
        ({"TERM": "xterm-256color"}, True, "256"),
        ({"TERM": "xterm"}, True, "standard"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, True, "truecolor"),
        ({"TERM": "xterm", "COLORTERM": "24bit"}, True, "truecolor"),
        ({"TERM": "xterm", "COLORTERM": "truecolor", "NO_COLOR": "1"}, True, None),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, True, "256"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, False, None),
        ({"TERM": "xterm", "COLORTERM": "truecolor", "FORCE_COLOR": "1"}, False, None),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, True, None),
        ({}, True, None),
    ],
)
def test_colours_are_for_terminals_that_have_them(
    environment: dict[str, str],
    is_terminal: bool,
    expected: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    screen = output.console(Screen() if is_terminal else io.StringIO())
    assert screen.color_system == expected


def table(monkeypatch: pytest.MonkeyPatch, columns: int | None, rows: Any = ROWS) -> str:
    """A table, in a terminal of so many columns or in a pipe."""
    stream = io.StringIO() if columns is None else Screen()
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns or 10))
    output.table(HEAD, rows, "nothing yet")
    return stream.getvalue()


def test_a_table_has_a_line_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = "NAME   SIZE   ABOUT\nfirst  10     one two three\n日本   2,000  four\n"
    assert table(monkeypatch, None) == expected
    assert table(monkeypatch, 80) == expected


def test_in_a_narrow_terminal_the_last_column_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    assert table(monkeypatch, 21) == (
        "NAME   SIZE   ABOUT\nfirst  10     one two\n              three\n日本   2,000  four\n"
    )


def test_in_a_narrower_one_each_row_is_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    assert table(monkeypatch, 18) == (
        "NAME   first\nSIZE   10\nABOUT  one two\n       three\n\n"
        "NAME   日本\nSIZE   2,000\nABOUT  four\n"
    )


def test_a_table_of_nothing_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert table(monkeypatch, 80, []) == ""
    assert capsys.readouterr().err == "nothing yet\n"


def test_cells_are_neither_markup_nor_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("[bold]a[/bold]", ":smile:", "\x1b[2J")]
    assert table(monkeypatch, 80, rows).split("\n")[1] == "[bold]a[/bold]  :smile:  ·[2J"


def test_a_text_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert output.printable("a\tb\n\x1b[2J\x07\x9b1mc") == "a\tb\n·[2J··1mc"
    output.tell("\x1b]0;title\x07")
    assert capsys.readouterr().err == "·]0;title·\n"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (59.6, "1 min 00 s"), (61, "1 min 01 s"), (7260, "2 h 01 min")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert output.duration(seconds) == words


def test_a_sentence_that_is_too_long_for_a_terminal_breaks_between_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for screen, expected in (
        (Screen(), "check whether they\nbelong\n"),
        (io.StringIO(), "check whether they belong\n"),
    ):
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "20")
        monkeypatch.setattr("sys.stderr", screen)
        output.note("check whether they belong")
        assert screen.getvalue().replace(" \n", "\n") == expected


def test_only_lines_to_copy_stay_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "20")
    for line, is_broken in (
        ("charloom: cannot read the file: it is a directory", True),
        ("./charloom sample --model shakespeare writes with it", False),
        ("model is at https://example.org/owner/name", False),
        ("cannot read /some/long/path/to/a/file.txt: it is gone", True),
    ):
        screen = Screen()
        monkeypatch.setattr("sys.stderr", screen)
        output.tell(line)
        lines = screen.getvalue().splitlines()
        assert " ".join(part.strip() for part in lines) == line
        assert (len(lines) > 1) is is_broken
    screen = Screen()
    monkeypatch.setattr("sys.stdout", screen)
    output.state("the text has few characters")
    assert screen.getvalue().replace(" \n", "\n") == "the text has few\ncharacters\n"

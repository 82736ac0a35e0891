"""What is shown of a job: a bar that fits the terminal, or lines, and nothing that steers it."""

import io
import re
from typing import Any

import pytest
from rich.console import Console

from app.terminal.progress import LINE_SECONDS, LiveProgress, PlainProgress, view

PROGRESS = {"step": 100, "max_steps": 5000, "train_loss": 1.25, "val_loss": 1.5, "bpc": 2.164}
SAMPLE = {"step": 10, "temperature": 0.8, "text": "and\n\nso\n"}


def drawn(*events: tuple[str, dict[str, Any]], columns: int = 80, lines: int = 24) -> str:
    """What a terminal shows in the end of a job called tiny."""
    out = io.StringIO()
    screen = Console(
        file=out, force_terminal=True, width=columns, height=lines, color_system=None, _environ={}
    )
    with LiveProgress("tiny", screen) as live:
        for event in events:
            live.show(*event)
    return displayed(out.getvalue())


def displayed(written: str) -> str:
    """The lines of a terminal: it goes up and to the left, and erases lines, when it is told to."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[\d;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written):
        if part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row == len(lines))
        elif part == "\r":
            column = 0
        elif part == "\x1b[1A":
            row -= 1
        elif part == "\x1b[2K":
            lines[row] = ""
        elif not part.startswith("\x1b"):
            lines[row] = lines[row][:column] + part
            column += len(part)
    return "\n".join(line.rstrip() for line in lines)


def test_before_it_runs_a_job_waits_for_a_worker() -> None:
    assert drawn() == "tiny  waiting for a worker\n"


def test_a_bar_has_the_figures_and_the_latest_sample() -> None:
    times = {"elapsed_seconds": 30.0, "eta_seconds": 90.0, "chars_per_second": 12345.6}
    bar, *rest = drawn(
        ("sample", SAMPLE | {"text": "older"}),
        ("progress", PROGRESS | times),
        ("sample", SAMPLE),
        columns=150,
    ).splitlines()
    assert re.fullmatch(r"tiny  ━+╸? +25%", bar) and len(bar) == 120
    assert rest == [
        "step 100/5,000  loss 1.250  validation 1.500  2.164 bpc  12,346 characters/s  "
        "1 min 30 s left",
        "",
        "sample at step 10, temperature 0.8:",
        "and",
        "so",
    ]


def test_figures_that_do_not_fit_a_line_take_several() -> None:
    *_, one, other = drawn(("progress", dict(PROGRESS)), columns=40).splitlines()
    assert one.split("  ")[0] == "step 100/5,000"
    assert other.split("  ")[0] == "validation 1.500"
    assert max(len(one), len(other)) <= 40


def test_a_bar_is_full_when_time_is_up() -> None:
    """However many steps are left: they may never come."""
    times = {"elapsed_seconds": 30.0, "eta_seconds": 10.0}
    timed = drawn(("progress", {"step": 100, "max_steps": 5000} | times))
    assert " 75%\n" in timed and "step 100/5,000" in timed
    counted = drawn(("progress", {"step": 100, "max_steps": 400}))
    assert " 25%\n" in counted and "step 100/400" in counted


def test_an_evaluation_corrects_the_figures_and_a_notice_stands_above() -> None:
    evaluation = {"step": 100, "val_loss": 1.125, "bpc": 1.623, "best": True}
    shown = drawn(("progress", dict(PROGRESS)), ("evaluation", evaluation))
    assert "validation 1.125" in shown and "1.623 bpc" in shown
    shown = drawn(("progress", dict(PROGRESS)), ("notice", {"text": "sizes [b]shrank[/b]"}))
    assert shown.startswith("sizes [b]shrank[/b]\ntiny  ")


@pytest.mark.parametrize(
    ("text", "columns", "line"),
    [
        ("abcdefghijklmnopqrstuvwxyz", 26, "abcdefghijklmnopqrstuvwxyz"),
        ("abcdefghijklmnopqrstuvwxyz", 20, "abcdefghijklmnopqrst"),
        ("日本語" * 10, 21, "日本語日本語日本語日"),
        ("e\u0301" * 30, 20, "e\u0301" * 20),
        ("😀" * 30, 20, "😀" * 10),
    ],
)
def test_a_line_is_as_wide_as_the_terminal(text: str, columns: int, line: str) -> None:
    shown = drawn(("sample", SAMPLE | {"text": text}), columns=columns)
    assert shown.splitlines()[-1].rstrip() == line


def test_a_long_sample_leaves_room_for_the_bar() -> None:
    text = "\n".join(f"line {n}" for n in range(100))
    events = (("progress", dict(PROGRESS)), ("sample", SAMPLE | {"text": text}))
    shown = drawn(*events)
    assert "line 11\n" in shown and "line 12\n" not in shown


def test_a_sample_cannot_steer_the_terminal() -> None:
    hostile = SAMPLE | {"text": "\x1b]0;title\x07\n\rover"}
    shown = drawn(("sample", hostile), ("notice", {"text": "\x1b[2J"}))
    assert "\x1b" not in shown and "\x07" not in shown and "·over" in shown


def test_without_a_terminal_there_are_lines() -> None:
    out = io.StringIO()
    now = [0.0]
    lines = PlainProgress(out, lambda: now[0])
    lines.show("progress", dict(PROGRESS))
    lines.show("progress", PROGRESS | {"step": 101})
    now[0] = LINE_SECONDS
    lines.show("progress", PROGRESS | {"step": 102})
    lines.show("evaluation", {"step": 102, "val_loss": 1.4, "bpc": 2.0, "best": True})
    lines.show("evaluation", {"step": 103, "val_loss": 1.5, "bpc": 2.1, "best": False})
    lines.show("sample", SAMPLE | {"text": "a\n\x1bb"})
    lines.show("notice", {"text": "small\x1b"})
    assert out.getvalue().splitlines() == [
        "step 100/5,000  loss 1.250  validation 1.500  2.164 bpc",
        "step 102/5,000  loss 1.250  validation 1.500  2.164 bpc",
        "step 102: validation 1.400, the best so far",
        "step 103: validation 1.500",
        "sample at step 10, temperature 0.8:",
        "  | a",
        "  | ·b",
        "small·",
    ]


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "dumb")
    with view("tiny", Screen()) as shown:
        assert isinstance(shown, PlainProgress)
    monkeypatch.setenv("TERM", "xterm")
    with view("tiny", Screen()) as shown:
        assert isinstance(shown, LiveProgress)
    with view("tiny", io.StringIO()) as shown:
        assert isinstance(shown, PlainProgress)

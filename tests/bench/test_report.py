"""``./charloom bench`` measures every section, and its report says what, where and how well."""

import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from app.terminal import ending
from bench import __main__ as front
from bench.chart import Axis, Line, Panel, Scale, draw, short
from bench.markdown import table
from bench.report import samples, serving
from bench.report.machine import Watch, describe
from bench.report.plan import FULL, QUICK, Plan
from bench.report.run import Report, measure, sections
from bench.report.section import Section, Table
from bench.report.serving import ALONE, EXACT, FAST, LOOP, POOL, Summary
from bench.sample import PlainWay

SVG = "{http://www.w3.org/2000/svg}"

TINY = Plan(
    rounds=1,
    seconds=0.1,
    warm_up=0.05,
    hidden=16,
    streams=(1, 3),
    hidden_sizes=(8, 16),
    growing_hidden=8,
    growing_streams=(1, 2),
    layers=(1, 2),
    vocabularies=(50, 200),
    primes=(1, 50),
    models=(1, 2),
    learn_seconds=0.5,
    learn_rounds=1,
    systems=("n-gram",),
    text_bytes=30_000,
    batch=4,
    length=8,
    steps=3,
    with_litserve=False,
)
WAY = PlainWay(500.0, 1, False)


def tables(markdown: str) -> dict[str, str]:
    """Each table of a report with the words around it, by its title."""
    parts = re.split(r"^### (.+)$", markdown, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def cells(part: str) -> list[dict[str, str]]:
    """The rows of the first table."""
    lines = [line for line in part.splitlines() if line.startswith("|")]
    heads, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(heads, row, strict=True)) for row in rows[1:]]


def well_formed(picture: Path) -> ElementTree.Element:
    drawn = ElementTree.fromstring(picture.read_text(encoding="utf-8"))
    for path in drawn.iter(f"{SVG}path"):
        assert "nan" not in path.attrib["d"] and "inf" not in path.attrib["d"]
    return drawn


def test_a_report_has_each_section_with_figures_and_pictures(tmp_path: Path) -> None:
    report = Report(TINY, "./charloom bench --quick", tmp_path / "out")
    said: list[str] = []
    assert measure(report, sections(None), said.append), report.path.read_text()
    text = report.path.read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.M) == [
        "The machine",
        "Serving",
        "Training",
        "Start and memory",
        "Ceilings",
        "Growth",
    ]
    assert said[0].startswith("serving: ") and said[-1].startswith("growth: ")
    for title, part in tables(text).items():
        assert "better" in part, title
        assert re.search(r"^Command: `.+`$", part, re.M), title
        assert cells(part), title
    found = json.loads((report.directory / "bench.json").read_text())
    measured = {name: values for some in found["samples"].values() for name, values in some.items()}
    assert list(found["samples"]) == list(front.SECTIONS)
    assert all(values and all(v and v > 0 for v in values) for values in measured.values())
    assert f"{FAST}, 3 streams, characters/s" in measured
    for name in ("serving", "training", "growth"):
        drawn = well_formed(report.directory / f"{name}.svg")
        assert f"]({name}.svg)" in text
        assert list(drawn.iter(f"{SVG}circle"))


def summary(rate: float, *, wait: float = 0.01, gap: float = 0.02, reader: float = 0.1) -> Summary:
    return Summary(rate, wait, gap, 2 * gap, reader, 200_000_000)


def one_count(fast: list[Summary]) -> dict[serving.Case, list[Summary]]:
    plain = [summary(100.0), summary(200.0)]
    faster = [summary(50.0), summary(400.0)]
    return {
        (1, FAST): fast,
        (1, EXACT): plain,
        (1, LOOP): plain,
        (1, POOL): faster,
        (1, ALONE): [summary(2000.0), summary(2000.0)],
    }


def serving_rows(fast: list[Summary]) -> tuple[Section, list[dict[str, str]], str]:
    made = serving.section(Plan(streams=(1,)), one_count(fast), WAY)
    text = made.tables[0].markdown()
    return made, cells(text), text


def test_a_ratio_is_of_the_same_round_and_the_tutorials_better_way() -> None:
    _, rows, text = serving_rows([summary(1000.0), summary(1200.0)])
    # 1000 / 100 and 1200 / 400.
    assert rows[0]["× tutorial"] == "6.50×"
    assert rows[0]["characters/s"] == "1,100 (1,000–1,200)"
    assert rows[0]["gap p99, ms"] == "40.0"
    assert rows[-1]["memory, MB"] == ""
    assert "load generator took" not in text
    assert "1 thread, oneDNN off" in text


def test_a_load_generator_that_may_be_the_bottleneck_says_so() -> None:
    _, rows, text = serving_rows([summary(1000.0), summary(1000.0, reader=0.93)])
    assert rows[0]["characters/s"] == "≥ 1,000"
    assert rows[0]["reader"] == "93%"
    assert not any(row["characters/s"].startswith("≥") for row in rows[1:])
    assert "may be what limits the figure" in text


def test_what_did_not_come_in_time_is_no_number_and_is_not_drawn() -> None:
    late = summary(1.0, wait=math.inf, gap=math.inf)
    made, rows, _ = serving_rows([summary(1.0), late])
    assert rows[0]["first character, ms"] == "none (10.0–none)"
    assert rows[0]["gap p99, ms"] == "none (40.0–none)"
    waits = made.panels[1]
    assert FAST not in {line.label for line in waits.lines}
    assert EXACT in {line.label for line in waits.lines}


def test_each_is_measured_once_a_round_and_another_is_first() -> None:
    order: list[str] = []
    cases: dict[str, Callable[[], int]] = {name: lambda: len(order) for name in "abcd"}
    found = samples.interleave(cases, 2, order.append)
    assert "".join(order) == "abcdcdab"
    assert found == {"a": [1, 7], "b": [2, 8], "c": [3, 5], "d": [4, 6]}


def test_figures_are_short_and_have_their_spread() -> None:
    assert samples.spread([2.0, 1.0, 4.0], samples.whole) == "2 (1–4)"
    assert samples.spread([2.0, 2.0], samples.whole) == "2"
    told = [samples.figures(v) for v in (0.1234, 1.5, 12.34, 123.4, 12345.6, math.nan)]
    assert told == ["0.12", "1.50", "12.3", "123", "12,346", "–"]
    assert samples.milliseconds(0.0123) == "12.3"


def test_a_section_that_fails_is_in_the_report_and_the_others_too(tmp_path: Path) -> None:
    def broken(*_: object) -> Section:
        raise RuntimeError("a server does not listen: no memory")

    def works(*_: object) -> Section:
        rows = [{"what": "speed", "value": "12"}]
        return Section("start", "Start", [Table("A", "More is better.", "x", rows)])

    report = Report(QUICK, "./charloom bench", tmp_path)
    assert not measure(report, {"serving": broken, "start": works}, lambda _: None)
    text = report.path.read_text(encoding="utf-8")
    assert "no memory" in text
    assert "| speed | 12 |" in text


def test_what_was_measured_before_ctrl_c_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def works(*_: object) -> Section:
        return Section("start", "Start", [Table("A", "Less is better.", "x", [{"a": "1"}])])

    def interrupted(*_: object) -> Section:
        raise KeyboardInterrupt

    chosen = {"start": works, "growth": interrupted}
    monkeypatch.setattr("bench.report.run.sections", lambda _: chosen)
    assert command(monkeypatch, "--out", str(tmp_path)) == 130
    assert "Less is better." in (tmp_path / "bench.md").read_text(encoding="utf-8")


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["charloom bench", *arguments])
    return ending.run(front.cli, "charloom bench")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--only", "nothing"], 2, "--only must be one of serving, training, start"),
        (["--text", "/nowhere.txt"], 1, "file not found: /nowhere.txt"),
        (["--rounds", "0"], 2, "--rounds must be"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    arguments: list[str],
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(monkeypatch, *arguments) == code
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1), said.err
    assert words in said.err


def test_the_command_measures_what_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plans: list[Plan] = []

    def section(plan: Plan, _: object) -> Section:
        plans.append(plan)
        return Section("start", "Start", [])

    chosen = {"start": section, "growth": section}
    monkeypatch.setattr("bench.report.run.sections", lambda _: chosen)
    options = ["--only", "start", "--hidden", "64", "--rounds", "7", "--out", str(tmp_path)]
    assert command(monkeypatch, "--quick", *options) == 0
    (plan,) = plans
    assert (plan.hidden, plan.rounds, plan.seconds) == (64, 7, QUICK.seconds)
    assert capsys.readouterr().out == f"{tmp_path / 'bench.md'}\n"
    assert "--only start --hidden 64" in (tmp_path / "bench.md").read_text(encoding="utf-8")


def test_the_whole_has_all_that_a_report_promises() -> None:
    assert FULL.streams == (1, 8, 32, 128, 512)
    assert (FULL.hidden_sizes[0], FULL.hidden_sizes[-1]) == (128, 2048)
    assert (FULL.vocabularies[0], FULL.vocabularies[-1]) == (100, 5000)
    assert 10 in FULL.models


def test_the_machine_is_described() -> None:
    found = describe()
    assert "torch 2." in found["Packages"] and "onnxruntime" in found["Packages"]
    assert found["Load average at the start"].count(".") == 3
    watch = Watch()
    sum(range(2_000_000))
    # What this process does is not what others do.
    assert watch.others <= 1.05


@pytest.fixture
def panel() -> Iterator[Panel]:
    points = [(1.0, 10.0), (8.0, 900.0), (512.0, 50_000.0)]
    line = Line("a < b", [points], "green", dots=points, bounds=[(8.0, 800.0, 1000.0)])
    yield Panel(
        "t & t",
        "above",
        "below",
        Axis.at([1, 8, 512]),
        Axis.around([10, 50_000], is_log=True),
        [line],
    )


def test_a_log_axis_has_equal_steps_for_equal_ratios(panel: Panel) -> None:
    x = Scale(panel.x, 0, 90)
    assert [x(value) for value in (1, 8, 64, 512)] == pytest.approx([0, 30, 60, 90])
    assert x.ticks(7) == [1, 8, 512]
    assert Scale(panel.y, 300, 0).ticks(7) == [10, 100, 1000, 10_000]
    drawn = ElementTree.fromstring(draw([panel, panel], "two"))
    assert len(list(drawn.iter(f"{SVG}circle"))) == 6
    words = [text.text for text in drawn.iter(f"{SVG}text")]
    assert words.count("a < b") == 2 and "512" in words and "10k" in words


def test_an_axis_of_one_value_has_a_place_for_it() -> None:
    alone = Scale(Axis.at([4]), 0, 100)
    assert 0 < alone(4) < 100
    assert short(2048) == "2.05k" and short(0.25) == "0.25" and short(3e6) == "3M"


def test_columns_of_figures_are_aligned_at_their_right() -> None:
    rows = [{"a": "x", "b": "≥ 1,000"}, {"a": "y", "b": "none (1–none)"}, {"a": "z"}]
    assert table(rows, right=True).splitlines()[1] == "| --- | --: |"

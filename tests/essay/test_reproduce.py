"""The essay's experiments, run by the command against a real service, and what they report."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.essay.checks import Count
from app.essay.experiments import EXPERIMENTS
from app.essay.reproduce import CHECKS, Request, Text, run, training_options
from app.terminal import connect
from app.terminal.client import Client
from models.checkpoints.history import HistoryPoint
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.commands import charloom
from tests.essay.test_report import Reader
from tests.serving import TEXT, serve
from tests.toys import toy_checkpoint

PROSE = (
    'KING:\n"Who (calls) so loud?" said the king.\n\nQUEEN:\nNobody [he] said, and the wall\n'
    "was green as ever it had been before.\n\n"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a model that never was trained, and a text."""
    data = tmp_path_factory.mktemp("data")
    history: list[HistoryPoint] = [
        {"step": 5, "train_loss": 2.5, "val_loss": None},
        {"step": 10, "train_loss": 2.0, "val_loss": 2.1},
        {"step": 5, "temperature": 1.0, "text": "kznq( wuz"},
        {"step": 10, "temperature": 1.0, "text": "the king (said) the x"},
    ]
    registry = Registry(data / "models")
    text = re.sub("[^a-z \n]", "", PROSE.lower()) * 20
    toy = replace(toy_checkpoint(), history=history, validation=text.encode())
    registry.publish(Reference("toy"), toy)
    (data / "text.txt").write_text(PROSE * 40)
    return data


@pytest.fixture(scope="module")
def url(data: Path) -> Iterator[str]:
    with serve(data) as client:
        yield str(client.base_url)


def reported(data: Path, name: str, *arguments: str | Path) -> str:
    """The report that a run wrote, as Markdown."""
    done = charloom("experiment", "run", name, *arguments, "--data", data)
    assert done.returncode == 0, done.stderr
    paths = [data / "experiments" / name / f"report.{kind}" for kind in ("md", "html")]
    assert done.stdout.split() == [str(path) for path in paths]
    title = EXPERIMENTS[name].title
    assert f"<h1>{title.replace(chr(39), '&#x27;')}</h1>" in paths[1].read_text()
    return paths[0].read_text()


def table(report: str, heading: str) -> dict[str, list[str]]:
    """The table below a heading: cells by the first one of their row."""
    part = report.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| (.*) \|$", part)
    return {cells[0].strip(): cells[1:] for cells in (row.split(" | ") for row in rows)}


def test_a_report_says_how_and_counts_what_it_says(data: Path, url: str) -> None:
    file = data / "text.txt"
    report = reported(data, "shakespeare", "--model=toy", "--corpus", file, "--url", url)
    about = table(report, "Here")
    assert about["command"] == [
        "./charloom experiment run shakespeare --model toy --corpus text.txt"
    ]
    assert about["network"][0].startswith("LSTM, 2 × 24, ")
    assert about["validation loss"] == ["2.0000 nats per character, 2.8854 bits"]
    assert table(report, "Losses")["10"] == ["2.0000", "2.1000"]
    rows = table(report, "Checks")
    assert rows[""] == ["temperature 0.5", "temperature 0.8", "temperature 1", "held-out text"]
    *_, held_out = rows[CHECKS["words"][0]]
    assert held_out.startswith("100.0% of ")
    assert rows[CHECKS["brackets"][0]][-1].startswith("100.0% of ")
    assert report.count("\n## Sample, temperature ") == 3


def test_names_are_new_that_the_text_does_not_have(url: str, tmp_path: Path) -> None:
    client = Client(url)
    asked = {"model": "toy", "temperature": 1.0, "length": 2000, "seed": 0}
    known = next(filter(None, client.post("/sample", asked)["text"].split("\n")))
    listed = tmp_path / "list.txt"
    listed.write_text(f"{known}\nanna\n")
    experiment = replace(EXPERIMENTS["names"], length=2000, temperatures=(1.0, 2.0))
    request = Request("names", experiment, listed, "toy", None, "the command")
    written, _ = run(connect.Reached(client), request, tmp_path / "report")
    report = written.read_text()
    for row in ("1", "2"):
        drawn, *shares = table(report, "Novelty")[row]
        distinct, novel, novel_drawn = (float(share.rstrip("%")) for share in shares)
        assert 0 < int(drawn.replace(",", "")) <= 10_000 and 0 < distinct <= 100
        # The one that is known was drawn at 1.
        assert novel < 100 and novel_drawn < 100 if row == "1" else novel > 0
    new = report.partition("## Novel names, temperature 1\n")[2].partition("\n## ")[0]
    assert new.strip() and known not in new.strip().split(", ")
    assert "## Novel names, temperature 2" in report


def test_a_sweep_needs_no_text(data: Path, url: str) -> None:
    report = reported(data, "temperatures", "--model=toy", "--url", url)
    assert "run temperatures --model toy --corpus FILE runs them." in report
    assert report.count("\n## Sample, temperature ") == 6


def test_cells_are_reported(data: Path, url: str) -> None:
    report = reported(data, "cells", "--model=toy", "--url", url)
    assert re.search(r"(?m)^\d+\.\d% of the cells track something", report)
    assert table(report, "Cells")["tracks"] == ["cell", "measure", "score"]


def test_stages_of_learning_are_compared(data: Path, url: str) -> None:
    file = data / "text.txt"
    report = reported(data, "warpeace", "--model=toy", "--corpus", file, "--url", url)
    rows = table(report, "Checks")
    assert rows[""] == ["step 5", "step 10", "held-out text"]
    assert rows[CHECKS["words"][0]][:2] == ["0.0% of 1", "100.0% of 4"]
    assert rows[CHECKS["brackets"][0]][:2] == ["0.0% of 1", "100.0% of 2"]
    assert "## Sample, step 10\n\n    the king (said) the x\n" in report


@pytest.mark.parametrize(
    ("check", "text", "count"),
    [
        ("words", "The wall xq wall ", Count(2, 3)),
        ("brackets", "(a) [b", Count(2, 3)),
        ("quotes", '"a"\n"b\n\n"c"', Count(1, 2)),
        ("string quotes", '"a"\n"b\n\n"c"', Count(2, 3)),
        ("comments", "/* a */ /* b", Count(1, 2)),
        ("tags", "<a><b></b>", Count(2, 3)),
        ("links", "[[a]] [[b [[c\n]] [[d]]", Count(2, 4)),
        ("environments", r"\begin{a}\end{a}\end{b}", Count(2, 3)),
        ("dollars", "$a$ b\n\n$c\n\nd\n\n$e$$f$", Count(2, 3)),
        ("speakers", "KING:\nso\nFOOL:\nNo: KING:\nQUEEN:\n", Count(2, 3)),
    ],
)
def test_what_is_counted(check: str, text: str, count: Count) -> None:
    assert CHECKS[check][1](text, Text(PROSE, "")) == count


def test_a_text_is_what_was_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes("\ufeffZoe\u0308\r\nAnna\rJose\u0301\n".encode())
    text = Text.read(path)
    assert text.train + text.held_out == "Zoë\nAnna\nJosé\n"


def test_c_is_parsed_or_said_not_to_be(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    experiment = replace(EXPERIMENTS["linux"], length=500, temperatures=(1.0,))
    request = Request("linux", experiment, None, "toy", None, "the command")
    written, _ = run(connect.Reached(Client(url)), request, tmp_path / "report")
    report = written.read_text()
    assert "No C compiler is on the path" in report
    assert "parser accepts" not in report


def test_an_experiment_trains_and_compares_with_counting(tmp_path: Path) -> None:
    """In a service that comes for it; bytes that are no UTF-8 are trained on as they are."""
    text = tmp_path / "text.txt"
    text.write_bytes(TEXT.encode() + b"caf\xe9\n" + TEXT.encode())
    tiny = {"num_layers": 1, "hidden_size": 8, "batch_size": 8, "sequence_length": 16}
    options = tiny | {"max_steps": 30, "evaluate_every": 15}
    experiment = replace(EXPERIMENTS["ngram"], options=options, length=500)
    request = Request("ngram", experiment, text, None, None, "the command")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHARLOOM_PRETRAINED", "/nowhere")
        with connect.everything(connect.Place(tmp_path / "data")) as reached:
            written, _ = run(reached, request, tmp_path / "report")
    report = written.read_text()
    about = table(report, "Here")
    assert about["command"] == ["the command"]
    assert "batches of 8 × 16, 30 steps" in about["training"][0]
    assert any(name.startswith("n-gram of order ") for name in about)
    assert table(report, "Losses")["step"] == ["training", "validation"]
    columns = [f"{name}, {t}" for t in ("0.8", "1") for name in ("network", "n-gram")]
    assert table(report, "Checks")[""] == [*columns, "held-out text"]
    assert Registry(tmp_path / "data" / "models").resolve(Reference("essay-ngram"))


def test_minutes_take_what_suits_them() -> None:
    one = EXPERIMENTS["linux"]
    assert training_options(one, None) == {"preset": "linux"}
    assert training_options(one, 2) == {"preset": "auto", "max_seconds": 120}
    stages = training_options(EXPERIMENTS["warpeace"], 2)
    assert stages["max_steps"] == 2000 and stages["max_seconds"] == 120


def test_a_page_of_an_experiment_is_shown(data: Path, url: str) -> None:
    reported(data, "temperatures", "--model=toy", "--url", url)
    reader = Reader()
    reader.feed((data / "experiments" / "temperatures" / "report.html").read_text())
    assert reader.tags.count("pre") == 6 and reader.tags.count("polyline") == 2

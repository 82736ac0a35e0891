"""The commands that write, show and list: real ones, on a real service."""

import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.terminal.drawing import inspection
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.commands import Terminal, charloom, left
from tests.failing import fail_after
from tests.planted import made, planted, quoting_text
from tests.toys import toy_checkpoint

TEXT_READ = "the quick fox\nand a cat"


def drawn(answer: dict[str, Any]) -> list[str]:
    """An inspection as it is printed where there are no colours."""
    return [line.plain.rstrip() for line in inspection(answer, 80, bars=True)]


def test_a_text_is_written_as_it_is(client: httpx2.Client, url: str) -> None:
    asked: dict[str, Any] = {
        "model": "toy",
        "prime": "hello\n",
        "temperature": 0.7,
        "length": 3000,
        "seed": 0,
    }
    options = [f"--{name}={value}" for name, value in asked.items()]
    done = charloom("sample", *options, "--echo", "--top-k", "9", "--top-p=0.9", "--url", url)
    expected = client.get("/sample", params=asked | {"echo": True, "top_k": 9, "top_p": 0.9}).text
    assert (done.stdout, done.stderr, done.returncode) == (expected, "", 0)


def test_zeros_count_and_stops_repeat(client: httpx2.Client, url: str) -> None:
    whole = client.get("/sample?model=toy&temperature=0&seed=0&length=300").text
    greedy = charloom("sample", "--model=toy", "--temperature=0", "--length=300", CHARLOOM_URL=url)
    assert greedy.stdout == whole
    text = client.get("/sample?model=toy&seed=0&length=2000").text
    stops = [text[1700:1704], text[1600:1603]]
    options = [f"--stop={stop}" for stop in stops]
    done = charloom("sample", "--model=toy", "--seed=0", "--length=2000", *options, "--url", url)
    assert done.stdout == text[: min(text.find(stop) for stop in stops)]


def test_temperatures_and_copies_are_asked_for(client: httpx2.Client, url: str) -> None:
    fields: dict[str, Any] = {"model": "toy", "seed": 2, "length": 300, "temperature": [2, 0, 0.5]}
    options = ["--model=toy", "--seed=2", "--length=300", "--temperature=2,0,0.5", "--url", url]
    assert charloom("sample", *options).stdout == client.post("/sample", json=fields).text
    refused = charloom("sample", *options, "--max-copied=9")
    assert refused.returncode == 1
    assert "--max-copied: the service needs the text that the model was trained" in refused.stderr


def test_a_text_that_breaks_off_is_one_line_and_a_code(
    client: httpx2.Client, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = client.get("/sample?model=toy&seed=1&length=3000").text
    fail_after(monkeypatch, 2000, seed=1, draw=20)
    done = charloom("sample", "--model=toy", "--seed=1", "--length=3000", "--url", url)
    assert (done.returncode, done.stderr) == (
        1,
        "charloom: the text ends early: the network's output overflowed, or it was read too "
        "slowly for a full service\n",
    )
    assert len(done.stdout) > 2000 and whole.startswith(done.stdout)
    done = charloom("names", "--model=toy", "--seed=1", "--count=100", "--url", url)
    words = f"charloom: the list ends early: the service at {url} broke off\n"
    assert (done.returncode, done.stderr) == (1, words)
    assert 0 < len(done.stdout.splitlines()) <= 20


def test_names_come_one_a_line(client: httpx2.Client, url: str) -> None:
    asked: dict[str, Any] = {
        "model": "toy",
        "count": 20,
        "starts_with": "ka",
        "contains": "n",
        "ends_with": "n",
        "pattern": "*i*?",
        "min_length": 4,
        "max_length": 9,
    }
    options = [f"--{name.replace('_', '-')}={value}" for name, value in asked.items()]
    done = charloom("names", *options, "--seed=0", "--novel", "--url", url)
    answer = client.get("/names", params=asked | {"seed": 0, "novel": True}).json()
    assert done.stdout.splitlines() == [name["name"] for name in answer["names"]]
    none = charloom("names", "--model=toy", "--temperature=0", "-n", "3", "--url", url)
    assert none.returncode == 0
    words = r"found [01] of 3: more like these are rare, or there are none\n"
    assert re.fullmatch(words, none.stderr)


def test_a_text_is_shown_as_a_model_reads_it(client: httpx2.Client, url: str) -> None:
    done = charloom("inspect", "-", "--model=toy", "--url", url, text=TEXT_READ)
    told = client.post("/models/toy/inspect", json={"text": TEXT_READ}).json()
    assert done.stdout.splitlines() == drawn(told)
    assert done.stdout.replace(" ", "").startswith("thequickfox↵\n")
    assert done.stderr == f"toy: {told['loss']:.3f} nats, {told['bpc']:.3f} bits a character\n"


def test_a_cell_is_shown_instead_of_guesses(client: httpx2.Client, url: str) -> None:
    options = ["--layer=0", "--cell=0", "--unknown=skip", "--url", url]
    done = charloom("inspect", "-", "--model=toy", *options, text=f"{TEXT_READ}Ü")
    asked = {"text": TEXT_READ, "layer": 0, "cells": [0], "top": 0}
    told = client.post("/models/toy/inspect", json=asked).json()
    assert done.stdout.splitlines() == drawn(told)
    assert re.search("[▁▂▃▄▅▆▇█]", done.stdout)
    assert done.stderr.startswith("toy, layer 0 cell 0: ")


def test_cells_and_what_they_track(models: Path, url: str) -> None:
    registry = Registry(models / "models")
    registry.publish(Reference("planted"), made(planted(), quoting_text(20_000)))
    asked = ["--model=planted", "--url", url]
    done = charloom("cells", *asked)
    assert "\ninside quotes\n  layer 0 cell 3, AUC " in f"\n{done.stdout}"
    assert done.stdout.endswith("% of the cells track something\n")

    text = 'a "b b" c'
    shown = charloom("inspect", "-", "--tracks=quotes", *asked, text=text)
    named = charloom("inspect", "-", "--layer=0", "--cell=3", *asked, text=text)
    assert (shown.stdout, shown.stderr) == (named.stdout, named.stderr)
    assert "planted, layer 0 cell 3: " in shown.stderr
    nothing = charloom("inspect", "-", "--tracks=url", *asked, text=text)
    assert "no cell of planted tracks url; its cells track quotes, " in nothing.stderr
    assert nothing.returncode == 1
    registry.delete_name("planted")


def test_models_are_compared(client: httpx2.Client, url: str) -> None:
    done = charloom(
        "score", "-", "--model=toy", "--model=toy:v1", "--url", url, text=f"{TEXT_READ}Ü"
    )
    told = client.post("/score", json={"text": f"{TEXT_READ}Ü", "models": ["toy", "toy:v1"]}).json()
    heading, *rows = (line.split() for line in done.stdout.splitlines())
    assert heading == ["MODEL", "LOSS", "BPC", "UNKNOWN"]
    expected = [[s["model"], f"{s['loss']:.3f}", f"{s['bpc']:.3f}", "1"] for s in told["scores"]]
    assert [row[:4] for row in rows] == expected
    assert [row[0] for row in rows if row[4:] == ["best"]] == [told["best"]]


def test_a_terminal_has_colours_and_needs_no_service(
    models: Path, url: str, tmp_path: Path
) -> None:
    file = tmp_path / "text"
    file.write_text(TEXT_READ)
    asked = ("inspect", file, "--model=toy", "--cell=0")
    for variables, code, service in (
        ({"COLORTERM": "truecolor"}, "2;", ("--data", models)),
        ({}, "5;", ("--url", url)),
    ):
        shown = Terminal(*asked, *service, **{"COLORTERM": "", "NO_COLOR": ""} | variables)
        shown.until(rf"\x1b\[30;48;{code}[\d;]+mt")
        assert shown.end() == 0
    for without in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        plain = Terminal(*asked, "--url", url, **without)
        assert plain.end() == 0
        assert "the quick fox" in plain.said
        assert "\x1b" not in plain.said
    assert left(models) == []


def test_models_are_listed(url: str) -> None:
    done = charloom("models", "--url", url)
    head, *lines = done.stdout.splitlines()
    losses = ["LOSS", "BPC", "CREATED"]
    assert head.split() == ["MODEL", "NETWORK", "PARAMETERS", "N-GRAMS", *losses]
    assert [line.split()[0] for line in lines] == ["toy", "toy:v1"]
    parameters = f"{toy_checkpoint().config.parameters():,}"
    figures = ["2.000", "2.885", "2026-01-02", "03:04"]
    assert lines[0].split()[1:] == ["lstm", "2x24", parameters, "-", *figures]
    table = toy_checkpoint(seed=1, orders=3).config.table_bytes()
    assert f" 1-3 {table / 1e3:.1f} kB " in lines[1]


def test_a_model_is_renamed(client: httpx2.Client, url: str, models: Path) -> None:
    Registry(models / "models").publish(Reference("old"), toy_checkpoint())
    done = charloom("models", "old", "--rename", "new", "--url", url)
    told = "old is new now, with all of its tags and its ended jobs\n"
    assert (done.returncode, done.stderr) == (0, told)
    assert client.get("/models/new").status_code == 200
    refused = charloom("models", "new", "--rename", "toy", "--url", url)
    assert refused.returncode == 1
    assert "the name toy is taken: choose another, or delete that model first" in refused.stderr
    wrong = charloom("models", "new", "--rename", "Not A Name", "--url", url)
    assert wrong.returncode == 1 and "--rename must be" in wrong.stderr
    Registry(models / "models").delete_name("new")


def test_a_model_is_carried_away_and_brought_back(
    client: httpx2.Client, url: str, models: Path, tmp_path: Path
) -> None:
    file = tmp_path / "toy.zip"
    done = charloom("models", "toy:v1", "--download", file, "--url", url)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"{file} holds toy:v1, {file.stat().st_size:,} bytes\n"
    assert file.read_bytes() == client.get("/models/toy:v1/download").content
    charloom("models", "toy", "--download", tmp_path / "toy.onnx", "--url", url)
    graph = client.get("/models/toy/download?format=onnx").content
    assert (tmp_path / "toy.onnx").read_bytes() == graph
    charloom("models", "toy", "--download", tmp_path / "toy.html", "--url", url)
    assert (tmp_path / "toy.html").read_text().startswith("<!doctype html>")
    try:
        brought = charloom("models", "toy:back", "--import", file, "--url", url)
        assert brought.returncode == 0 and "toy:back is imported" in brought.stderr
        tags = charloom("models", "toy:back", "--url", url).stdout.splitlines()[1:]
        assert [tag.split()[0] for tag in tags] == ["toy:back"]
        digest = client.get("/models/toy:back").json()["digest"]
        assert digest == client.get("/models/toy:v1").json()["digest"]
    finally:
        Registry(models / "models").delete(Reference("toy", "back"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy.html", "toy.onnx", "toy.zip"]

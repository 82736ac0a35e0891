"""What is compared trains, is judged fairly, and comes out as a table and a picture."""

import json
import math
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from bench.chart import HEIGHT, LABEL_DISTANCE, spread
from bench.learning import rivals
from bench.learning.clock import Watch, marks, moments
from bench.learning.makemore import MakemoreLearner, examples
from bench.learning.nanogpt import LEAST_RATE, RATE, rate, windows
from bench.learning.picture import draw
from bench.learning.pieces import MOST, pieces
from bench.learning.product import prepare, train
from bench.learning.rivals import LEARNERS
from bench.learning.runs import RIVALS, Run, commit
from bench.learning.table import table
from bench.learning.texts import Text, open_text
from models.text.corpus import Corpus
from models.text.vocab import Vocabulary
from models.training.trainer import VALIDATION_LIMIT
from tests.support import ROOT

IN_GIT = (ROOT / ".git").exists()
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def names(tmp_path: Path) -> Path:
    """A list of made-up names."""
    drawn = random.Random(0)
    syllables = ("an", "bel", "ca", "dor", "el", "fi", "ga", "hil", "in", "jo")
    lines = ["".join(drawn.choices(syllables, k=drawn.randint(1, 4))) for _ in range(800)]
    path = tmp_path / "names.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_commit_is_judged_by_what_this_one_is_judged_by() -> None:
    assert MOST == VALIDATION_LIMIT
    for length in (1000, MOST, 3 * MOST + 17):
        ids = np.arange(length, dtype=np.uint32)
        corpus = Corpus(Vocabulary("bytes", list(range(256))), ids[:1], ids)
        judged, _ = corpus.held_out(VALIDATION_LIMIT)
        assert np.array_equal(pieces(ids), judged)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "bench.learn", *map(str, arguments)]


def worktrees(under: Path) -> list[str]:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "worktree", "list", "--porcelain"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in listed.stdout.splitlines() if str(under) in line]


def rows(markdown: str) -> dict[str, list[str]]:
    """The cells of each system."""
    cells = [line.strip("|").split("|") for line in markdown.splitlines() if line.startswith("|")]
    return {row[1].strip(): [cell.strip() for cell in row[2:]] for row in cells[2:]}


def test_every_system_learns_for_a_moment(names: Path, tmp_path: Path) -> None:
    picture = tmp_path / "learn.svg"
    done = subprocess.run(
        command(names, "--quick", "--svg", picture),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    systems = {"ours", *RIVALS}
    found = rows(done.stdout)
    assert set(found) == systems
    ends = {system: float(cells[-1].split()[0]) for system, cells in found.items()}
    assert all(0 < loss < 10 for loss in ends.values())
    drawn = ElementTree.fromstring(picture.read_text("utf-8"))
    labels = {text.text for text in drawn.iter(f"{SVG}text") if text.get("class") == "label"}
    assert labels == {f"{system}  {loss:.3f}" for system, loss in ends.items()}
    assert len(list(drawn.iter(f"{SVG}circle"))) == len(systems)


@pytest.mark.skipif(not IN_GIT, reason="not a clone")
def test_ctrl_c_prints_what_is_there_and_leaves_no_worktree(names: Path, tmp_path: Path) -> None:
    """The system that runs, too, ends: else its pipe would stay open, and this would hang."""
    with subprocess.Popen(
        command(names, "--only", "n-gram", "--against", "HEAD", "--quick", "--repeats", 1000),
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        assert "ours@HEAD" in process.stderr.readline()
        assert worktrees(tmp_path) != []
        process.send_signal(signal.SIGINT)
        printed, complaints = process.communicate()
    assert process.returncode == 130, complaints
    assert "Traceback" not in complaints
    assert "ours@HEAD" in rows(printed)
    assert worktrees(tmp_path) == []


def test_without_a_text_it_says_how_to_call_it(tmp_path: Path) -> None:
    for arguments, problem in (([], "name one or more"), ([tmp_path / "no"], "file not found")):
        done = subprocess.run(
            command(*arguments), cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert "usage:" in done.stderr
        assert problem in done.stderr


@pytest.mark.skipif(not IN_GIT, reason="not a clone")
def test_a_commit_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="nowhere"), commit("nowhere"):
        pass


@pytest.mark.parametrize("name", list(LEARNERS))
def test_each_recipe_learns(name: str, names: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    text = open_text(names, tmp_path, 0.1)
    assert text.is_list
    learner = LEARNERS[name](text, torch.device("cpu"))
    before = learner.loss()
    for number in range(30):
        learner.step(number / 30)
    assert learner.loss() < before - 0.1


def test_makemores_network_is_the_size_of_its_own_and_drawn_alike(tmp_path: Path) -> None:
    """On names.txt, with 26 letters and at most 15 a name, makemore.py says 204544 parameters."""
    lines = ["abcdefghijklmno", "pqrstuvwxyz", *random.Random(0).choices(["emma", "ava"], k=200)]
    (tmp_path / "names.txt").write_text("\n".join(lines) + "\n")
    text = open_text(tmp_path / "names.txt", tmp_path, 0.1)
    torch.manual_seed(0)
    network = MakemoreLearner(text, torch.device("cpu"))._network
    assert sum(weight.numel() for weight in network.parameters()) == 204_544
    for name, weight in network.named_parameters():
        if name.startswith(("symbols", "positions")):
            assert float(weight.detach().std()) == pytest.approx(1, abs=0.1), name
        elif weight.dim() == 2:
            bound = weight.shape[1] ** -0.5
            assert float(weight.detach().abs().max()) == pytest.approx(bound, rel=0.02), name


def test_makemore_declines_a_running_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prose = tmp_path / "prose.txt"
    prose.write_text("a line that is longer than those that are in a list of names are\n" * 50)
    monkeypatch.setattr(sys, "argv", ["rivals", "makemore", str(prose), "--seconds", "1"])
    rivals.main()
    reason = json.loads(capsys.readouterr().out)["declined"]
    missing = table([Run(prose.name, "makemore", [], reason)], 1.0)
    assert f"prose.txt: no makemore, for {reason}." in missing


def weights(trainer: object) -> Iterator[torch.Tensor]:
    yield from trainer.network.state_dict().values()  # type: ignore[attr-defined]


def test_evaluations_between_change_nothing(
    names: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The precision would be measured, for each anew.
    limits = {"max_steps": 12, "evaluate_every": 6}
    asked = limits | {"hidden_size": 16, "batch_size": 4, "precision": "fp32"}
    plain, watched = (prepare(names, tmp_path, asked, torch.device("cpu")) for _ in range(2))
    evaluations = [e.val_loss for e in plain.run() if hasattr(e, "val_loss")]
    # All moments have come after the first step: one evaluation is not the trainer's own.
    train(watched, Watch(), 1e-6)
    said = [json.loads(line)["loss"] for line in capsys.readouterr().out.splitlines()]
    assert len(said) == len(evaluations) + 1
    assert said[1:] == pytest.approx(evaluations, abs=1e-6)
    for ours, theirs in zip(weights(plain), weights(watched), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("length", [2, 9, 64, 65, 100, 1000])
def test_windows_predict_each_character_once_with_half_a_block_of_context(length: int) -> None:
    block = 64
    inputs, targets = windows(np.arange(length, dtype=np.uint16), block)
    assert sorted(targets[targets >= 0].tolist()) == list(range(1, length))
    for row, (window, wanted) in enumerate(zip(inputs, targets, strict=True)):
        places = (wanted >= 0).nonzero().flatten().tolist()
        assert all(wanted[place] == window[place] + 1 for place in places)
        assert row == 0 or min(places, default=block) >= block // 2


def test_the_lines_of_a_list_are_predicted_to_their_ends(names: Path, tmp_path: Path) -> None:
    text: Text = open_text(names, tmp_path, 0.1)
    lines = text.lines(text.held_out)
    assert all(text.newline not in line for line in lines)
    inputs, targets = examples(lines, text.newline, max(map(len, lines)) + 1)
    # The first character of a running text is read, not predicted.
    assert int((targets >= 0).sum()) == len(text.held_out)
    assert (inputs[:, 0] == text.newline).all()
    assert ((targets == text.newline).sum(1) == 1).all()


def test_the_rate_of_nanogpt_follows_the_time() -> None:
    assert rate(50, 0.0) == pytest.approx(RATE / 2)
    assert rate(100, 0.0) == pytest.approx(RATE)
    assert rate(10_000, 1.0) == pytest.approx(LEAST_RATE)


def test_a_run_is_evaluated_at_each_mark_and_its_end() -> None:
    assert marks(180.0) == [30.0, 60.0, 180.0]
    assert marks(10.0) == [10.0]
    for seconds in (1.0, 10.0, 50.0, 180.0, 1800.0):
        assert set(marks(seconds)) <= set(moments(seconds))
        assert moments(seconds)[-1] == seconds


def test_a_loss_between_two_points_is_on_the_line_between_them() -> None:
    run = Run("text", "ours", [(10.0, 3.0), (20.0, 2.0)])
    assert math.isnan(run.at(5.0))
    assert [run.at(s) for s in (10.0, 15.0, 20.0, 30.0)] == [3.0, 2.5, 2.0, 2.0]


def test_repeats_are_averaged_and_what_is_not_known_is_a_dash() -> None:
    runs = [Run("text", "ours", [(40.0, 2.0), (60.0, loss)]) for loss in (1.0, 1.2)]
    assert rows(table(runs, 60.0)) == {"ours": ["–", "1.100 ± 0.141", "1.100 ± 0.141 (60 s)"]}


def test_labels_do_not_lie_on_each_other() -> None:
    wanted = {"a": 50.0, "b": 51.0, "c": 299.0, "d": 300.0, "e": 300.0}
    places = spread(wanted, 40.0, 300.0)
    ordered = sorted(places.values())
    assert all(after - before >= LABEL_DISTANCE - 1e-9 for before, after in pairwise(ordered))
    assert ordered[0] >= 40.0
    assert ordered[-1] <= 300.0
    assert [name for name, _ in sorted(places.items(), key=lambda item: item[1])] == list("abcde")


def test_a_text_with_any_name_is_a_panel() -> None:
    runs = [Run(text, "n-gram", [(1.0, 1.5)]) for text in ("a<b & c.txt", "d.txt")]
    picture = ElementTree.fromstring(draw(runs, 180.0))
    titles = [t.text for t in picture.iter(f"{SVG}text") if t.get("class") == "title"]
    assert titles == ["a<b & c.txt", "d.txt"]
    assert picture.get("height") == str(2 * HEIGHT)

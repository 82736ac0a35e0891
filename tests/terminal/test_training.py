"""The options of ``./charloom train`` are those of ``models.options``, and none is typed twice."""

import re
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from app.terminal.training import OPTIONS, with_training_options
from tests.commands import charloom


def given(*arguments: str) -> dict[str, Any]:
    """The options that a command gets."""
    taken: list[dict[str, Any]] = []

    def command(file: str, **options: Any) -> None:
        assert file == "file"
        taken.append(options)

    app = typer.Typer()
    app.command()(with_training_options(command))
    result = CliRunner().invoke(app, ["file", *arguments])
    assert result.exit_code == 0, result.output
    return taken[0]


def test_options_that_are_given_have_their_types_and_others_are_left_out() -> None:
    assert given() == {}
    assert given(
        "--num-layers=2",
        "--dropout=0",
        "--network=gru",
        "--sample-at=100,300",
        "--init-from=a:b",
        "--devices=all",
    ) == {
        "num_layers": 2,
        "dropout": 0.0,
        "network": "gru",
        "sample_at": "100,300",
        "init_from": "a:b",
        "devices": "all",
    }


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--num-layers=9", "must be at most 8;"),
        ("--hidden-size=7", "must be at least 8;"),
        ("--dropout=0.95", "must be at most 0.9;"),
        ("--seed=-1", "must be at least 0;"),
        ("--network=cnn", "must be one of lstm, gru, rnn;"),
        ("--batch-size=many", "must be a whole number;"),
    ],
)
def test_what_is_out_of_bounds_is_refused_before_anything_starts(argument: str, words: str) -> None:
    done = charloom("train", "-", "--model=x", argument, text="", COLUMNS="200")
    assert done.returncode == 2
    assert words in done.stderr and argument.partition("=")[0] in done.stderr


def test_the_help_has_every_option_with_its_help_its_bounds_and_its_default() -> None:
    said = " ".join(charloom("train", "--help", COLUMNS="300").stdout.split())
    for name, option in OPTIONS.items():
        shown = re.search(rf"--{name.replace('_', '-')} (.*?) │ [│╰]", said)
        assert shown and option.metadata["help"] in shown[1], name
    assert re.search(r"--num-layers <int range> \[1<=x<=8\]", said)
    assert re.search(r"--validation-fraction .* \[0.01<=x<=0.5\] .* Default: 0.05\.", said)
    assert "Default: 100, 300, 500, 700, 1200, 2000." in said
    for heading in ("Network", "Training", "End of training", "Text and samples", "Start"):
        assert f"─ {heading} ─" in said

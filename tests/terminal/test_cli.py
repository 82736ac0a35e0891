"""The command line: what goes wrong is one line and an exit code, and every option has a place."""

import inspect
import signal
import subprocess
import sys
from typing import Any

import httpx2
import pytest

from app import cli
from app.schemas.texts import NamesQuery, SampleQuery
from app.schemas.training import TrainForm
from app.terminal import ending
from tests.commands import CHARLOOM, environment
from tests.serving import eventually


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("sample --model=nobody", "model not found; ./charloom models lists all models"),
        ("sample --temperature=99 --model=toy", "--temperature must be 0"),
        ("sample --model=toy --prime=Xé", "not in this model's vocabulary: 'X', 'é'"),
        ("names --model=toy:v1", "not trained on a list"),
        ("cells --model=nobody", "model not found; ./charloom models lists all models"),
        ("inspect /dev/null --model=toy", "text is missing"),
        ("inspect /nowhere --model=toy", "cannot read /nowhere: No such file"),
        ("jobs 0", "job not found; ./charloom jobs lists all jobs"),
        ("jobs 0 --cancel", "job not found; ./charloom jobs lists all jobs"),
        ("train /nowhere --model=x", "cannot read /nowhere: No such file"),
        ("models nobody --download /tmp/x.zip", "model not found; ./charloom models lists"),
        (
            "models toy --download /tmp/x.pt",
            "--download needs the name of a .zip (whole model), an .onnx (network only) or an ",
        ),
        ("models toy --download /nowhere/x.zip", "cannot write /nowhere/x.zip: No such file"),
        ("models toy --import /dev/null", "the file is not a checkpoint: it is damaged"),
        ("models --url=http://127.0.0.1:1", "nothing answers at http://127.0.0.1:1: "),
        (
            "models --url=localhost:8000",
            "is not the URL of a service, such as http://localhost:8000",
        ),
    ],
)
def test_what_goes_wrong_is_one_line(
    arguments: str,
    words: str,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CHARLOOM_URL", url)
    monkeypatch.setattr(sys, "argv", ["charloom", *arguments.split()])
    assert ending.run(cli.cli, "charloom") == 1
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1), said.err
    assert said.err.startswith("charloom: ") and words in said.err


def test_whoever_reads_may_stop_and_the_row_is_free(client: httpx2.Client, url: str) -> None:
    command = [*CHARLOOM, "sample", "--model=toy", "--length=1000000", "--url", url]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stderr
        assert process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 128 + signal.SIGPIPE
    eventually(lambda: "\ncharloom_streams_open 0.0\n" in client.get("/metrics").text)


def test_options_are_those_of_the_service() -> None:
    """What a client of the API can say can be said in a terminal."""

    def options(command: Any) -> set[str]:
        return set(inspect.signature(command).parameters) - {"context", "data", "url", "key"}

    assert options(cli.train) - {"file", "check"} == TrainForm.model_fields.keys()
    assert options(cli.sample) == SampleQuery.model_fields.keys() - {"probabilities"}
    assert options(cli.names) == NamesQuery.model_fields.keys()

"""The service from a terminal: real commands, and a real service, found or started for them."""

import inspect
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import replace
from fcntl import ioctl
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from app import cli
from app.schemas.texts import NamesQuery, SampleQuery
from app.schemas.training import TrainForm
from app.supervisor.processes import AlreadyRunning, data_lock, running_url
from app.terminal import commands, connect, jobs, progress
from app.terminal.client import ApiError, Client, Event
from app.terminal.drawing import inspection
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.planted import made, planted, quoting_text
from tests.serving import TEXT, eventually, serve
from tests.toys import toy_checkpoint

ROOT = Path(__file__).resolve().parents[2]
CHARLOOM = (sys.executable, "-P", "-m", "app.cli")
TINY = ["--hidden-size", "8", "--num-layers", "1", "--batch-size", "8", "--sequence-length", "16"]
ENDLESS = ["--max-steps", "1000000", "--evaluate-every", "1000000", "--sample-at", "10"]


def environment(**more: str | Path) -> dict[str, str]:
    """This one's, but for what it says of a service."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CHARLOOM_")}
    # No models but the tests'.
    paths = {"PYTHONPATH": str(ROOT), "CHARLOOM_PRETRAINED": "/nowhere"}
    return clean | paths | {name: str(value) for name, value in more.items()}


def charloom(
    *arguments: str | Path, text: str | None = None, **more: str | Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CHARLOOM, *arguments],
        env=environment(**more),
        cwd="/",
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        # As a script that nobody sits before.
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with models that never were trained."""
    data = tmp_path_factory.mktemp("data")
    registry = Registry(data / "models")
    card = {"created_at": "2026-01-02T03:04:05.000Z", "precision": {"exact": 2.0, "fast": 2.0}}
    registry.publish(Reference("toy"), replace(toy_checkpoint(**card), lines=np.array([1], "u8")))
    registry.publish(Reference("toy", "v1"), toy_checkpoint(seed=1, **card))
    return data


@pytest.fixture(scope="module")
def client(models: Path) -> Iterator[httpx2.Client]:
    with serve(models) as client:
        yield client


@pytest.fixture(scope="module")
def url(client: httpx2.Client) -> str:
    return str(client.base_url)


def left(data: Path) -> list[int]:
    """Processes that were told of a data directory."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            told = (directory / "environ").read_bytes() + (directory / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(data) in told:
            found.append(int(directory.name))
    return found


# Sampling


def test_a_text_is_written_as_it_is(client: httpx2.Client, url: str) -> None:
    asked = {"model": "toy", "prime": "hello\n", "temperature": 0.7, "length": 3000, "seed": 0}
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


def test_a_running_service_is_found_by_its_data(
    client: httpx2.Client, url: str, models: Path
) -> None:
    with data_lock(models, url):
        done = charloom("sample", "--model=toy:v1", "--seed=3", "--data", models)
        assert running_url(models) == url
    assert done.stdout == client.get("/sample?model=toy:v1&seed=3").text
    assert running_url(models) is None


def test_without_a_service_one_is_there_for_the_command(models: Path) -> None:
    """And for no longer; it takes no key and no port that others know."""
    one = charloom("names", "--model=toy", "-n", "5", "--seed=0", CHARLOOM_DATA=models)
    assert one.returncode == 0 and one.stderr == ""
    assert len(set(one.stdout.splitlines())) == 5
    assert (
        charloom("names", "--model=toy", "-n5", "--seed=0", "--data", models).stdout == one.stdout
    )
    assert left(models) == []


def test_names_come_one_a_line(client: httpx2.Client, url: str) -> None:
    asked = {"model": "toy", "count": 20, "starts_with": "ka", "min_length": 4, "max_length": 9}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in asked.items()]
    done = charloom("names", *options, "--seed=0", "--novel", "--url", url)
    answer = client.get("/names", params=asked | {"seed": 0, "novel": True}).json()
    assert done.stdout.splitlines() == [name["name"] for name in answer["names"]]
    none = charloom("names", "--model=toy", "--temperature=0", "-n", "3", "--url", url)
    assert none.returncode == 0
    assert re.fullmatch(r"found [01] of 3: there seem to be no more of the kind\n", none.stderr)


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


# Lists


# Looking inside


TEXT_READ = "the quick fox\nand a cat"


def test_a_text_is_shown_as_a_model_reads_it(client: httpx2.Client, url: str) -> None:
    done = charloom("inspect", "-", "--model=toy", "--url", url, text=TEXT_READ)
    told = client.post("/models/toy/inspect", json={"text": TEXT_READ}).json()
    assert done.stdout.splitlines() == list(inspection(told, 80, "none"))
    assert done.stdout.replace(" ", "").startswith("thequickfox↵\n")
    assert done.stderr == f"toy: {told['loss']:.3f} nats, {told['bpc']:.3f} bits a character\n"


def test_a_cell_is_shown_instead_of_guesses(client: httpx2.Client, url: str) -> None:
    options = ["--layer=0", "--cell=0", "--unknown=skip", "--url", url]
    done = charloom("inspect", "-", "--model=toy", *options, text=f"{TEXT_READ}Ü")
    asked = {"text": TEXT_READ, "layer": 0, "cells": [0], "top": 0}
    told = client.post("/models/toy/inspect", json=asked).json()
    assert done.stdout.splitlines() == list(inspection(told, 80, "none"))
    assert re.search("[▁▂▃▄▅▆▇█]", done.stdout)
    assert done.stderr.startswith("toy, layer 0 cell 0: ")


def test_the_beginning_of_a_long_text_is_read(tmp_path: Path, url: str) -> None:
    file = tmp_path / "long.txt"
    file.write_text("あ" * 20_001, "utf-8")
    done = charloom("inspect", file, "--model=toy", "--top=0", "--url", url)
    assert done.stdout.replace("\n", "") == "あ" * 20_000
    assert "only the first 20,000 characters" in done.stderr
    file.write_bytes(b"caf\xe9")
    done = charloom("inspect", file, "--model=toy", "--url", url)
    assert (done.returncode, done.stderr) == (1, "charloom: the text is not UTF-8\n")


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
    assert "no cell of planted tracks url; some track quotes, " in nothing.stderr
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


def test_a_terminal_has_colours_and_needs_no_service(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text(TEXT_READ)
    asked = ("inspect", file, "--model=toy", "--cell=0", "--data", models)
    for variables, code in (({"COLORTERM": "truecolor"}, "2;"), ({"TERM": "xterm"}, "5;")):
        shown = Terminal(*asked, **{"TERM": "xterm", "COLORTERM": "", "NO_COLOR": ""} | variables)
        shown.until(rf"\x1b\[30;48;{code}[\d;]+mt")
        assert shown.end() == 0
    plain = Terminal(*asked, TERM="xterm", NO_COLOR="1")
    assert plain.end() == 0
    assert "the quick fox" in plain.said
    assert "\x1b" not in plain.said
    assert left(models) == []


def test_models_are_listed(url: str) -> None:
    done = charloom("models", "--url", url)
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["MODEL", "NETWORK", "PARAMETERS", "LOSS", "BPC", "CREATED"]
    assert [line.split()[0] for line in lines] == ["toy", "toy:v1"]
    parameters = f"{toy_checkpoint().config.parameters():,}"
    figures = ["2.000", "2.885", "2026-01-02", "03:04"]
    assert lines[0].split()[1:] == ["lstm", "2x24", parameters, *figures]


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
    try:
        brought = charloom("models", "toy:back", "--import", file, "--url", url)
        assert brought.returncode == 0 and "toy:back is here" in brought.stderr
        tags = charloom("models", "toy:back", "--url", url).stdout.splitlines()[1:]
        assert [tag.split()[0] for tag in tags] == ["toy:back"]
        digest = client.get("/models/toy:back").json()["digest"]
        assert digest == client.get("/models/toy:v1").json()["digest"]
    finally:
        Registry(models / "models").delete(Reference("toy", "back"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy.onnx", "toy.zip"]


def test_jobs_are_listed(tmp_path: Path) -> None:
    with serve(tmp_path) as client:
        nothing = charloom("jobs", "--url", str(client.base_url))
        assert (nothing.stdout, nothing.stderr) == ("", "no jobs yet\n")
        for model in ("one", "two"):
            client.post("/train", params={"model": model}, content=TEXT)
        done = charloom("jobs", "--url", str(client.base_url))
        assert [line.split()[1:3] for line in done.stdout.splitlines()[1:]] == [
            ["two", "queued"],
            ["one", "queued"],
        ]
        one = charloom("jobs", "--model=one", "--url", str(client.base_url)).stdout.splitlines()
        assert len(one) == 2
        job_id = one[1].split()[0]
        cancelled = charloom("jobs", job_id, "--cancel", "--url", str(client.base_url))
        assert cancelled.stderr == f"job {job_id} is cancelled\n"
        assert charloom("jobs", job_id, "--url", str(client.base_url)).returncode == 1


# What goes wrong


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("sample --model=nobody", "no model of this name"),
        ("sample --temperature=99 --model=toy", "temperature must be 0"),
        ("sample --model=toy --prime=Xé", "not in this model's vocabulary: 'X', 'é'"),
        ("names --model=toy:v1", "not trained on a list"),
        ("cells --model=nobody", "no model of this name"),
        ("inspect /dev/null --model=toy", "text is missing"),
        ("inspect /nowhere --model=toy", "cannot read /nowhere: No such file"),
        ("jobs 0", "no job of this id"),
        ("jobs 0 --cancel", "no job of this id"),
        ("train /nowhere --model=x", "cannot read /nowhere: No such file"),
        ("models nobody --download /tmp/x.zip", "no model of this name"),
        ("models toy --download /tmp/x.pt", "what is /tmp/x.pt to be"),
        ("models toy --download /nowhere/x.zip", "cannot write /nowhere/x.zip: No such file"),
        ("models toy --import /dev/null", "no checkpoint to import: it is damaged"),
        ("models --url=http://127.0.0.1:1", "nobody answers at http://127.0.0.1:1: "),
        ("models --url=localhost:8000", "is no URL of a service"),
    ],
)
def test_what_goes_wrong_is_one_line(arguments: str, words: str, url: str) -> None:
    done = charloom(*arguments.split(), CHARLOOM_URL=url)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert done.stderr.startswith("charloom: ") and words in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        "train file",
        "jobs --cancel",
        "models --import=x",
        "sample --colour=red",
        "inspect /dev/null",
        "inspect /dev/null --model=toy --tracks=quotes --cell=1",
        "sing",
    ],
)
def test_what_cannot_be_meant_is_2(arguments: str) -> None:
    done = charloom(*arguments.split(), CHARLOOM_URL="http://127.0.0.1:1")
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_a_service_that_does_not_start_says_why(tmp_path: Path) -> None:
    done = charloom("models", "--data", tmp_path / "data", CHARLOOM_MAX_STREAMS="none")
    assert done.returncode == 1
    assert re.match("charloom: the service does not start: CHARLOOM_MAX_STREAMS: ", done.stderr)


@pytest.mark.parametrize(
    ("set_", "own", "key"),
    [
        ({}, True, None),
        ({"CHARLOOM_API_KEY": "mine"}, False, "mine"),
        ({"CHARLOOM_API_KEYS": "a:sample,b:train+admin"}, True, "b"),
        ({"CHARLOOM_API_KEYS": "a:sample,b:train+admin"}, False, None),
        ({"CHARLOOM_API_KEYS": "b:admin", "CHARLOOM_API_KEY": "mine"}, True, "mine"),
    ],
)
def test_which_key_is_sent(set_: dict[str, str], own: bool, key: str | None) -> None:
    assert connect._key(set_, own) == key


def test_a_key_opens_a_service_that_wants_one(models: Path) -> None:
    with serve(models, api_keys="sesame:sample") as locked:
        url = str(locked.base_url)
        refused = charloom("models", "--url", url)
        assert refused.returncode == 1 and "needs a key" in refused.stderr
        done = charloom("models", "--url", url, CHARLOOM_API_KEY="sesame")
        assert done.returncode == 0 and "toy:v1" in done.stdout
        wrong = charloom("models", "--url", url, CHARLOOM_API_KEY="barley")
        assert wrong.returncode == 1 and "barley" not in wrong.stderr


def test_without_a_terminal_a_key_is_not_asked_for(url: str) -> None:
    done = charloom("models", "--key", "--url", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "charloom: --key asks in a terminal: set CHARLOOM_API_KEY instead\n"


def test_looking_whether_a_service_runs_keeps_none_from_starting(tmp_path: Path) -> None:
    for _ in range(200):
        running_url(tmp_path)
        with data_lock(tmp_path, "http://one"), pytest.raises(AlreadyRunning, match="http://one"):
            if not _:
                with data_lock(tmp_path, "http://two"):
                    pass
            raise AlreadyRunning("1", running_url(tmp_path) or "")


# What a text is


def test_a_check_says_what_a_text_is_and_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(TEXT.replace("\n", "\r\n"))
    done = charloom("train", tmp_path / "list.txt", "--check", "--data", tmp_path / "data")
    assert done.returncode == 0 and done.stderr == ""
    facts = dict(re.findall(r"(?m)^([a-z ]+): +(.*)$", done.stdout))
    assert facts["characters"].startswith(f"{len(TEXT):,}, ")
    assert facts["read as"] == "characters (ascii), line ends crlf"
    assert "CRLF" in facts["changed"] and facts["lines"] == "100"
    assert [path.name for path in tmp_path.iterdir()] == ["list.txt"]


def test_a_check_of_what_is_no_text_fails(tmp_path: Path) -> None:
    short = charloom("train", "-", "--check", text="too short")
    assert short.returncode == 1
    assert "send at least 100" in short.stdout
    (tmp_path / "latin").write_bytes("naïve\n".encode("latin-1") * 100)
    latin = charloom("train", tmp_path / "latin", "--check")
    assert latin.returncode == 0
    assert "bytes (bytes)" in latin.stdout and "not UTF-8" in latin.stdout


# Training


def test_a_training_with_nothing_running(tmp_path: Path) -> None:
    """Redis, worker and server come, train, and go."""
    data = tmp_path / "data"
    ends = ["--max-steps", "30", "--evaluate-every", "15", "--sample-at", "10"]
    done = charloom("train", "-", "--model=bottles", *TINY, *ends, "--data", data, text=TEXT)
    assert done.returncode == 0, done.stderr
    assert re.search(r"(?m)^step \d+/30  loss \d\.\d+", done.stdout)
    assert re.search(r"(?m)^step 15: validation \d\.\d+, the best so far$", done.stdout)
    assert "sample at step 10, temperature 1:\n  | " in done.stdout
    assert "\x1b" not in done.stdout
    assert f"trains bottles on {len(TEXT):,} characters\n" in done.stderr
    assert "is finished: the best validation loss was " in done.stderr
    assert "charloom sample --model bottles" in done.stderr
    assert Registry(data / "models").resolve(Reference("bottles"))
    assert left(data) == []
    refused = charloom("train", "-", "--model=bottles", "--data", data, text="too short")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "charloom: corpus the text has 9 characters: send at least 100\n"
    assert left(data) == []


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of a service that runs, as `charloom up` runs it."""
    data = tmp_path_factory.mktemp("running")
    place = connect.Place(data)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment().items():
            patch.setenv(name, value)
        for name in [name for name in os.environ if name not in environment()]:
            patch.delenv(name)
        with connect.everything(place):
            yield data


class Terminal:
    """A command in a terminal of its own, 24 lines of 80 columns."""

    def __init__(self, *arguments: str | Path, **variables: str) -> None:
        self.said = ""
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [*CHARLOOM, *map(str, arguments)], environment(**variables))
        ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))

    def until(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        """Waits for what matches what has been said."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.said)):
            assert time.monotonic() < deadline and self._read(), self.said
        self.said = self.said[found.end() :]
        return found

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def end(self) -> int:
        """The exit code."""
        while self._read():
            pass
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self) -> bool:
        if not select.select([self._terminal], [], [], 1)[0]:
            return True
        try:
            data = os.read(self._terminal, 1 << 16)
        except OSError:
            return False
        self.said += data.decode(errors="replace")
        return bool(data)


@pytest.fixture
def bottles(tmp_path: Path) -> Path:
    file = tmp_path / "bottles.txt"
    file.write_text(TEXT)
    return file


def status(data: Path, job_id: str) -> str:
    done = charloom("jobs", "--data", data)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith(job_id))
    return line.split()[2]


def test_in_a_terminal_a_bar_moves_and_ctrl_c_asks(running: Path, bottles: Path) -> None:
    terminal = Terminal("train", bottles, "--model=asks", *TINY, *ENDLESS, "--data", running)
    job_id = terminal.until("job ([0-9a-f]{22}) trains asks on")[1]
    terminal.until("asks  waiting for a worker")
    terminal.until(r"asks  [█░]+ +\d+%  step [\d,]+/1,000,000\r\n")
    terminal.until(r"loss \d\.\d+  .*\d characters/s  .*left\r\n")
    terminal.until("sample at step 10, temperature 1:")
    # Drawn over what was there.
    terminal.until("\x1b\\[\\d+F\x1b\\[J" + "asks  ")
    terminal.type("\x03")
    terminal.until(r"let the job go on\? \[Y/n\] ")
    terminal.type("y\n")
    terminal.until(f"job {job_id} goes on; ./charloom jobs {job_id} shows it")
    assert terminal.end() == 130
    assert status(running, job_id) == "running"

    again = Terminal("jobs", job_id, "--data", running)
    again.until(r"asks  [█░]+ ")
    again.type("\x03")
    again.until(r"\[Y/n\] ")
    again.type("n\n")
    again.until(f"job {job_id} is cancelled")
    assert again.end() == 130
    assert status(running, job_id) == "cancelled"


def test_a_key_is_asked_for_in_a_terminal_and_never_shown(models: Path) -> None:
    with serve(models, api_keys="sesame:sample") as locked:
        terminal = Terminal("models", "--key", "--url", str(locked.base_url))
        terminal.until("Key: ")
        terminal.type("sesame\n")
        assert "sesame" not in terminal.until("toy:v1").string
        assert terminal.end() == 0


def test_interrupted_in_a_script_a_job_goes_on(running: Path, bottles: Path) -> None:
    command = [*CHARLOOM, "train", bottles, "--model=script", *TINY, *ENDLESS, "--data", running]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stderr
        assert any("loss" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130
    job_id = re.search("job ([0-9a-f]{22}) goes on", said)
    assert job_id and status(running, job_id[1]) == "running"
    assert charloom("jobs", job_id[1], "--cancel", "--data", running).returncode == 0


def test_a_job_that_fails_says_why(running: Path, bottles: Path) -> None:
    options = ["--learning-rate=1", "--grad-clip=0", "--optimizer=rmsprop", "--max-steps=1000"]
    options += ["--init-from=nobody"]
    done = charloom("train", bottles, "--model=fails", *TINY, *options, "--data", running)
    assert (done.returncode, done.stderr.count("Traceback")) == (1, 0)
    assert done.stderr.splitlines()[-1].startswith("charloom: ")


# Parts


class Flaky(Client):
    """A service that goes away after each event."""

    def __init__(self) -> None:
        super().__init__("http://nowhere")
        self.after: list[str] = []

    def events(self, *_arguments: Any, last_id: str = "", **_more: Any) -> Iterator[Event]:
        self.after.append(last_id)
        if len(self.after) % 2:
            raise ApiError("nobody answers")
        yield Event("", {})
        if last_id == "2":
            yield Event("end", {"status": "finished"}, "3")
        else:
            yield Event("progress", {"step": 1}, str(int(last_id or 0) + 1))


def test_a_service_that_goes_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_RETRY_PAUSE", 0)
    flaky = Flaky()
    assert [name for name, _ in jobs._events(flaky, "1")] == ["progress", "progress", "end"]
    assert flaky.after == ["", "", "1", "1", "2", "2"]
    monkeypatch.setattr(jobs, "PATIENCE", -1)
    with pytest.raises(ApiError, match="nobody answers"):
        list(jobs._events(Flaky(), "1"))


def test_a_connection_that_died_unnoticed_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the machine slept: it shows only after longer than a service is waited for."""
    now = [1000.0]
    monkeypatch.setattr(jobs, "_RETRY_PAUSE", 0)
    monkeypatch.setattr(commands.time, "monotonic", lambda: now[0])

    class Mute(Flaky):
        def events(self, *arguments: Any, last_id: str = "", **more: Any) -> Iterator[Event]:
            if not self.after:
                now[0] += jobs.PATIENCE + 1
            return super().events(*arguments, last_id=last_id, **more)

    assert [name for name, _ in jobs._events(Mute(), "1")][-1] == "end"


def test_options_are_those_of_the_service() -> None:
    """What a client of the API can say can be said in a terminal."""

    def options(command: Any) -> set[str]:
        return set(inspect.signature(command).parameters) - {"context", "data", "url", "key"}

    assert options(cli.train) - {"file", "check"} >= TrainForm.model_fields.keys()
    assert options(cli.sample) == SampleQuery.model_fields.keys() - {"probabilities"}
    assert options(cli.names) == NamesQuery.model_fields.keys()


def test_a_text_cannot_steer_the_terminal() -> None:
    assert progress.printable("a\tb\n\x1b[2J\x07\x9b1mc") == "a\tb\n·[2J··1mc"
    out = io.StringIO()
    bar = progress.Bar("evil", out)
    bar.show("sample", {"step": 1, "temperature": 1.0, "text": "\x1b]0;title\x07\n\rover"})
    assert "\x1b]" not in out.getvalue() and "\r" not in out.getvalue()


def test_a_bar_is_full_when_time_is_up() -> None:
    """However many steps are left: they may never come."""
    out = io.StringIO()
    bar = progress.Bar("tiny", out)
    times = {"elapsed_seconds": 30.0, "eta_seconds": 10.0}
    bar.show("progress", {"step": 100, "max_steps": 5000} | times)
    assert " 75%  step 100/5,000" in out.getvalue()
    bar.show("progress", {"step": 100, "max_steps": 400})
    assert " 25%  step 100/400" in out.getvalue()


def test_a_line_is_as_wide_as_the_terminal() -> None:
    assert progress.clip("abcdef", 4) == "abcd"
    assert progress.clip("日本語", 5) == "日本"
    assert progress.clip("e\u0301e\u0301e", 2) == "e\u0301e\u0301"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (59.6, "1 min 00 s"), (61, "1 min 01 s"), (7260, "2 h 01 min")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert progress.duration(seconds) == words


def test_a_client_reads_what_it_is_sent(url: str) -> None:
    client = Client(f"{url}/")
    (end,) = (
        event
        for event in client.events("POST", "/sample", {"model": "toy", "length": 5})
        if event.name == "end"
    )
    assert end.data["characters"] == 5
    assert [model["model"] for model in client.pages("/models", "models", {"limit": 1})] == [
        "toy",
        "toy:v1",
    ]
    with pytest.raises(ApiError) as refused:
        client.get("/models", {"limit": 1000})
    assert refused.value.status == 422 and "limit must be" in str(refused.value)
    assert json.dumps(client.get("/healthz")) == '{"status": "ok"}'

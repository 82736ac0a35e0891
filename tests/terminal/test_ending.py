"""Whatever happens to its streams, a command ends with at most one line and the right exit code."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli import cli
from app.terminal import ending
from tests.commands import CHARLOOM, Terminal, charloom, environment
from tests.scripted import scripted

COMMANDS = {
    "sample": "sample --model=toy --length=300",
    "models": "models",
    "inspect": "inspect {file} --model=toy --unknown=skip",
    "check": "train {file} --check",
    "corpora": "corpus list",
    "help": "train --help",
}
"""One of each kind that writes to standard output."""


def ended(
    line: str, redirection: str, url: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """A command whose streams a shell has redirected."""
    command = " ".join((*CHARLOOM, line, redirection))
    return subprocess.run(
        ["bash", "-c", command],
        env=environment(CHARLOOM_URL=url, **variables),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(params=COMMANDS)
def line(request: pytest.FixtureRequest, bottles: Path) -> str:
    return COMMANDS[request.param].format(file=bottles)


def test_a_full_disk_is_one_line(line: str, url: str) -> None:
    done = ended(line, ">/dev/full", url)
    wanted = "charloom: cannot write the output: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, wanted)


@pytest.mark.parametrize("line", ["sample --model=toy", "--help"])
def test_closed_output_is_one_line(line: str, url: str) -> None:
    done = ended(line, ">&-", url)
    assert done.returncode == 1
    assert done.stderr == "charloom: cannot write the output: Bad file descriptor\n"


@pytest.mark.parametrize(
    ("line", "redirection", "code"), [("models nobody", "2>&-", 1), ("sing", "2>/dev/full", 2)]
)
def test_where_nobody_can_be_told_the_exit_code_says_it(
    line: str, redirection: str, code: int, url: str
) -> None:
    done = ended(line, redirection, url)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.parametrize("line", ["inspect - --model=toy", "train - --check"])
def test_closed_input_is_one_line(line: str, url: str) -> None:
    done = ended(line, "<&-", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "charloom: cannot read standard input: Bad file descriptor\n"


@pytest.mark.parametrize("line", ["--help", "train --help"])
def test_a_reader_that_stops_gets_no_word(line: str, url: str) -> None:
    # It has gone before there is anything to read: a short text would fit into the pipe.
    done = ended(line, "| :; exit ${PIPESTATUS[0]}", url)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_ctrl_c_is_130_without_a_word(url: str) -> None:
    command = [*CHARLOOM, "sample", "--model=toy", "--length=1000000", "--url", url]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stderr
        assert process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.stderr.read() == b""
    assert process.returncode == 130


# The command line


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sing", "no such command 'sing'; see ./charloom --help"),
        ("train", "FILE is missing; see ./charloom train --help"),
        ("train file", "--model is missing: it names the new model; see ./charloom train --help"),
        ("sample --temperature=hot", "--temperature must be a number, or several with commas"),
        ("sample --temperature=1,nan", "--temperature must be a number, or several with commas"),
        ("names --temperature=hot", "--temperature must be a number; see ./charloom names"),
        ("sample --max-copied=x", "--max-copied must be a whole number; see ./charloom sample"),
        ("sample --top-p=inf", "--top-p must be a number; see ./charloom sample"),
        ("sample --seed=1.5", "--seed must be a whole number; see ./charloom sample"),
        ("train file --model=x --network=cnn", "--network must be one of lstm, gru, rnn; see"),
        ("train file --model=x --num-layers=9", "--num-layers must be at most 8; see"),
        ("train file --model=x --dropout=-1", "--dropout must be at least 0; see"),
        ("up --port=x", "--port must be a whole number; see ./charloom up --help"),
        ("experiment run x --minutes=0", "--minutes must be at least 0.1; see"),
        ("models x --colour", "no such option: --colour"),
        ("models --import=x", "--import needs the name of a model; see ./charloom models --help"),
        ("models --push=a/b", "--push needs the name of a model; see ./charloom models --help"),
        ("models x --push=a/b --pull=a/b", "--push and --pull exclude each other; see"),
        ("models x --pull=a/b --public", "--public and --update are for --push; see"),
        ("jobs --cancel", "--cancel needs the id of a job; see ./charloom jobs --help"),
        ("inspect /dev/null", "--model is missing; see ./charloom inspect --help"),
        (
            "inspect /dev/null --model=x --tracks=quotes --cell=1",
            "--tracks chooses the cell: omit --cell and --layer; see ./charloom inspect --help",
        ),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_2(
    line: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["charloom", *line.split()])
    assert ending.run(cli, "charloom") == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1), said.err
    assert said.err.startswith(f"charloom: {words}")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sample --stop=a --stop=b --stop=c --stop=d --stop=e", "--stop may be given at most 4"),
        ("score {file}" + " --model=toy" * 9, "--model may be given at most 8 times"),
        ("inspect {file} --model=toy --cell=99999", "--cell must be a whole number from 0"),
        ("models nobody", "model not found; ./charloom models lists all models"),
        ("models ''", "model not found; ./charloom models lists all models"),
        ("sample --model=toy --prime=$'\\xff'", "the command line has bytes that are not UTF-8"),
    ],
)
def test_what_the_service_refuses_is_one_line_and_1(
    line: str, words: str, bottles: Path, url: str
) -> None:
    done = ended(line.format(file=bottles), "", url)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert done.stderr.startswith(f"charloom: {words}")


@pytest.mark.parametrize("command", ["models", "train /etc/hostname --model=x"])
def test_a_data_directory_that_cannot_be_written_is_one_line(command: str) -> None:
    """In /sys not even root can make one."""
    done = charloom(*command.split(), "--data", "/sys/nowhere")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    words = "the service does not start: cannot keep data in /sys/nowhere: "
    assert done.stderr.startswith(f"charloom: {words}")


# What train would refuse


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", "invalid byte at offset 0; it looks like CP1251. Convert it with iconv -f CP1251"),
        ("--model=Bad", "--model must be lower-case letters"),
        ("--tokens=bytes --sample-at=x", "--sample-at must be steps from 1"),
        ("--tokens=bytes --init-from=a:b:c", "--init-from must be"),
    ],
)
def test_check_fails_where_train_would_refuse(options: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_bytes("как дела, всё хорошо\n".encode("cp1251") * 20)
    done = charloom("train", file, "--check", *options.split())
    assert done.returncode == 1 and words in done.stdout + done.stderr
    if not options:
        assert "can be trained on: no" in done.stdout
        done = charloom("train", file, "--check", "--tokens=bytes")
        assert done.returncode == 0 and "bytes (bytes)" in done.stdout


# A text that does not end as asked


def chunked(kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head.encode() + f"{len(body):x}\r\n".encode() + body + b"\r\n"


def test_a_text_that_breaks_off_is_told() -> None:
    events = b'event: text\ndata: {"text": "Once upon"}\n\n'
    with scripted(*[chunked("text/event-stream", events)] * 3) as server:
        done = charloom("sample", "--model=toy", "--url", server.url)
    assert (done.returncode, done.stdout) == (1, "Once upon")
    assert done.stderr == f"charloom: the text ends early: the service at {server.url} broke off\n"


def test_names_that_break_off_are_told() -> None:
    with scripted(*[chunked("text/plain; charset=utf-8", b"Ada\nBo")] * 3) as server:
        done = charloom("names", "--model=toy", "--url", server.url)
    assert (done.returncode, done.stdout) == (1, "Ada\n")
    assert done.stderr == f"charloom: the list ends early: the service at {server.url} broke off\n"


# Terminals


@pytest.mark.parametrize("line", ["models", "inspect {file} --model=toy --unknown=skip"])
def test_a_dumb_terminal_gets_no_escapes(line: str, bottles: Path, url: str) -> None:
    terminal = Terminal(*line.format(file=bottles).split(), CHARLOOM_URL=url, TERM="dumb")
    assert terminal.end() == 0
    assert "\x1b" not in terminal.said and terminal.said.count("\n") > 1


def test_no_color_leaves_no_colour(bottles: Path, url: str) -> None:
    terminal = Terminal(
        "inspect", bottles, "--model=toy", "--unknown=skip", CHARLOOM_URL=url, NO_COLOR="1"
    )
    assert terminal.end() == 0
    assert "\x1b[3" not in terminal.said and "\x1b[4" not in terminal.said


def test_no_stream_takes_the_number_of_a_closed_one(url: str) -> None:
    """Else what is printed would go into the request."""
    done = ended("train - --check", "<&- >&- 2>&-", url)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")

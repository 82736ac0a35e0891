"""Jobs from a terminal: started, listed, followed, interrupted and cancelled."""

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from app.terminal import client, jobs, patience
from app.terminal.client import Client, Unreachable
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.commands import CHARLOOM, ENDLESS, TINY, Terminal, charloom, environment, left
from tests.scripted import HANG_UP, MUTE, answer, scripted
from tests.serving import TEXT, serve


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


def test_a_damaged_job_is_listed_and_deleted(tmp_path: Path) -> None:
    with serve(tmp_path) as client:
        url = str(client.base_url)
        job_id = client.post("/train", params={"model": "one"}, content=TEXT).json()["id"]
        # That it has ended before is still to be read there.
        client.post(f"/jobs/{job_id}/cancel")
        (tmp_path / "jobs" / job_id / "spec.json").write_bytes(b"")
        (line,) = charloom("jobs", "--url", url).stdout.splitlines()[1:]
        assert line.split()[:3] == [job_id, "-", "failed"]
        shown = charloom("jobs", job_id, "--url", url)
        assert (shown.returncode, shown.stdout) == (1, "")
        assert "Damaged: spec.json is empty. Delete the job" in shown.stderr
        deleted = charloom("jobs", job_id, "--delete", "--url", url)
        assert deleted.stderr == f"job {job_id} is deleted; the models that it published stay\n"
        assert charloom("jobs", "--url", url).stderr == "no jobs yet\n"
        nothing = charloom("jobs", "--delete", "--url", url)
        assert "--delete needs the id of a job" in nothing.stderr


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
    assert refused.stderr == "charloom: the text has 9 characters: send at least 100\n"
    assert left(data) == []


def test_a_job_is_resumed_and_followed(running: Path) -> None:
    steps = ["--max-steps", "20", "--evaluate-every", "10"]
    done = charloom("train", "-", "--model=again", *TINY, *steps, "--data", running, text=TEXT)
    job_id = re.search("job ([0-9a-f]{22}) trains", done.stderr)
    assert job_id, done.stderr
    resumed = charloom("jobs", job_id[1], "--resume", "--data", running)
    assert resumed.returncode == 0, resumed.stderr
    assert f"job {job_id[1]} is finished" in resumed.stderr
    for options, words in (
        (["--resume"], "--resume needs the id of a job"),
        ([job_id[1], "--resume", "--cancel"], "--cancel and --resume exclude each other"),
    ):
        refused = charloom("jobs", *options, "--data", running)
        assert refused.returncode == 2
        assert words in re.sub(r"[\s│]+", " ", refused.stderr)


def status(data: Path, job_id: str) -> str:
    done = charloom("jobs", "--data", data)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith(job_id))
    return line.split()[2]


def test_in_a_terminal_a_bar_moves_and_ctrl_c_asks(running: Path, bottles: Path) -> None:
    terminal = Terminal("train", bottles, "--model=asks", *TINY, *ENDLESS, "--data", running)
    job_id = terminal.until("job ([0-9a-f]{22}) trains asks on")[1]
    terminal.until("asks  waiting for a worker")
    terminal.until(r"asks  .*━.* +\d+%\r\n")
    terminal.until(r"step [\d,]+/1,000,000  loss \d\.\d+ ")
    terminal.until(r"\d characters/s .*left")
    terminal.until("sample at step 10, temperature 1:")
    # Drawn over what was there.
    terminal.until("\x1b\\[1A\x1b\\[2Kasks  ")
    terminal.type("\x03")
    terminal.until(r"let the job continue\? \[Y/n\] ")
    terminal.type("y\n")
    terminal.until(f"job {job_id} continues; ./charloom jobs {job_id} shows it")
    assert terminal.end() == 130
    assert status(running, job_id) == "running"

    again = Terminal("jobs", job_id, "--data", running)
    again.until(r"asks  .*━")
    again.type("\x03")
    again.until(r"\[Y/n\] ")
    again.type("n\n")
    again.until(f"job {job_id} is cancelled")
    assert again.end() == 130
    assert status(running, job_id) == "cancelled"


def test_interrupted_in_a_script_a_job_goes_on(running: Path, bottles: Path) -> None:
    command: list[str | Path] = [
        *CHARLOOM,
        "train",
        bottles,
        "--model=script",
        *TINY,
        *ENDLESS,
        "--data",
        running,
    ]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stderr
        assert any("loss" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130
    job_id = re.search("job ([0-9a-f]{22}) continues", said)
    assert job_id and status(running, job_id[1]) == "running"
    assert charloom("jobs", job_id[1], "--cancel", "--data", running).returncode == 0


def test_a_job_that_fails_says_why(running: Path, bottles: Path) -> None:
    options = ["--learning-rate=1", "--grad-clip=0", "--optimizer=rmsprop", "--max-steps=1000"]
    options += ["--init-from=nobody"]
    done = charloom("train", bottles, "--model=fails", *TINY, *options, "--data", running)
    assert (done.returncode, done.stderr.count("Traceback")) == (1, 0)
    assert done.stderr.splitlines()[-1].startswith("charloom: ")


PROGRESS = 'event: progress\nid: {}\ndata: {{"step": 1}}\n\n'
END = 'event: end\nid: 3\ndata: {"status": "finished"}\n\n'
ALIVE = ": a sign of life\n\n"


def events(text: str) -> bytes:
    return answer(text, "text/event-stream")


def test_a_service_that_goes_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RETRY_PAUSE", 0)
    one, two, end = events(PROGRESS.format(1)), events(PROGRESS.format(2)), events(END)
    with scripted(HANG_UP, one, HANG_UP, two, HANG_UP, end) as server:
        told = list(jobs._events(Client(server.url), "1"))
        assert [name for name, _ in told] == ["progress", "progress", "end"]
        resumed = [re.search(rb"Last-Event-ID: (\d+)", asked) for asked in server.asked]
        assert [found and found[1] for found in resumed] == [None, None, b"1", b"1", b"2", b"2"]
    monkeypatch.setattr(patience, "PATIENCE", -1)
    with scripted(HANG_UP) as server, pytest.raises(Unreachable, match="broke off"):
        list(jobs._events(Client(server.url), "1"))


def test_a_service_is_given_up_only_if_it_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time that something is heard of it, waiting begins anew: even a sign of life."""
    now = [1000.0]
    monkeypatch.setattr(patience, "RETRY_PAUSE", 0)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def pause(_seconds: float) -> None:
        now[0] += patience.PATIENCE * 0.6

    monkeypatch.setattr(time, "sleep", pause)
    with scripted(HANG_UP, events(ALIVE), HANG_UP, events(END)) as server:
        assert [name for name, _ in jobs._events(Client(server.url), "1")] == ["end"]
    with scripted(HANG_UP, events(""), HANG_UP, events(END)) as server:
        with pytest.raises(Unreachable):
            list(jobs._events(Client(server.url), "1"))
        assert len(server.asked) == 3


def test_a_connection_that_died_unnoticed_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the machine slept: it shows only after longer than a service is waited for."""
    monkeypatch.setattr(client, "TIMEOUT", 0.2)
    monkeypatch.setattr(patience, "PATIENCE", 0.1)
    monkeypatch.setattr(patience, "RETRY_PAUSE", 0)
    with scripted(MUTE, events(END)) as server:
        assert [name for name, _ in jobs._events(Client(server.url), "1")] == ["end"]
        assert len(server.asked) == 2


# Uploads


ACCEPTED = answer('{"id": "1", "model": "m", "corpus": null}')
LOST = answer("", "text/html", "502 Bad Gateway")


def test_an_upload_that_breaks_off_is_sent_again_as_the_same(
    monkeypatch: pytest.MonkeyPatch, bottles: Path
) -> None:
    monkeypatch.setattr(patience, "RETRY_PAUSE", 0)
    with scripted(HANG_UP, LOST, ACCEPTED) as server, bottles.open("rb") as text:
        text.read(10)
        assert jobs.start(Client(server.url), text, {"model": "m"})["id"] == "1"
    keys = {re.search(rb"(?i)idempotency-key: (\w+)", asked)[1] for asked in server.asked}  # type: ignore[index]
    sent = {asked.partition(b"\r\n\r\n")[2] for asked in server.asked}
    assert (len(server.asked), len(keys), sent) == (3, 1, {bottles.read_bytes()[10:]})


def test_an_upload_that_nothing_takes_is_not_waited_for(bottles: Path) -> None:
    with bottles.open("rb") as text, pytest.raises(Unreachable, match="nothing answers"):
        jobs.start(Client("http://127.0.0.1:1"), text, {"model": "m"})
    with scripted(LOST) as server, bottles.open("rb") as text:
        with pytest.raises(client.Passing):
            jobs.start(Client(server.url), text, {"model": "m"})
        assert len(server.asked) == 1

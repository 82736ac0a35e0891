"""Logs are lines that can be read and gathered, and hold nothing that they should not."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.serving import NOWHERE, TEXT, eventually
from tests.support import ROOT, Horses, StartWorker
from worker import logs
from worker.jobs import Job
from worker.queue import Queue


@contextmanager
def logging_server(data: Path, log: Path, **variables: str) -> Iterator[httpx2.Client]:
    """A server of its own process, whose standard error is a file."""
    own = {
        "CHARLOOM_DATA": str(data),
        "CHARLOOM_REDIS_URL": NOWHERE,
        "CHARLOOM_PORT": "0",
        "CHARLOOM_API_KEYS": "open-sesame:admin",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app"],
            cwd=ROOT,
            env=os.environ | own | variables,
            stderr=output,
        )
    try:
        found: Any = eventually(lambda: re.search(r" port (\d+)", log.read_text()), 60)
        headers = {"Authorization": "Bearer open-sesame"}
        url = f"http://127.0.0.1:{found[1]}"
        with httpx2.Client(base_url=url, headers=headers, timeout=60) as client:
            eventually(lambda: _answers(client), 60)
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx2.ConnectError:
        return False


def test_where_nobody_sits_a_server_logs_json(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with logging_server(tmp_path / "data", log) as client:
        client.get("/sample?prime=private", headers={"X-Request-ID": "asked-1"})
        client.get("/jobs/%0Aforged%1b[31m", headers={"Authorization": "Bearer barley"})
        answer = client.post("/train?model=m", content=TEXT, headers={"X-Request-ID": "sent-1"})
        job_id = answer.json()["id"]
    said = log.read_text()
    assert said.isascii() and not re.search(r"[^\x20-\x7e\n]", said)
    for secret in ("private", "sesame", "barley"):
        assert secret not in said
    records = [json.loads(line) for line in said.splitlines()]
    assert all({"time", "level", "logger", "message"} <= record.keys() for record in records)
    (asked,) = (r for r in records if r.get("path") == "/sample")
    assert (asked["method"], asked["status"], asked["request_id"]) == ("GET", 422, "asked-1")
    assert asked["milliseconds"] >= 0 and asked["client"] == "127.0.0.1"
    (accepted,) = (r for r in records if r.get("job_id") == job_id)
    assert accepted["request_id"] == "sent-1"


def test_whoever_wants_lines_gets_them(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with logging_server(tmp_path / "data", log, CHARLOOM_LOG="text") as client:
        client.get("/jobs", headers={"X-Request-ID": "asked-1"})
    assert re.search(r"INFO GET /jobs 200 \d+ ms asked-1\n", log.read_text())


def test_a_worker_says_which_job_it_speaks_of(
    job: Job, horses: Horses, queue: Queue, start_worker: StartWorker
) -> None:
    horses.finish(job)
    queue.enqueue(job.id)
    worker = start_worker()
    eventually(lambda: "finished after" in worker.said(), 60)
    records = [json.loads(line) for line in worker.said().splitlines()]
    about = [record["message"] for record in records if record.get("job_id") == job.id]
    assert f"job {job.id}: taken" in about
    assert all("job_id" in record for record in records if job.id in record["message"])


@pytest.mark.parametrize("wanted", ["json", "text"])
def test_no_record_can_forge_another_or_steer_a_terminal(wanted: str) -> None:
    formatter = logs.JsonLines() if wanted == "json" else logs.TextLines()
    evil = "a\nERROR forged\r\x1b[2J\x00\x9b\u202egnp\u2028\ud800"
    try:
        raise ValueError(evil)
    except ValueError:
        record = logging.LogRecord("x", 20, "x", 1, "said %s", (evil,), sys.exc_info())
    line = formatter.format(record)
    assert "forged" in line and not line.startswith("ERROR")
    assert all(part.isprintable() for part in line.split("\n"))
    if wanted == "json":
        assert json.loads(line)["message"] == f"said {evil}"
    assert "ERROR forged" not in line.split("\n")


def test_json_is_json_for_all_that_a_supervisor_starts(tmp_path: Path) -> None:
    script = """
import asyncio, sys
from pathlib import Path
from app.supervisor.processes import Program, Supervisor

SPEAK = '''
import signal
print("plain"); print('{"message": "own", "level": "error"}'); print("[1]")
signal.pause()
'''
service = Program(name="worker", command=[sys.executable, "-uc", SPEAK])
asyncio.run(Supervisor([[service]], Path.cwd()).run(lambda: None))
"""
    process = subprocess.Popen(
        [sys.executable, "-uc", script],
        cwd=tmp_path,
        env=os.environ | {"CHARLOOM_LOG": "json", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout
        records = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGTERM)
        records += [json.loads(line) for line in process.stdout]
    plain, own, odd, stopping = records
    assert (plain["service"], plain["level"], plain["message"]) == ("worker", "info", "plain")
    assert own == {"service": "worker", "message": "own", "level": "error"}
    assert odd["message"] == "[1]"
    assert stopping["service"] == "charloom" and stopping["time"].endswith("Z")

"""Hostile values in every field of every endpoint, while others read texts.

Some of them always; ``./charloom test -m fuzz`` sends every value to every field.
"""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from models.checkpoints.archive import zipped
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.poison import NUMBER, Request, Sound, poisoned, send, thinned
from tests.serving import TEXT, eventually
from tests.support import ROOT, Say
from tests.toys import BYTES, toy_checkpoint

EACH = 4
"""Values for each field where there is no time for all."""

SENDERS = 4
MOST_READ = 1 << 16

BUSY = (429, 503)
"""Answers that name a time to come back."""

LENGTH = 15_000

SOON: dict[str, Any] = {"max_tokens": 10, "temperature": 10, "stop": ["a", "e", "i"]}
"""Ends a text that may be as long as possible."""

SAID = [{"role": "user", "content": "a"}]

REFERENCES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("GET", "/sample", {"model": "toy", "seed": 1, "length": LENGTH}),
    ("GET", "/sample", {"model": "toy", "seed": 2, "length": LENGTH, "top_k": 5}),
    ("GET", "/sample", {"model": "toy:rough", "seed": 3, "length": LENGTH, "top_p": 0.9}),
    ("GET", "/sample", {"model": "bytes", "seed": 4, "length": LENGTH, "temperature": 0.5}),
    ("GET", "/sample", {"model": "gru", "seed": 5, "length": LENGTH, "stop": "zzzzz"}),
    ("POST", "/sample", {"model": "toy", "seed": 6, "length": 5000, "temperature": 0}),
    (
        "POST",
        "/v1/completions",
        {"model": "toy", "prompt": "a", "seed": 7, "stream": True, "max_tokens": LENGTH},
    ),
    (
        "POST",
        "/api/generate",
        {"model": "toy", "prompt": "b", "options": {"seed": 8, "num_predict": LENGTH}},
    ),
)
"""Eight texts, some plain, some as the dialects stream them, that others read all the while."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    registry = Registry(tmp_path / "data" / "models")
    registry.publish(Reference("toy"), toy_checkpoint(precision={"exact": 2.0, "fast": 2.0}))
    registry.publish(Reference("toy", "rough"), toy_checkpoint(seed=1))
    registry.publish(Reference("gru"), toy_checkpoint("gru"))
    registry.publish(Reference("bytes"), toy_checkpoint(vocabulary=BYTES))
    lines = np.array([1, 2**63], np.uint64)
    registry.publish(Reference("list"), replace(toy_checkpoint(seed=2), lines=lines))
    return tmp_path / "data"


@contextmanager
def server(data: Path, redis_url: str, log: Path) -> Iterator[httpx2.Client]:
    """A client of a server in a process of its own, which must still run in the end."""
    ours = {"DATA": str(data), "REDIS_URL": redis_url, "PORT": "0", "PRETRAINED": "/nowhere"}
    environment = os.environ | {f"CHARLOOM_{key}": value for key, value in ours.items()}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app"], cwd=ROOT, env=environment, stderr=output
        )

    def listening() -> re.Match[str] | None:
        assert process.poll() is None, log.read_text()
        return re.search(r"listening on \S+ port (\d+)", log.read_text())

    try:
        found = eventually(listening)
        with httpx2.Client(base_url=f"http://127.0.0.1:{found[1]}", timeout=600) as client:
            yield client
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait()


def sound_requests(client: httpx2.Client, data: Path) -> dict[str, Sound]:
    """A request that is answered for each operation."""
    accepted = client.post("/train", params={"model": "waiting"}, content=TEXT)
    assert accepted.status_code == 202, accepted.text
    job, corpus = accepted.json()["id"], accepted.json()["corpus"]["id"]
    ended, again = (_cancelled(client, model) for model in ("ended", "again"))
    registry = Registry(data / "models")
    with registry.opened("toy", registry.resolve(Reference("toy"))) as files:
        archive = b"".join(zipped(files))
    number = NUMBER.decode()
    toy, known = {"model": "toy"}, {"corpus_id": corpus}
    return {
        "POST /train": Sound(
            query={"model": number, "max_steps": 1},
            body={"model": number, "corpus_id": corpus, "max_steps": 1},
            content=TEXT.encode(),
        ),
        "GET /jobs": Sound(),
        "GET /jobs/{job_id}": Sound(path={"job_id": job}),
        "DELETE /jobs/{job_id}": Sound(path={"job_id": "f" * 22}),
        "POST /jobs/{job_id}/cancel": Sound(path={"job_id": again}),
        "POST /jobs/{job_id}/resume": Sound(path={"job_id": again}, body={"max_steps": 1}),
        "GET /jobs/{job_id}/events": Sound(path={"job_id": ended}),
        "POST /corpora": Sound(content=TEXT.encode()),
        "GET /corpora": Sound(),
        "GET /corpora/{corpus_id}": Sound(path=known),
        "GET /corpora/{corpus_id}/outlook": Sound(path=known, query={"max_seconds": "20"}),
        "DELETE /corpora/{corpus_id}": Sound(path={"corpus_id": "f" * 64}),
        "GET /models": Sound(),
        "GET /models/{model}": Sound(path=toy),
        "POST /models/{model}": Sound(path={"model": "imported"}, content=archive),
        "PATCH /models/{model}": Sound(path=toy, body={"notes": "a", "pinned": True}),
        "DELETE /models/{model}": Sound(path={"model": "imported"}),
        "GET /models/{model}/history": Sound(path=toy),
        "GET /models/{model}/download": Sound(path=toy, query={"format": "zip"}),
        "GET /sample": Sound(query=toy | {"length": 10}),
        "POST /sample": Sound(body=toy | {"length": 10}),
        "GET /names": Sound(query={"model": "list", "count": 2}),
        "POST /models/{model}/inspect": Sound(path=toy, body={"text": "a b"}),
        "GET /models/{model}/cells": Sound(path=toy),
        "GET /models/{model}/cells/{layer}/{cell}": Sound(path=toy | {"layer": "0", "cell": "1"}),
        "POST /models/{model}/ablate": Sound(path=toy, body={"cells": [1], "length": 10}),
        "POST /score": Sound(body={"text": "a b", "models": ["toy"]}),
        "GET /v1/models": Sound(),
        "GET /v1/models/{model}": Sound(path=toy),
        "POST /v1/chat/completions": Sound(body=toy | SOON | {"messages": SAID}),
        "POST /v1/completions": Sound(body=toy | SOON | {"prompt": "a"}),
        "GET /api/version": Sound(),
        "GET /api/tags": Sound(),
        "POST /api/show": Sound(body=toy),
        "GET /api/ps": Sound(),
        "POST /api/chat": Sound(body=toy | {"messages": SAID, "options": {"num_predict": 10}}),
        "POST /api/generate": Sound(body=toy | {"prompt": "a", "options": {"num_predict": 10}}),
        "GET /widget/access": Sound(query={"origin": "https://example.org"}),
        "GET /healthz": Sound(),
        "GET /readyz": Sound(),
        "GET /metrics": Sound(),
        "GET /workers": Sound(),
    }


def _cancelled(client: httpx2.Client, model: str) -> str:
    """The id of a job that ended before it began."""
    job: str = client.post("/train", params={"model": model}, content=TEXT).json()["id"]
    assert client.post(f"/jobs/{job}/cancel").status_code == 202
    return job


class Readers:
    """Reads the eight texts again and again, each in a thread of its own, until told to stop."""

    def __init__(self, client: httpx2.Client) -> None:
        self._url = client.base_url
        self._expected = [self._read(client, *reference) for reference in REFERENCES]
        self._done = threading.Event()
        self.read = 0
        self.wrong: list[str] = []
        self._threads = [
            threading.Thread(target=self._repeat, args=(index,)) for index in range(len(REFERENCES))
        ]

    def __enter__(self) -> "Readers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, index: int) -> None:
        with httpx2.Client(base_url=self._url, timeout=120) as client:
            while not self._done.is_set() and not self.wrong:
                try:
                    text = self._read(client, *REFERENCES[index])
                except httpx2.HTTPError as error:
                    self.wrong.append(f"{REFERENCES[index]}: {error!r}")
                    return
                self.read += 1
                if text != self._expected[index]:
                    self.wrong.append(f"{REFERENCES[index]}: {len(text)} other characters")

    @staticmethod
    def _read(client: httpx2.Client, method: str, endpoint: str, fields: dict[str, Any]) -> str:
        if method == "GET":
            answer = client.get(endpoint, params=fields)
        else:
            answer = client.post(endpoint, json=fields)
        assert answer.status_code == 200, answer.text
        if endpoint == "/v1/completions":
            data = re.findall(r"^data: (\{.*)$", answer.text, re.MULTILINE)
            return "".join(json.loads(line)["choices"][0]["text"] for line in data)
        if endpoint == "/api/generate":
            return "".join(json.loads(line)["response"] for line in answer.text.splitlines())
        return answer.text


def fault_of(client: httpx2.Client, request: Request) -> tuple[int, str | None]:
    """The status of the answer, and what is wrong with it."""
    try:
        status, headers, body = send(client, request, MOST_READ)
    except httpx2.HTTPError as error:
        return 0, repr(error)
    if status >= 500 and not (status in BUSY and "retry-after" in headers):
        return status, body[:500].decode(errors="replace")
    if status >= 400 and "json" not in headers.get("content-type", ""):
        return status, f"the error is {headers.get('content-type')}"
    return status, None


ALL_OR_SOME = pytest.mark.parametrize(
    "everything", [pytest.param(False, id="some"), pytest.param(True, marks=pytest.mark.fuzz)]
)


@ALL_OR_SOME
def test_poison_in_one_request_is_no_others_death(
    data: Path,
    redis_url: str,
    tmp_path: Path,
    everything: bool,
    say: Say,
) -> None:
    """No answer is a 5xx, and the texts of others stay byte for byte what they are alone."""
    with server(data, redis_url, tmp_path / "log") as client:
        document = client.get("/openapi.json").json()
        requests = list(poisoned(document, sound_requests(client, data)))
        fields = {(request.operation, request.where) for request in requests}
        chosen = requests if everything else thinned(requests, EACH)
        with Readers(client) as readers, ThreadPoolExecutor(SENDERS) as senders:
            answers = senders.map(lambda request: (request, *fault_of(client, request)), chosen)
            found = [(str(request), fault) for request, _, fault in answers if fault]
        assert readers.wrong == []
        assert found == []
    assert "Traceback" not in (tmp_path / "log").read_text()
    say(
        f"\n{len(chosen)} requests, {len(fields)} fields of {len(document['paths'])} endpoints; "
        f"{readers.read} texts read meanwhile, none cut off or changed"
    )

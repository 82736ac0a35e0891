"""Line-framed answers keep their frames whatever the text holds, to every client's idea of a line.

Over real HTTP, with a model whose vocabulary is little else than line ends.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import ollama
import pytest

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.text.vocab import Vocabulary
from tests.dialects import openai_client
from tests.serving import Query, serve
from tests.toys import toy_checkpoint
from worker.events import EventLog
from worker.jobs import JobStore

ENDS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
ASKED: Query = {"model": "ends", "seed": 1, "length": 3000, "prime": f"a{ENDS}", "echo": True}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    symbols = sorted(map(ord, f"\nab{ENDS}"))
    checkpoint = toy_checkpoint(vocabulary=Vocabulary("characters", symbols))
    Registry(data / "models").publish(Reference("ends"), checkpoint)
    return data


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx2.Client]:
    with serve(data) as client:
        yield client


@pytest.fixture(scope="module")
def text(client: httpx2.Client) -> str:
    text = client.get("/sample", params=ASKED).text
    assert all(end in text[9:] for end in ENDS)
    return text


def events(lines: list[str]) -> list[Any]:
    """The data of events, of which each line must be one of an event's."""
    assert all(line.partition(": ")[0] in ("event", "data", "id", "", ": ping") for line in lines)
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [json.loads(one) for one in data if one != "[DONE]"]


def test_ollamas_client_reads_a_stream_line_by_line(client: httpx2.Client, text: str) -> None:
    options: Any = {"seed": 1, "num_predict": 3000}
    prime = ASKED["prime"]
    with ollama.Client(host=str(client.base_url)) as llama:
        parts = list(llama.generate(model="ends", prompt=prime, options=options, stream=True))
    assert prime + "".join(part.response or "" for part in parts) == text
    body = {"model": "ends", "prompt": prime, "options": options}
    with client.stream("POST", "/api/generate", json=body) as response:
        lines = list(response.iter_lines())
    whole = client.post("/api/generate", json=body).text.splitlines()
    for one in (lines, whole):
        assert prime + "".join(json.loads(line)["response"] for line in one) == text


def test_openais_client_reads_a_stream(client: httpx2.Client, text: str) -> None:
    asked: Any = {"model": "ends", "prompt": ASKED["prime"], "max_tokens": 3000, "seed": 1}
    asked |= {"echo": True, "stream": True, "logprobs": 2}
    with openai_client(client) as ai:
        chunks = list(ai.completions.create(**asked))
    assert "".join(chunk.choices[0].text for chunk in chunks) == text
    said = events(client.post("/v1/completions", json=asked).text.splitlines())
    assert "".join(one["choices"][0]["text"] for one in said) == text


@pytest.mark.parametrize("probabilities", [0, 3])
def test_our_events_are_lines(client: httpx2.Client, text: str, probabilities: int) -> None:
    fields = ASKED | {"probabilities": probabilities}
    accept = {"Accept": "text/event-stream"}
    with client.stream("GET", "/sample", params=fields, headers=accept) as response:
        lines = list(response.iter_lines())
    for one in (lines, client.get("/sample", params=fields, headers=accept).text.splitlines()):
        *said, end = events(one)
        assert "".join(event["text"] for event in said) == text
        assert end["finish_reason"] == "length"


def test_a_jobs_events_are_lines_on_disk_and_over_http(client: httpx2.Client, data: Path) -> None:
    job, _ = JobStore(data / "jobs").create("m", "c" * 64, {}, None)
    sample = {"step": 1, "temperature": 1.0, "text": f"a{ENDS}é"}
    EventLog(job.directory).append("sample", sample)
    job.finish("cancelled")
    assert len((job.directory / "events.jsonl").read_text("utf-8").splitlines()) == 2
    response = client.get(f"/jobs/{job.id}/events", timeout=30)
    said, end = events(response.text.splitlines())
    assert said == sample and end["status"] == "cancelled"

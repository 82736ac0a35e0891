"""What a client may do on one server it may do on any other of the same Redis and disk."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.supervisor.valkey import EmbeddedRedis
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.service import SIZES
from tests.serving import Query, eventually, problem
from tests.support import ROOT, TOY
from tests.toys import toy_checkpoint

KEYS = "the-key-of-one:sample+train,the-key-of-few:sample,the-chief-key:admin"
FEW, CHIEF = ({"Authorization": f"Bearer {key}"} for key in ("the-key-of-few", "the-chief-key"))

Pair = tuple[httpx2.Client, httpx2.Client]


def answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx2.HTTPError:
        return False


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two servers and a worker, each a process of its own."""
    data = tmp_path_factory.mktemp("data")
    Registry(data / "models").publish(Reference("toy"), toy_checkpoint())
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as valkey, ExitStack() as stack:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CHARLOOM_")} | {
            "CHARLOOM_DATA": str(data),
            "CHARLOOM_REDIS_URL": valkey.url,
            "CHARLOOM_THREADS": "1",
            "CHARLOOM_PRETRAINED": "/nowhere",
            "CHARLOOM_API_KEYS": KEYS,
            "CHARLOOM_KEY_RATE": "400/hour",
            "CHARLOOM_PORT": "0",
        }
        log = stack.enter_context((data / "log").open("ab"))

        def start(*command: str) -> "subprocess.Popen[bytes]":
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
            )
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
            return process

        start("worker")
        processes = [start("app") for _ in range(2)]
        ports = [eventually(partial(port_of, process.pid), 60) for process in processes]
        clients = [
            stack.enter_context(
                httpx2.Client(
                    base_url=f"http://127.0.0.1:{port}",
                    timeout=60,
                    headers={"Authorization": "Bearer the-key-of-one"},
                )
            )
            for port in ports
        ]
        for client in clients:
            eventually(partial(answers, client), 60)
        yield clients[0], clients[1]


def port_of(pid: int) -> int | None:
    """The TCP port that a process listens on."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(link.readlink()))
        except OSError:
            continue
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
            return int(fields[1].rpartition(":")[2], 16)
    return None


def train(client: httpx2.Client, model: str, **headers: str) -> httpx2.Response:
    query: Any = {"model": model} | SIZES | {"max_steps": 100_000}
    return client.post("/train", params=query, content=TOY, headers=headers)


def test_the_same_text_and_its_state(servers: Pair) -> None:
    here, there = servers
    fields: Query = {"model": "toy", "seed": 7, "length": 600}
    json = {"Accept": "application/json"}
    whole = here.get("/sample", params=fields).text
    assert there.get("/sample", params=fields).text == whole
    begun = here.post("/sample", json=fields | {"length": 200}, headers=json).json()
    rest = fields | {"length": 400, "continue_from": begun["state"]}
    assert begun["text"] + there.post("/sample", json=rest, headers=json).json()["text"] == whole


def test_one_idempotency_key_is_one_job(servers: Pair) -> None:
    with ThreadPoolExecutor(8) as pool:
        sent = [
            pool.submit(train, servers[n % 2], "twice", **{"Idempotency-Key": "the same"})
            for n in range(8)
        ]
        answers = [one.result() for one in sent]
    assert {answer.status_code for answer in answers} == {202}
    ids = {answer.json()["id"] for answer in answers}
    assert len(ids) == 1
    problem(train(servers[1], "twice"), 409, "name_taken")
    eventually(lambda: servers[0].post(f"/jobs/{ids.pop()}/cancel").status_code == 202)


def events(lines: Iterator[str]) -> Iterator[tuple[int, str]]:
    """Ids and kinds of server-sent events."""
    kind, number = "", 0
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "id":
            number = int(value)
        elif not line and kind:
            yield number, kind
            kind = ""


def test_a_job_is_followed_and_cancelled_on_any_server(servers: Pair) -> None:
    """From where another server left off, and by followers of both until its end."""
    here, there = servers
    job_id = train(here, "followed").json()["id"]
    url = f"/jobs/{job_id}/events"
    with there.stream("GET", url) as stream:
        first: list[tuple[int, str]] = []
        for found in events(stream.iter_lines()):
            first.append(found)
            if len(first) == 5 and any(kind == "progress" for _, kind in first):
                break
    last = first[-1][0]
    with (
        here.stream("GET", url, headers={"Last-Event-ID": str(last)}) as one,
        there.stream("GET", url) as other,
    ):
        more = events(one.iter_lines())
        assert next(more)[0] == last + 1
        assert there.post(f"/jobs/{job_id}/cancel").status_code == 202
        rest = list(more)
        assert rest[-1][1] == "end"
        assert list(events(other.iter_lines()))[-1] == rest[-1]
    assert here.get(f"/jobs/{job_id}").json()["status"] == "cancelled"
    ended = there.get(url, headers={"Last-Event-ID": str(rest[-1][0])})
    assert ended.status_code == 204


def test_a_rate_counts_on_all_servers_together(servers: Pair) -> None:
    left = []
    for turn in range(6):
        answer = servers[turn % 2].get("/models", headers=FEW)
        left.append(int(answer.headers["ratelimit"].partition(";r=")[2].partition(";")[0]))
    assert left == [399, 398, 397, 396, 395, 394]


def figures(client: httpx2.Client) -> dict[tuple[str, ...], float]:
    text = client.get("/metrics", headers=CHIEF).text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("charloom_")
    }


def test_figures_add_up(servers: Pair) -> None:
    """Those of a server are its own; those of the disk and of Redis are the same on each."""
    before = [figures(client) for client in servers]
    for client, length in zip(servers, (300, 500), strict=True):
        client.get("/sample", params={"model": "toy", "length": length})
    after = [figures(client) for client in servers]
    written = [
        now[("charloom_characters_total",)] - then[("charloom_characters_total",)]
        for now, then in zip(after, before, strict=True)
    ]
    assert written == [300, 500]

    def shared() -> list[dict[tuple[str, ...], float]]:
        names = ("charloom_jobs", "charloom_queue_length", "charloom_workers")
        return [{k: v for k, v in figures(one).items() if k[0] in names} for one in servers]

    def alike() -> bool:
        one, other = shared()
        return one == other and len(one) > 3

    # A job may end between two looks.
    eventually(alike)

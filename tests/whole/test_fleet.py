"""Servers and workers on hosts with a disk each are one service, whatever of it dies or goes away.

A kernel stands for the hosts: workers have networks and names of their own, all have disks of their
own, and share a Redis with a password and a bucket. With ``-m chaos`` outages last as long as in a
bad hour, and counts are printed.
"""

import hashlib
import io
import signal
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx2
import pytest

from tests.fleet import Fleet, Node
from tests.serving import Query, eventually
from tests.support import Say


@dataclass
class Outages:
    """Seconds for which something is away."""

    freeze: float
    redis: float
    bucket: float


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path).running() as running:
        eventually(running.is_up, 120)
        yield running


@dataclass
class Follower:
    """Follows a job through the proxy, and continues where it was cut off, as a browser does."""

    client: httpx2.Client
    job_id: str
    seen: list[tuple[int, str, str]] = field(default_factory=list)
    breaks: int = 0

    def __enter__(self) -> Self:
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    @property
    def has_ended(self) -> bool:
        return bool(self.seen) and self.seen[-1][1] == "end"

    def step(self) -> int:
        """The newest step that it heard of."""
        steps = [data.partition('"step":')[2].partition(",")[0] for _, _, data in self.seen]
        return max((int(step.strip(" }")) for step in steps if step), default=0)

    def _follow(self) -> None:
        while not self.has_ended and not self._stopped.is_set():
            last = str(self.seen[-1][0]) if self.seen else ""
            with suppress(httpx2.HTTPError):
                url = f"/jobs/{self.job_id}/events"
                headers = {"Last-Event-ID": last} if last else {}
                with self.client.stream("GET", url, headers=headers, timeout=30) as stream:
                    if stream.status_code == 200:
                        for event in httpx2.EventSource(stream):
                            self.seen.append((int(event.id), event.event, event.data))
                            if self._stopped.is_set():
                                break
            self.breaks += 1
            time.sleep(0.1)


def weights(client: httpx2.Client, model: str) -> str:
    """The digest of a model's weights."""
    answer = client.get(f"/models/{model}/download", params={"format": "zip"})
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as file:
        (name,) = (one for one in file.namelist() if one.endswith("model.safetensors"))
        return hashlib.sha256(file.read(name)).hexdigest()


def steadily(client: httpx2.Client, url: str, **params: Any) -> httpx2.Response:
    """The first answer that is one, of a service whose parts come and go."""

    def answer() -> httpx2.Response | None:
        with suppress(httpx2.HTTPError):
            found = client.get(url, params=params)
            return found if found.status_code == 200 else None
        return None

    found: httpx2.Response = eventually(answer, 60)
    return found


def test_one_service_on_hosts_with_a_disk_each(fleet: Fleet) -> None:
    storm(fleet, Outages(freeze=6, redis=1, bucket=3), steps=1000)


@pytest.mark.chaos
def test_a_bad_hour(fleet: Fleet, say: Say) -> None:
    counts = storm(fleet, Outages(freeze=60, redis=30, bucket=20), steps=12_000, is_full=True)
    say(f"\n{counts}")


def storm(fleet: Fleet, outages: Outages, steps: int, *, is_full: bool = False) -> str:
    """Disturbs a job in every way.

    Args:
        fleet: the service.
        outages: how long each lasts.
        steps: those of the job, and of its undisturbed twin.
        is_full: the worker is killed too, instead of that of a third job; the twin, which needs a
            worker, comes afterwards.
    """
    here, there = fleet.clients
    with fleet.proxy() as proxy:
        job_id = fleet.train(here, "stormy", max_steps=steps)
        assert fleet.train(proxy, "stormy", max_steps=steps) == job_id
        with Follower(proxy, job_id) as follower:
            eventually(lambda: follower.step() > 0, 120)
            twin = "" if is_full else fleet.train(there, "calm", max_steps=steps)
            eventually(lambda: here.get("/models/stormy").status_code == 200, 120)
            # Before anything that takes time: its steps take seconds.
            frozen = freeze(fleet, job_id, outages.freeze)
            same_text_everywhere(fleet)
            other = cancelled_elsewhere(fleet)
            for client in fleet.clients:
                lose_a_server(fleet, client)
            refuse_while_the_bucket_is_away(fleet, outages.bucket)
            thaw(fleet, frozen, job_id)
            empty_redis(fleet, outages.redis)
            if is_full:
                kill_the_worker(fleet, job_id, follower)
            eventually(lambda: follower.has_ended, 900)
        # Whichever server it was at.
        assert follower.breaks > 1
        twin = twin or fleet.train(there, "calm", max_steps=steps)
        assert finally_ended(proxy, job_id) == finally_ended(proxy, twin) == "finished"
        assert finally_ended(proxy, other) == "cancelled"
        # A copy may be some seconds old.
        eventually(lambda: weights(here, "stormy") == weights(there, "calm"), 60)
        if not is_full:
            assert finally_ended(proxy, lose_a_worker(fleet, steps)) == "finished"
            eventually(lambda: weights(here, "bereft") == weights(there, "calm"), 60)
        assert_told_once(follower, steadily(there, f"/jobs/{job_id}/events").text)
    return (
        f"{len(follower.seen)} events heard once each, over {follower.breaks} connections; "
        f"{len(fleet.bucket.requests)} requests to the bucket, {fleet.bucket.requests_failed} of "
        "them answered 503; 3 jobs accepted: 2 finished with the same weights, 1 cancelled"
    )


def finally_ended(client: httpx2.Client, job_id: str) -> str:
    ends = ("finished", "failed", "cancelled")

    def ended() -> str | None:
        status: str = steadily(client, f"/jobs/{job_id}").json()["status"]
        return status if status in ends else None

    found: str = eventually(ended, 900)
    return found


def same_text_everywhere(fleet: Fleet) -> None:
    """And a text that began on one server continues on the other."""
    here, there = fleet.clients
    eventually(lambda: there.get("/models/stormy").status_code == 200, 10)
    digest = there.get("/models/stormy").json()["digest"]
    fields: Query = {"model": "stormy", "seed": 7, "length": 200}
    json = {"Accept": "application/json"}
    begun = here.post("/sample", json=fields, headers=json).json()
    rest = fields | {"continue_from": begun["state"]}
    continued = there.post("/sample", json=rest, headers=json)
    # A better checkpoint may have been published between the two.
    is_same = there.get("/models/stormy").json()["digest"] == digest
    assert continued.status_code == 200 or not is_same, continued.text
    texts = {client.get("/sample", params=fields).text for client in fleet.clients}
    is_same = is_same and here.get("/models/stormy").json()["digest"] == digest
    assert len(texts) == 1 or not is_same


def cancelled_elsewhere(fleet: Fleet) -> str:
    here, there = fleet.clients
    job_id = fleet.train(here, "other", max_steps=100_000)
    assert there.post(f"/jobs/{job_id}/cancel").status_code == 202
    eventually(lambda: here.get(f"/jobs/{job_id}").json()["status"] == "cancelled", 30)
    return job_id


def freeze(fleet: Fleet, job_id: str, seconds: float) -> Node:
    """Freezes the host that trains a job; returns at once."""
    node = fleet.holder(job_id)
    assert node
    node.send(signal.SIGSTOP)
    node.frozen_until = time.monotonic() + seconds
    return node


def thaw(fleet: Fleet, node: Node, job_id: str) -> None:
    """Wakes a host up whose job is another's by now, and which must find out."""
    eventually(lambda: time.monotonic() > node.frozen_until, 600)
    eventually(lambda: fleet.holder(job_id) not in (None, node), 300)
    node.send(signal.SIGCONT)
    eventually(lambda: "writes nothing more" in node.said(), 60)


def lose_a_worker(fleet: Fleet, steps: int) -> str:
    """Kills whichever worker takes a new job; returns its id."""
    job_id = fleet.train(fleet.clients[1], "bereft", max_steps=steps)
    node: Node = eventually(lambda: fleet.holder(job_id), 120)
    node.kill()
    node.start()
    return job_id


def lose_a_server(fleet: Fleet, client: httpx2.Client) -> None:
    server = fleet.servers[fleet.clients.index(client)]
    server.kill()
    server.start()
    steadily(client, "/healthz")


def refuse_while_the_bucket_is_away(fleet: Fleet, seconds: float) -> None:
    """What needs it is refused, what is here is served, and nothing that was promised is lost."""
    there = fleet.clients[1]
    steadily(there, "/sample", model="stormy", length=10)
    began = time.monotonic()
    fleet.bucket.failing = True
    query = {"model": "refused"}
    refused = there.post("/train", params=query, content="some text\n" * 100)
    assert refused.status_code == 503, refused.text
    assert refused.json()["code"] == "storage_away"
    assert refused.headers["Retry-After"]
    ready = there.get("/readyz")
    assert ready.status_code == 503 and ready.json()["detail"] == "the storage does not answer"
    assert there.get("/sample", params={"model": "stormy", "length": 10}).status_code == 200
    eventually(lambda: time.monotonic() - began > seconds, seconds + 60)
    fleet.bucket.failing = False
    eventually(lambda: there.get("/readyz").status_code == 200, 30)
    assert there.get("/models/refused").status_code == 404


def empty_redis(fleet: Fleet, seconds: float) -> None:
    fleet.redis.stop()
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > seconds, seconds + 60)
    fleet.redis.start()


def kill_the_worker(fleet: Fleet, job_id: str, follower: Follower) -> None:
    node = fleet.holder(job_id)
    assert node
    step = follower.step()
    node.kill()
    node.start()
    eventually(lambda: follower.step() > step or follower.has_ended, 120)


def assert_told_once(follower: Follower, told: str) -> None:
    """A follower who was cut off again and again heard every event once, as it is kept."""
    assert not [data for _, kind, data in follower.seen if kind == "notice" and "state_" in data]
    ids = [number for number, _, _ in follower.seen]
    assert ids == list(range(1, len(ids) + 1))
    kept = [line.removeprefix("event: ") for line in told.splitlines() if line.startswith("event:")]
    assert [kind for _, kind, _ in follower.seen] == kept
    assert kept.count("end") == 1

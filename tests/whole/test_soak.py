"""Ten minutes of everything at once: the service's memory ends where it began.

``./charloom test -m soak`` takes ten minutes; ``--soak-seconds`` says how many. It prints the
curve that docs/measured.md has.
"""

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import numpy as np
import pytest

from models.checkpoints.archive import zipped
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.service import Up
from tests.serving import TEXT, Query, eventually
from tests.support import Say
from tests.toys import toy_checkpoint

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
]

GROWTH, GROWTH_BYTES = 0.10, 2 << 20
"""Most that the memory of a process may have grown by, in the end. Redis keeps the events of ended
jobs for ten minutes, a few kilobytes each."""

STEADY = 1 << 20
"""Bytes by which the memory of an idle process may still change."""

WATCHED = ("server", "worker", "Valkey")

CLIENTS = 6
POINTS = 20
"""Of the curve."""


class Traffic:
    """Clients that do everything a service is for, in any order, and tidy up."""

    def __init__(self, up: Up) -> None:
        self.up = up
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._stop = threading.Event()
        self._archives = [
            _archive(up.data.parent / f"made-{size}", size) for size in (24, 128, 300)
        ]
        self._kinds: tuple[Callable[[httpx2.Client, random.Random, str], None], ...] = (
            *(self._texts, self._texts, self._half_a_text, self._names, self._read, self._dialects),
            *(self._download, self._lists, self._corpora, self._train, self._refused),
        )

    def once(self) -> None:
        """Each kind once, one after the other."""
        with self._client() as client:
            for index, kind in enumerate(self._kinds):
                self._with_a_model(client, random.Random(index), f"warm{index}", kind)

    def __enter__(self) -> "Traffic":
        self._threads = [
            threading.Thread(target=self._go_on, args=(number,)) for number in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _client(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.up.client.base_url, timeout=120)

    def _go_on(self, number: int) -> None:
        dice = random.Random(number)
        count = 0
        with self._client() as client:
            while not self._stop.is_set() and not self.wrong:
                count += 1
                kind = dice.choice(self._kinds)
                try:
                    self._with_a_model(client, dice, f"m{number}-{count}", kind)
                except Exception as error:
                    self.wrong.append(f"{kind.__name__}: {error!r}")

    def _with_a_model(
        self,
        client: httpx2.Client,
        dice: random.Random,
        name: str,
        kind: Callable[[httpx2.Client, random.Random, str], None],
    ) -> None:
        imported = client.post(f"/models/{name}", content=dice.choice(self._archives))
        assert imported.status_code == 201, imported.text
        kind(client, dice, name)
        # The training of a name may have taken its place.
        assert client.delete(f"/models/{name}").status_code == 204
        self.done[kind.__name__.strip("_").replace("_", " ")] += 1

    def _texts(self, client: httpx2.Client, dice: random.Random, name: str) -> None:
        for precision in ("exact", "fast"):
            fields: Query = {
                "model": name,
                "length": 1 + dice.randrange(5000),
                "precision": precision,
            }
            fields |= dice.choice(({}, {"top_k": 5}, {"top_p": 0.5}))
            accept = dice.choice(("text/plain", "text/event-stream", "application/json"))
            if accept != "text/plain":
                fields["probabilities"] = 5
            answer = client.get("/sample", params=fields, headers={"Accept": accept})
            assert answer.status_code == 200, answer.text

    def _half_a_text(self, client: httpx2.Client, dice: random.Random, name: str) -> None:
        fields: Query = {"model": name, "length": 1_000_000}
        with client.stream("GET", "/sample", params=fields) as answer:
            next(answer.iter_raw())

    def _names(self, client: httpx2.Client, dice: random.Random, name: str) -> None:
        fields: Query = {"model": name, "count": dice.randrange(1, 20), "max_length": 12}
        assert client.get("/names", params=fields).status_code == 200

    def _read(self, client: httpx2.Client, dice: random.Random, name: str) -> None:
        text = "the quick brown fox " * dice.randrange(1, 100)
        for endpoint, body in (
            (f"/models/{name}/inspect", {"text": text, "cells": [0, 1], "unknown": "skip"}),
            ("/score", {"text": text, "models": [name], "unknown": "skip"}),
        ):
            answer = client.post(endpoint, json=body)
            assert answer.status_code in (200, 503), answer.text
        answer = client.get(f"/models/{name}/cells")
        assert answer.status_code in (200, 202, 503), answer.text

    def _dialects(self, client: httpx2.Client, dice: random.Random, name: str) -> None:
        for endpoint, body in (
            ("/v1/completions", {"model": name, "prompt": "a", "n": 4, "max_tokens": 200}),
            ("/api/generate", {"model": name, "prompt": "a", "options": {"num_predict": 200}}),
        ):
            answer = client.post(endpoint, json=body)
            assert answer.status_code == 200, answer.text

    def _download(self, client: httpx2.Client, dice: random.Random, name: str) -> None:
        for form in ("zip", "onnx"):
            answer = client.get(f"/models/{name}/download", params={"format": form})
            assert answer.status_code == 200, answer.text

    def _lists(self, client: httpx2.Client, dice: random.Random, name: str) -> None:
        for endpoint in ("/models", "/jobs", "/corpora", "/metrics", f"/models/{name}/history"):
            assert client.get(endpoint).status_code == 200

    def _corpora(self, client: httpx2.Client, dice: random.Random, name: str) -> None:
        text = f"{name}\n{TEXT}" * dice.randrange(1, 300)
        corpus = client.post("/corpora", content=text).json()["id"]
        assert client.delete(f"/corpora/{corpus}").status_code == 204

    def _train(self, client: httpx2.Client, dice: random.Random, name: str) -> None:
        job = self.up.accept(name, max_steps=60, evaluate_every=20)
        with client.stream("GET", f"/jobs/{job}/events", timeout=600) as events:
            said = events.read().decode()
        assert '"status": "finished"' in said or '"status":"finished"' in said, said[-500:]
        assert client.delete(f"/jobs/{job}").status_code == 204

    def _refused(self, client: httpx2.Client, dice: random.Random, name: str) -> None:
        assert client.get("/sample", params={"model": name, "length": -1}).status_code == 422
        assert client.get("/sample", params={"model": "nobody"}).status_code == 404
        assert client.post(f"/models/{name}", content=b"PK" + bytes(100_000)).status_code == 422


def _archive(directory: Path, hidden_size: int) -> bytes:
    """A model of a list, as a zip."""
    registry = Registry(directory)
    lines = np.array([1, 2**63], np.uint64)
    checkpoint = replace(toy_checkpoint(hidden_size=hidden_size), lines=lines)
    digest = registry.publish(Reference("made"), checkpoint)
    with registry.opened("made", digest) as files:
        return b"".join(zipped(files))


def resident(up: Up) -> dict[str, int]:
    """Bytes of each process in memory."""
    return {
        kind: 1024 * int(_status(pid, "VmRSS"))
        for kind, pid in up.pids().items()
        if kind in WATCHED
    }


def _status(pid: int, field: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{field}:"))


def _at_rest(up: Up) -> dict[str, int]:
    """The memory of each process once nothing changes any more."""
    last: dict[str, int] = {}
    since = time.monotonic()

    def is_steady() -> dict[str, int] | None:
        nonlocal last, since
        now = resident(up)
        if any(abs(now[kind] - last.get(kind, 0)) > STEADY for kind in now):
            last, since = now, time.monotonic()
        return now if time.monotonic() > since + 10 else None

    found: dict[str, int] = eventually(is_steady, 120)
    return found


def test_memory_ends_where_it_began(up: Up, request: pytest.FixtureRequest, say: Say) -> None:
    seconds = request.config.getoption("--soak-seconds")
    traffic = Traffic(up)
    for _ in range(3):
        traffic.once()
    before = _at_rest(up)
    curve = [(0.0, before)]
    began = time.monotonic()
    with traffic:
        for point in range(1, POINTS + 1):
            # The traffic is what is waited for.
            threading.Event().wait(max(0, began + seconds * point / POINTS - time.monotonic()))
            curve.append((time.monotonic() - began, resident(up)))
    after = _at_rest(up)
    curve.append((time.monotonic() - began, after))
    say("\n" + "\n".join(_lines(curve)) + f"\n{dict(traffic.done)}")
    assert traffic.wrong == []
    assert len(traffic.done) == len({*traffic.done}) >= 10
    assert up.client.get("/models").json()["models"] == []
    grown = {kind: after[kind] - before[kind] for kind in before}
    most = {kind: max(GROWTH * before[kind], GROWTH_BYTES) for kind in before}
    assert all(grown[kind] <= most[kind] for kind in grown), grown


def _lines(curve: list[tuple[float, dict[str, int]]]) -> Iterator[str]:
    yield " seconds " + "".join(f"{kind:>10}" for kind in WATCHED) + "  (MB)"
    for seconds, memory in curve:
        figures = "".join(f"{memory.get(kind, 0) / 1e6:>10.1f}" for kind in WATCHED)
        yield f"{seconds:>8.0f} {figures}"

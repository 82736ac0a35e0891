"""What one key or IP address may have is bounded, told, and left to others."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.serving import TEXT, eventually, problem, serve
from tests.toys import toy_checkpoint
from worker.jobs import JobStore

KEYS = "the-key-of-one:sample+train,the-key-of-other:sample+train,the-chief-key:admin"
ONE, OTHER, CHIEF = (
    {"Authorization": f"Bearer {key}"}
    for key in ("the-key-of-one", "the-key-of-other", "the-chief-key")
)

Headers = dict[str, str]


def train(client: httpx2.Client, model: str, headers: Headers, **more: str) -> httpx2.Response:
    return client.post("/train", params={"model": model}, content=TEXT, headers=headers | more)


def refused(answer: httpx2.Response, code: str) -> str:
    """The state of the limit that a refusal tells, which says when to come back."""
    problem(answer, 429, code)
    assert int(answer.headers["retry-after"]) > 0
    state: str = answer.headers["ratelimit"]
    return state


def test_jobs_that_wait(data: Path) -> None:
    """On all servers of a data directory together."""
    with (
        serve(data, api_keys=KEYS, quota_queued=2) as client,
        serve(data, api_keys=KEYS, quota_queued=2) as second,
    ):
        first = train(client, "a", ONE, **{"Idempotency-Key": "k"})
        assert first.headers["ratelimit-policy"] == '"jobs";q=2;qu="items"'
        assert first.headers["ratelimit"] == '"jobs";r=1'
        assert train(second, "b", ONE).headers["ratelimit"] == '"jobs";r=0'
        for server in (client, second):
            assert refused(train(server, "c", ONE), "too_many_jobs") == '"jobs";r=0'
        again = train(second, "a", ONE, **{"Idempotency-Key": "k"})
        assert again.json()["id"] == first.json()["id"]
        assert train(client, "d", OTHER).status_code == 202
        client.post(f"/jobs/{first.json()['id']}/cancel", headers=ONE)
        assert train(second, "c", ONE).status_code == 202
        resumed = client.post(f"/jobs/{first.json()['id']}/resume", headers=ONE)
        refused(resumed, "too_many_jobs")
        # A job that runs does not wait any more.
        job = JobStore(data / "jobs").get(first.json()["id"])
        waiting = next(j for j in JobStore(data / "jobs").unended() if j.model == "c")
        with waiting.lock():
            assert client.post(f"/jobs/{job.id}/resume", headers=ONE).status_code == 202


def test_bytes_of_corpora(data: Path) -> None:
    texts = [f"{number}. {TEXT}" for number in range(3)]
    most = sum(len(text) for text in texts[:2])
    with serve(data, api_keys=KEYS, quota_corpora_bytes=most) as client:

        def upload(text: str, headers: Headers = ONE) -> httpx2.Response:
            return client.post("/corpora", content=text, headers=headers)

        first = upload(texts[0])
        assert first.headers["ratelimit-policy"] == f'"corpora";q={most};qu="content-bytes"'
        assert first.headers["ratelimit"] == f'"corpora";r={len(texts[1])}'
        assert upload(texts[1]).headers["ratelimit"] == '"corpora";r=0'
        assert refused(upload(texts[2]), "too_many_bytes") == '"corpora";r=0'
        third = client.post("/train?model=a", content=texts[2], headers=ONE)
        refused(third, "too_many_bytes")
        assert len(client.get("/corpora", headers=ONE).json()["corpora"]) == 2
        # What is there already needs no room.
        assert upload(texts[0]).status_code == 201
        assert train(client, "a", ONE).status_code == 429
        assert upload(texts[2], OTHER).status_code == 201
        client.delete(f"/corpora/{first.json()['id']}", headers=OTHER)
        assert upload(texts[2]).headers["ratelimit"] == '"corpora";r=0'


def test_a_text_that_cannot_be_trained_on_takes_no_room(data: Path) -> None:
    with serve(data, api_keys=KEYS, quota_corpora_bytes=len(TEXT)) as client:
        short = client.post("/train?model=a", content="short", headers=ONE)
        problem(short, 422, "invalid_corpus")
        assert train(client, "a", ONE).status_code == 202


def test_models(data: Path) -> None:
    Registry(data / "models").publish(Reference("toy"), toy_checkpoint())
    with serve(data, api_keys=KEYS, quota_models=3) as client:
        package = client.get("/models/toy/download", headers=CHIEF).content

        def put(name: str) -> httpx2.Response:
            return client.post(f"/models/{name}", content=package, headers=CHIEF)

        first = put("a")
        assert first.headers["ratelimit-policy"] == '"models";q=3;qu="items"'
        assert first.headers["ratelimit"] == '"models";r=2'
        assert put("a:v1").headers["ratelimit"] == '"models";r=1'
        # A job is to publish one more.
        assert train(client, "b", CHIEF).status_code == 202
        refused(put("c"), "too_many_models")
        refused(train(client, "c", CHIEF), "too_many_models")
        # Others have their own, and what was there before is nobody's.
        assert train(client, "d", ONE).status_code == 202
        assert client.delete("/models/a:v1", headers=CHIEF).status_code == 204
        assert put("c").status_code == 201


def test_a_model_is_its_makers_whoever_has_the_name(data: Path) -> None:
    Registry(data / "models").publish(Reference("toy"), toy_checkpoint())
    with serve(data, quota_models=2, trusted_proxies="127.0.0.1") as client:
        package = client.get("/models/toy/download").content
        a, b = ({"X-Forwarded-For": f"192.0.2.{number}"} for number in (1, 2))

        def put(name: str, headers: Headers) -> httpx2.Response:
            return client.post(f"/models/{name}", content=package, headers=headers)

        job = train(client, "x", a).json()["id"]
        client.post(f"/jobs/{job}/cancel")
        Registry(data / "models").publish(Reference("x"), toy_checkpoint())
        # Another's tags under the name are that other's.
        for tag in ("v1", "v2"):
            assert put(f"x:{tag}", b).status_code == 201
        refused(put("x:v3", b), "too_many_models")
        assert put("a", a).headers["ratelimit"] == '"models";r=0'
        # Who deletes a name is not charged for what comes under it.
        client.delete("/models/x")
        job = train(client, "x", b).json()["id"]
        client.post(f"/jobs/{job}/cancel")
        Registry(data / "models").publish(Reference("x"), toy_checkpoint())
        assert put("a:2", a).headers["ratelimit"] == '"models";r=0'
        assert put("b", b).headers["ratelimit"] == '"models";r=0'


def test_a_job_that_waits_long_publishes_for_its_owner(data: Path) -> None:
    """Also where its model is deleted meanwhile."""
    Registry(data / "models").publish(Reference("toy"), toy_checkpoint())
    with serve(data, api_keys=KEYS, quota_models=2) as client:
        package = client.get("/models/toy/download", headers=CHIEF).content
        job = train(client, "x", CHIEF).json()["id"]
        for path in (data / "owners").rglob("*"):
            os.utime(path, (1, 1))
        registry = Registry(data / "models")
        registry.publish(Reference("x"), toy_checkpoint())
        assert client.delete("/models/x", headers=CHIEF).status_code == 204
        for tag in ("latest", "step-1"):
            registry.publish(Reference("x", tag), toy_checkpoint())
        client.post(f"/jobs/{job}/cancel", headers=CHIEF)
        refused(client.post("/models/b", content=package, headers=CHIEF), "too_many_models")


def test_texts_at_once(toys: Path) -> None:
    """By default a key leaves half of what others leave."""
    endless: dict[str, Any] = {"model": "toy", "length": 1_000_000}
    with serve(toys, api_keys=KEYS, max_streams=8) as client, ExitStack() as open_texts:

        def begin(headers: Headers) -> httpx2.Response:
            return open_texts.enter_context(
                client.stream("GET", "/sample", params=endless, headers=headers)
            )

        for left in (3, 2, 1, 0):
            answer = begin(ONE)
            assert answer.headers["ratelimit"] == f'"streams";r={left}'
        assert answer.headers["ratelimit-policy"] == '"streams";q=4;qu="concurrent-requests"'
        state = refused(client.get("/sample?model=toy", headers=ONE), "too_many_streams")
        assert state == '"streams";r=0'
        assert begin(OTHER).headers["ratelimit"] == '"streams";r=1'
        assert client.get("/sample?model=toy", headers=CHIEF).status_code == 200
    with (
        serve(toys, api_keys=KEYS, quota_streams=1) as client,
        client.stream("GET", "/sample", params=endless, headers=ONE) as text,
    ):
        assert text.headers["ratelimit"] == '"streams";r=0'
        body = {"model": "toy", "prompt": "a"}
        answer = client.post("/v1/completions", json=body, headers=ONE)
        assert answer.status_code == 429 and answer.json()["error"]


def test_requests_at_once(toys: Path) -> None:
    endless: dict[str, Any] = {"model": "toy", "length": 1_000_000}
    with serve(toys, api_keys=KEYS, quota_connections=2) as client:
        with (
            client.stream("GET", "/sample", params=endless, headers=ONE),
            client.stream("GET", "/sample", params=endless, headers=ONE),
        ):
            answer = client.get("/models", headers=ONE)
            problem(answer, 429, "too_many_connections")
            assert int(answer.headers["retry-after"]) > 0
            assert client.get("/models", headers=OTHER).status_code == 200
            assert client.get("/healthz", headers=ONE).status_code == 200
        eventually(lambda: client.get("/models", headers=ONE).status_code == 200)


def test_requests_at_once_of_an_address_behind_a_proxy(toys: Path) -> None:
    endless: dict[str, Any] = {"model": "toy", "length": 1_000_000}
    one, other = ({"X-Forwarded-For": f"192.0.2.{number}"} for number in (1, 2))
    with serve(toys, trusted_proxies="127.0.0.1", quota_connections=2) as client:
        with ExitStack() as texts:
            for headers in (one, one, {}, {}, {}):
                texts.enter_context(
                    client.stream("GET", "/sample", params=endless, headers=headers)
                )
            problem(client.get("/models", headers=one), 429, "too_many_connections")
            assert client.get("/models", headers=other).status_code == 200
            assert client.get("/models").status_code == 200
        eventually(lambda: client.get("/models", headers=one).status_code == 200)


def test_where_there_are_no_keys_it_is_an_address(data: Path) -> None:
    """And this machine's own user may have all of it."""

    def source(address: str) -> Headers:
        return {"X-Forwarded-For": address}

    limits: dict[str, Any] = {"quota_queued": 1, "quota_corpora_bytes": len(TEXT)}
    with serve(data, trusted_proxies="127.0.0.1", **limits) as client:
        assert train(client, "a", source("192.0.2.1")).status_code == 202
        refused(train(client, "b", source("192.0.2.1")), "too_many_jobs")
        assert train(client, "b", source("192.0.2.2")).status_code == 202
        assert train(client, "c", source("2001:db8::1")).status_code == 202
        refused(train(client, "d", source("2001:db8::2")), "too_many_jobs")
        longer = client.post("/corpora", content=TEXT + TEXT, headers=source("192.0.2.1"))
        refused(longer, "too_many_bytes")
        for model in ("e", "f", "g"):
            answer = train(client, model, {})
            assert answer.status_code == 202 and "ratelimit" not in answer.headers
        specs = [job.spec for job in JobStore(data / "jobs").unended()]
        owners = [spec["owner"] for spec in specs]
        assert len(set(owners)) == 4 and owners.count("") == 3
        assert not any("192" in owner for owner in owners)


def test_a_rate_is_told(toys: Path) -> None:
    with serve(toys, api_keys=KEYS, key_rate="5/hour") as client:
        answer = client.get("/models", headers=ONE)
        assert answer.headers["ratelimit-policy"] == '"requests";q=5;w=3600'
        assert answer.headers["ratelimit"].startswith('"requests";r=4;t=')
        text = client.get("/sample?model=toy&length=1", headers=ONE)
        assert '"requests";r=3;t=' in text.headers["ratelimit"]
        assert '"streams";r=' in text.headers["ratelimit"]
        for _ in range(3):
            client.get("/models", headers=ONE)
        assert refused(client.get("/models", headers=ONE), "rate_limited")
        assert client.get("/models", headers=OTHER).status_code == 200

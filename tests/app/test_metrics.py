"""``/metrics`` tells what happens, in a format that Prometheus' own parser reads."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.serving import TEXT, eventually, problem, serve, wrong_fields
from tests.toys import toy_checkpoint
from worker.gpus import Gpu
from worker.queue import Queue
from worker.vitals import Vitals


@pytest.fixture
def models(data: Path) -> Path:
    """A data directory with a model."""
    Registry(data / "models").publish(Reference("toy"), toy_checkpoint())
    return data


def figures(client: httpx2.Client) -> dict[str, float]:
    """Every sample by its name, and its labels if it has some."""
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return dict(_samples(response.text))


def _samples(text: str) -> Iterator[tuple[str, float]]:
    for family in text_string_to_metric_families(text):
        assert family.documentation and family.type != "unknown", family.name
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sample.labels.items())
            yield f"{sample.name}{{{labels}}}" if labels else sample.name, sample.value


def test_texts_and_models_are_counted(models: Path) -> None:
    with serve(models, max_streams=1) as client:
        before = figures(client)
        assert before["charloom_streams_open"] == before["charloom_characters_total"] == 0
        assert before["charloom_models_loaded"] == before["charloom_models_loaded_bytes"] == 0
        assert before["charloom_streams_limit"] == 1
        assert before["charloom_streams_failed_total"] == 0
        assert before["charloom_streams_gave_way_total"] == 0

        client.get("/sample", params={"model": "toy", "length": 3000})
        after = figures(client)
        assert after["charloom_characters_total"] == 3000
        assert after["charloom_models_loaded"] == 1
        assert after["charloom_models_loaded_bytes"] >= 4 * toy_checkpoint().config.parameters()
        assert after["charloom_first_character_seconds_count"] == 1
        assert after["charloom_tick_seconds_count"] >= 3
        assert (
            after["charloom_tick_seconds_bucket{le=+Inf}"] == after["charloom_tick_seconds_count"]
        )
        assert 0 < after["charloom_first_character_seconds_sum"] < 20

        with client.stream("GET", "/sample?model=toy&length=1000000") as running:
            chunks = running.iter_raw()
            assert next(chunks)
            eventually(lambda: figures(client)["charloom_rows_ticking"] == 1)
            problem(client.get("/sample?model=toy"), 503)
            now = figures(client)
            assert now["charloom_streams_open"] == now["charloom_streams_refused_total"] == 1
        eventually(lambda: figures(client)["charloom_streams_open"] == 0)
        eventually(lambda: figures(client)["charloom_rows_ticking"] == 0)


def test_jobs_and_the_queue_are_counted(data: Path, redis_url: str) -> None:
    with serve(data, redis_url) as client:
        names = ("a", "b", "c")
        jobs = [client.post("/train", params={"model": n}, content=TEXT).json() for n in names]
        client.post(f"/jobs/{jobs[0]['id']}/cancel")
        eventually(lambda: figures(client)["charloom_queue_length"] == 2)
        now = figures(client)
        assert now["charloom_jobs{status=queued}"] == 2
        assert now["charloom_jobs{status=cancelled}"] == 1
        assert now["charloom_jobs{status=running}"] == 0
        assert (now["charloom_redis_up"], now["charloom_workers"]) == (1, 0)


def test_gpus_are_told_once_each_with_what_is_known_of_them(
    data: Path, redis_url: str, queue: Queue
) -> None:
    with serve(data, redis_url) as client:
        assert figures(client)["charloom_workers_without_gpu"] == 0
        busy = Gpu("GPU-1", "0", "NVIDIA H200", 150 << 30, 3 << 30, 0.97, 61, 512.4)
        quiet = Gpu("MIG-1", "1:0", "NVIDIA H200 MIG 3g.71gb", 70 << 30, 0)
        queue.vitals.tell("1", Vitals("a", gpus=[busy, quiet]))
        queue.vitals.tell("2", Vitals("a", gpus=[busy]))
        queue.vitals.tell("3", Vitals("b", "it does not answer"))
        now = figures(client)
        assert now["charloom_workers_without_gpu"] == 1
        labels = "{gpu=0,host=a,name=NVIDIA H200}"
        told = {n.removeprefix("charloom_gpu_"): v for n, v in now.items() if labels in n}
        assert told == {
            f"memory_bytes{labels}": 150 << 30,
            f"memory_used_bytes{labels}": 3 << 30,
            f"utilisation_ratio{labels}": 0.97,
            f"temperature_celsius{labels}": 61,
            f"power_watts{labels}": 512.4,
        }
        assert [n for n in now if "gpu=1:0" in n and "memory" not in n] == []


def test_what_redis_knows_is_left_out_while_it_is_away(data: Path) -> None:
    with serve(data) as client:
        now = figures(client)
        assert now["charloom_redis_up"] == 0
        assert "charloom_queue_length" not in now and "charloom_workers" not in now
        assert now["charloom_jobs{status=queued}"] == 0


def test_two_servers_of_one_process_count_apart(models: Path) -> None:
    with serve(models) as one, serve(models) as two:
        one.get("/sample", params={"model": "toy", "length": 10})
        assert figures(one)["charloom_characters_total"] == 10
        assert figures(two)["charloom_characters_total"] == 0


def test_openmetrics_for_those_who_prefer_it(data: Path) -> None:
    with serve(data) as client:
        headers: Any = {"Accept": "application/openmetrics-text; version=1.0.0"}
        response = client.get("/metrics", headers=headers)
        assert response.headers["content-type"].startswith("application/openmetrics-text")
        assert response.text.endswith("# EOF\n")
        assert "verbose" in wrong_fields(client.get("/metrics?verbose=1"))

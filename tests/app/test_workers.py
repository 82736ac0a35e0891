"""Workers are listed with their GPUs, and with why one takes no job."""

from pathlib import Path

from tests.serving import serve, wrong_fields
from worker.gpus import Gpu
from worker.queue import Queue
from worker.vitals import Vitals


def test_workers_are_listed_with_their_gpus(data: Path, redis_url: str, queue: Queue) -> None:
    with serve(data, redis_url) as client:
        assert client.get("/workers").json() == {"workers": []}
        queue.vitals.tell("1", Vitals("a", gpus=[Gpu("GPU-1", "0", "NVIDIA H200", 9, 3, 0.5)]))
        queue.vitals.tell("2", Vitals("b", "No CUDA GPUs are available"))
        assert client.get("/workers").json()["workers"] == [
            {
                "host": "a",
                "trouble": None,
                "gpus": [
                    {
                        "id": "GPU-1",
                        "number": "0",
                        "name": "NVIDIA H200",
                        "memory_bytes": 9,
                        "memory_used_bytes": 3,
                        "utilisation": 0.5,
                        "temperature_celsius": None,
                        "power_watts": None,
                    }
                ],
            },
            {"host": "b", "trouble": "No CUDA GPUs are available", "gpus": []},
        ]
        assert "all" in wrong_fields(client.get("/workers?all=1"))


def test_without_redis_nobody_knows(data: Path) -> None:
    with serve(data) as client:
        assert client.get("/workers").json() == {"workers": None}

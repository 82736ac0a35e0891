"""Workers tell how they are, and what is not told again is forgotten."""

import socket

import pytest
import redis

from tests.serving import eventually
from worker import vitals
from worker.gpus import Gpu
from worker.queue import Queue
from worker.vitals import Pulse, Vitals

GPU = Gpu("GPU-1", "0", "NVIDIA H200", 150 << 30, 3 << 30, 0.97, 61, 512.4)


def test_what_workers_tell_is_known_in_the_order_of_their_hosts(queue: Queue) -> None:
    assert queue.vitals.all() == []
    first, second = Vitals("a", gpus=[GPU]), Vitals("b", "it does not answer")
    queue.vitals.tell("2", second)
    queue.vitals.tell("1", first)
    assert queue.vitals.all() == [first, second]
    queue.vitals.tell("2", Vitals("b"))
    assert queue.vitals.all() == [first, Vitals("b")]


def test_one_that_is_silent_is_forgotten(
    queue: Queue, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vitals, "SILENCE", 0.05)
    queue.vitals.tell("1", Vitals("a"))
    eventually(lambda: not queue.vitals.all())
    with redis.Redis.from_url(redis_url) as client:
        assert client.keys("charloom:vitals*") == []


@pytest.mark.parametrize(
    "written", ["", "7", "{}", '{"host": 1, "trouble": null, "gpus": []}', "\0"]
)
def test_what_a_stranger_wrote_is_left_out(queue: Queue, redis_url: str, written: str) -> None:
    queue.vitals.tell("1", Vitals("a"))
    queue.vitals.tell("2", Vitals("b"))
    with redis.Redis.from_url(redis_url) as client:
        (key,) = client.keys("charloom:vitals:*:1")
        client.set(key, written)
    assert queue.vitals.all() == [Vitals("b")]


def test_a_worker_tells_of_trouble_at_once_and_is_forgotten_when_it_ends(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vitals, "BEAT", 600)
    with Pulse(queue.vitals).shown() as pulse:
        eventually(lambda: queue.vitals.all() == [Vitals(socket.gethostname())])
        pulse.tell("it does not answer")
        eventually(lambda: [one.trouble for one in queue.vitals.all()] == ["it does not answer"])
        pulse.tell(None)
        eventually(lambda: [one.trouble for one in queue.vitals.all()] == [None])
    assert queue.vitals.all() == []

"""How the workers are, as each tells every few seconds in Redis: able to work, and on which GPUs.

A server may run on another machine, and sees no GPU of a worker's. What is not told again is
forgotten. Knows no job.
"""

import json
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import redis

from worker import gpus
from worker.gpus import Gpu
from worker.records import DamagedRecord, Records

BEAT = 2.0
"""Seconds between two signs of life."""

SILENCE = 10.0
"""Seconds after the last one, until a worker is forgotten."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """Of one worker: the name of its host, and the GPUs that it sees.

    ``trouble`` says why it takes no job, in words for people; None where it does.
    """

    host: str
    trouble: str | None = None
    gpus: list[Gpu] = field(default_factory=list)


_VITALS = Records(Vitals)


class VitalSigns:
    """The workers of a store. Methods raise ``redis.RedisError``."""

    def __init__(self, connection: "redis.Redis", store_id: str) -> None:
        self._redis = connection
        self._all = f"charloom:vitals:{store_id}"

    def tell(self, worker: str, vitals: Vitals) -> None:
        with self._redis.pipeline() as pipe:
            pipe.sadd(self._all, worker)
            pipe.set(self._key(worker), json.dumps(asdict(vitals)), px=int(1000 * SILENCE))
            pipe.execute()

    def forget(self, *workers: str) -> None:
        with self._redis.pipeline() as pipe:
            pipe.srem(self._all, *workers)
            pipe.delete(*map(self._key, workers))
            pipe.execute()

    def all(self) -> list[Vitals]:
        """Those of all workers, by their hosts."""
        members: Any = self._redis.smembers(self._all)
        workers = sorted(member.decode() for member in members)
        told: Any = self._redis.mget([self._key(worker) for worker in workers]) if workers else []
        if gone := [worker for worker, data in zip(workers, told, strict=True) if data is None]:
            self.forget(*gone)
        found = []
        for data in told:
            # Anyone who may write to Redis may have written it.
            with suppress(DamagedRecord):
                found += [_VITALS.parse(data, "a worker's vitals")] if data else []
        return sorted(found, key=lambda vitals: vitals.host)

    def _key(self, worker: str) -> str:
        return f"{self._all}:{worker}"


class Pulse:
    """Tells how this worker is, in a thread of its own, which a driver that hangs may stop."""

    def __init__(self, signs: VitalSigns) -> None:
        self._trouble: str | None = None
        self._signs = signs
        self._worker = secrets.token_hex(8)
        self._woken = threading.Event()
        self._is_over = False

    @contextmanager
    def shown(self) -> Iterator["Pulse"]:
        thread = threading.Thread(target=self._beat, name="pulse", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._is_over = True
            self._woken.set()
            thread.join(BEAT)
            with suppress(redis.RedisError):
                self._signs.forget(self._worker)

    def tell(self, trouble: str | None) -> None:
        """Tells soon that there is trouble, or that it is over."""
        if trouble != self._trouble:
            self._trouble = trouble
            self._woken.set()

    def _beat(self) -> None:
        while not self._is_over:
            self._woken.clear()
            vitals = Vitals(socket.gethostname(), self._trouble, gpus.visible())
            if not self._is_over:
                with suppress(redis.RedisError):
                    self._signs.tell(self._worker, vitals)
            self._woken.wait(BEAT)

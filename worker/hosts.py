"""Whether the locks of the data directory reach all hosts that work there now.

Each server and each worker holds a lock on a file of its own, ``hosts/<id>``, and tells Redis every
few seconds that it is alive. At start, a process tries the lock of every live one. If it gets one,
or finds no such file, the two see different disks, or a file system whose locks stay on one host:
then nothing keeps two processes from working on one job, and it must not start. It looks again for
some seconds once Redis answers, which may have been away, or come back without the others: then the
younger one stops.

Knows no job.
"""

import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis

from models import locks
from models.errors import CharloomError
from models.places import make_directory, names_in
from worker.connection import connect
from worker.data import DataDirectory
from worker.machine import Process

BEAT = 1.0
"""Seconds between two signs of life."""

LOOKS = 4
"""Beats after which a process knows of all others, once Redis answers."""

SILENCE = 10.0
"""Seconds after the last one, until a process counts as dead or frozen."""


class LocksStayHere(CharloomError):
    """Locks do not span the hosts that are alive."""


@contextmanager
def present(data: DataDirectory, redis_url: str) -> Iterator[None]:
    """Shows during the block that this process works on a data directory, if it may.

    While Redis is away it may: that is checked when Redis is back. If it may not then, the block is
    interrupted as by SIGINT.

    Raises:
        LocksStayHere: it may not.
    """
    if not data.storage.shares_locks:
        # Each host has a disk of its own.
        yield
        return
    with connect(redis_url) as connection:
        presence = Presence(data, connection)
        with presence.shown():
            with suppress(redis.RedisError):
                presence.check()
            presence.looks = LOOKS
            try:
                yield
            finally:
                if presence.refusal is not None:
                    raise presence.refusal from None


class Presence:
    """This process among those that work on one data directory."""

    def __init__(self, data: DataDirectory, connection: "redis.Redis") -> None:
        self._data = data
        self._redis = connection
        self._id = secrets.token_hex(8)
        self._all = f"charloom:hosts:{data.store_id()}"
        self._beats = 0
        self._gone = threading.Event()
        self.looks = 0
        self.refusal: LocksStayHere | None = None

    def check(self, *, only_older: bool = False) -> None:
        """Tries the lock of each process that is alive; waits to see whether one is, if need be.

        Args:
            only_older: younger ones do not count, which are refused themselves.

        Raises:
            LocksStayHere: a process is alive whose lock is not seen here.
            redis.RedisError: Redis is away.
        """
        for other in self._others():
            is_seen = locks.is_held(self._file(other))
            if not is_seen and self._is_alive(other, self._beats if only_older else 0):
                raise LocksStayHere(
                    f"locks in {self._data.root} do not reach all hosts: another server or worker "
                    "uses it, but its lock is not seen here. Use a file system whose locks span "
                    "hosts, mounted with them (NFS without nolock and local_lock, CephFS), or a "
                    "data directory of its own for each host"
                )

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Holds the lock and tells Redis of it during the block, also after an outage."""
        make_directory(self._data.hosts)
        beating = threading.Thread(target=self._beat, name="presence", daemon=True)
        with locks.held(self._file(self._id), SILENCE):
            try:
                with suppress(redis.RedisError):
                    self._tell()
                beating.start()
                yield
            finally:
                self._gone.set()
                beating.join()
                with suppress(redis.RedisError):
                    self._forget(self._id)

    def _file(self, name: str) -> Path:
        return self._data.hosts / name

    def _key(self, name: str) -> str:
        return f"{self._all}:{name}"

    def _beat(self) -> None:
        while not self._gone.wait(BEAT):
            if self.refusal is not None:
                self._interrupt()
                continue
            try:
                self._tell()
                if self.looks:
                    self.check(only_older=True)
                    self.looks -= 1
            except LocksStayHere as error:
                self.refusal = error
            except redis.RedisError:
                continue

    def _interrupt(self) -> None:
        """Interrupts the block, again and again: at its start a signal may get lost."""
        os.kill(os.getpid(), signal.SIGINT)
        self._gone.wait(SILENCE)

    def _tell(self) -> None:
        self._beats += 1
        process = Process.this()
        sign = f"{self._beats}:{process.machine}:{process.pid}"
        with self._redis.pipeline() as pipe:
            pipe.sadd(self._all, self._id)
            pipe.set(self._key(self._id), sign, px=int(1000 * SILENCE))
            pipe.execute()

    def _others(self) -> list[str]:
        """Ids of the others; what is left of dead ones is removed."""
        known: Any = self._redis.smembers(self._all)
        names = {member.decode() for member in known}
        for name in names_in(self._data.hosts):
            if name not in names and not locks.is_held(self._file(name)):
                with suppress(OSError):
                    self._file(name).unlink()
        return sorted(names - {self._id})

    def _is_alive(self, name: str, age: int) -> bool:
        """Whether a process of some age keeps giving signs of life; forgets it if it does not."""
        first = self._sign(name)
        while (sign := self._sign(name)) is not None:
            beats, machine, pid = sign.split(":")
            if sign != first:
                # It may have ended in good order, or taken its lock, meanwhile.
                return int(beats) >= age and not locks.is_held(self._file(name))
            if Process(machine, int(pid)).is_gone():
                break
            time.sleep(BEAT / 20)
        self._forget(name)
        return False

    def _sign(self, name: str) -> str | None:
        found: Any = self._redis.get(self._key(name))
        return found.decode() if found else None

    def _forget(self, name: str) -> None:
        with suppress(OSError):
            self._file(name).unlink()
        with self._redis.pipeline() as pipe:
            pipe.srem(self._all, name)
            pipe.delete(self._key(name))
            pipe.execute()

"""`charloom up`: Redis, workers and server under one supervisor, and the lines that announce them.

Knows which processes the service consists of and what they need from the environment; nothing of
what they do.
"""

import asyncio
import http.client
import os
import platform
import socket
import sys
import webbrowser
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app import __version__
from app.supervisor import loopback, valkey
from app.supervisor.errors import Misconfigured, UserError
from app.supervisor.installation import ROOT
from app.supervisor.lock import data_lock
from app.supervisor.processes import Program, Supervisor, say
from worker import gpus, logs
from worker.data import DataDirectory, DataError, open_data
from worker.settings import NICENESS, VARIABLES, SettingsError, WorkerSettings

SERVER = (sys.executable, "-m", "app")
WORKER = (sys.executable, "-m", "worker")

DRAIN = "CHARLOOM_DRAIN_SECONDS"

CLIENTS = {"CHARLOOM_API_KEY", "CHARLOOM_URL"}
"""Variables of commands, which no part of the service needs."""


@dataclass(frozen=True, slots=True)
class UpOptions:
    """``data`` is absolute; ``port`` 0 takes a free one; ``insecure`` needs keys nowhere.

    ``workers`` that are ``auto`` are one for each GPU, which see no other; without GPUs, one.
    """

    host: str
    port: int
    data: Path
    workers: int | Literal["auto"] = 1
    open_page: bool = False
    insecure: bool = False


def bring_up(
    options: UpOptions, server: Sequence[str] = SERVER, worker: Sequence[str] = WORKER
) -> None:
    """Runs until a signal stops it. Raises UserError before anything has been started."""
    host, data = options.host, options.data
    _check_settings()
    keys = bool(os.environ.get("CHARLOOM_API_KEYS"))
    if reason := loopback.refusal(host, keys=keys, insecure=options.insecure):
        raise Misconfigured(reason)
    port = options.port or free_port(host)
    url = browser_url(host, port)
    with ExitStack() as held:
        held.enter_context(holding(data, url))
        free_port(host, port)
        stages: list[list[Program]] = []
        redis_url = os.environ.get("CHARLOOM_REDIS_URL")
        if not redis_url:
            redis = embedded_redis(DataDirectory(data).redis)
            held.callback(redis.stop)
            stages.append([redis_program(redis)])
            redis_url = redis.url
        else:
            _check_redis(redis_url)
        shared = {
            "CHARLOOM_DATA": str(data),
            "CHARLOOM_REDIS_URL": redis_url,
            "PYTHONUNBUFFERED": "1",
            # Lines are for people unless the operator asks for JSON: each gets its program's name.
            logs.VARIABLE: os.environ.get(logs.VARIABLE) or "text",
        }
        own = {
            "CHARLOOM_HOST": host,
            "CHARLOOM_PORT": str(port),
            "CHARLOOM_INSECURE": str(int(options.insecure)),
        }
        stages.append(_worker_programs(options.workers, worker, shared))
        stages.append([_server_program(server, url, shared | own)])
        asyncio.run(Supervisor(stages, ROOT).run(lambda: announce(url, data, options.open_page)))


def _check_settings() -> None:
    """Raises Misconfigured for what no worker would start with, and the service do without."""
    url = os.environ.get("CHARLOOM_REDIS_URL") or "unix://"
    try:
        WorkerSettings.from_environment({**os.environ, "CHARLOOM_REDIS_URL": url})
    except SettingsError as error:
        raise Misconfigured(str(error)) from None


def _server_program(command: Sequence[str], url: str, environment: Mapping[str, str]) -> Program:
    # Clients continue their texts once it is back: whoever presses Ctrl-C need not wait.
    drain = {DRAIN: os.environ.get(DRAIN) or "0"}
    return Program(
        name="server",
        command=command,
        environment=_inherited(lambda name: name not in CLIENTS) | dict(environment) | drain,
        ready=lambda: is_healthy(url),
        essential=True,
        drains=_drain_seconds(),
    )


def _drain_seconds() -> float:
    """For how long the server may drain; it says itself what is wrong with the setting."""
    try:
        return max(0.0, float(os.environ.get(DRAIN) or 0))
    except ValueError:
        return 0.0


def _check_redis(url: str) -> None:
    """Raises Misconfigured where a Redis refuses us."""
    # Takes as long to import as all else here, and is needed for others' Redis only.
    from worker.connection import refusal_at

    if reason := refusal_at(url):
        raise Misconfigured(reason)


def _inherited(needs: Callable[[str], bool]) -> dict[str, str]:
    """This process's environment, but only the ``CHARLOOM_…`` variables that a program needs."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("CHARLOOM_") or needs(name)
    }


@contextmanager
def holding(data: Path, url: str) -> Iterator[None]:
    """Creates the data directory if need be and holds it. Raises UserError."""
    with ExitStack() as held:
        try:
            open_data(data, say, __version__)
            held.enter_context(data_lock(data, url))
        except DataError as error:
            raise UserError(str(error)) from None
        except OSError as error:
            raise UserError(f"cannot keep data in {data}: {error.strerror}") from None
        yield


def _worker_programs(
    workers: int | Literal["auto"], command: Sequence[str], shared: Mapping[str, str]
) -> list[Program]:
    """The workers, and which GPUs each one sees where that is theirs to say."""
    own: list[dict[str, str]]
    if workers == "auto":
        own = [{gpus.VISIBLE: gpu} for gpu in gpus.for_workers()] or [{}]
    else:
        own = [{} for _ in range(workers)]
    inherited = _inherited(lambda name: name in VARIABLES)
    return [
        Program(
            name="worker" if len(own) == 1 else f"worker {number}",
            command=command,
            environment={**inherited, **shared, **sees},
            nice=NICENESS,
        )
        for number, sees in enumerate(own, 1)
    ]


def embedded_redis(directory: Path) -> valkey.EmbeddedRedis:
    try:
        return valkey.EmbeddedRedis(directory)
    except OSError as error:
        raise UserError(f"cannot keep Redis's data in {directory}: {error.strerror}") from None


def redis_program(redis: valkey.EmbeddedRedis) -> Program:
    return Program(
        name="redis",
        command=redis.command,
        environment=_inherited(lambda _: False) | valkey.LOCALE,
        ready=redis.answers,
        noise=valkey.NOISE,
        repair=redis.repair,
    )


def free_port(host: str, port: int = 0) -> int:
    """Returns ``port``, or a free one for 0, if a server can listen on it. Raises UserError."""
    family, kind, _, _, where = _resolve(host, port)[0]
    with socket.socket(family, kind) as probe:
        # As the server does: a port whose last connections are just ending counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
        except OSError as error:
            raise UserError(f"cannot listen on {host}, port {port}: {error.strerror}") from None
        return int(probe.getsockname()[1])


def _resolve(
    host: str, port: int
) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[object, ...]]]:
    try:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except OSError as error:
        raise UserError(f"cannot listen on {host}: {error.strerror}") from None


def browser_url(host: str, port: int) -> str:
    """Returns the URL at which this machine finds the server, also if it listens everywhere."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_healthy(url: str) -> bool:
    # Not urllib's opener, which asks a proxy that the environment names.
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def announce(url: str, data: Path, open_page: bool) -> None:
    say(announcement(url, data))
    if open_page and not webbrowser.open(url):
        say("cannot open a browser")


def announcement(url: str, data: Path) -> str:
    key = "-H 'Authorization: Bearer KEY' " if os.environ.get("CHARLOOM_API_KEYS") else ""
    return f"""
charloom is at {url} (press Ctrl-C to stop it)
  device  {device()}
  data    {data}
  train   curl {key}--data-binary @your.txt '{url}/train?model=mine'
  sample  curl {key}-N '{url}/sample?model=shakespeare&temperature=0.8'
"""


def device() -> str:
    """Describes the device that workers train on, as far as it shows without importing torch."""
    if gpus.can_compute() and (seen := gpus.visible()):
        kinds = Counter(gpu.name for gpu in seen)
        return ", ".join(f"{n} × {name}" if n > 1 else name for name, n in kinds.items())
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count()
    return f"CPU, {cores} cores, {_processor()}"


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(": ")[2]
    return platform.processor() or platform.machine()

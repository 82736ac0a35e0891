"""`charloom up`: Redis, workers and server under one supervisor, and what is told about them.

Knows which processes the service is made of and what they need from the environment; nothing of
what they do.
"""

import asyncio
import http.client
import ipaddress
import os
import platform
import socket
import subprocess
import sys
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from app.supervisor import valkey
from app.supervisor.processes import AlreadyRunning, Service, Supervisor, data_lock, say
from worker import logs

ROOT = Path(__file__).resolve().parents[2]
"""The checkout: where the children run, and where data is kept by default."""

SERVER = (sys.executable, "-m", "app")
WORKER = (sys.executable, "-m", "worker")

WORKER_NICENESS = 10
"""So that sampling stays smooth while training takes the cores that are left."""


class Refusal(RuntimeError):
    """Why it does not start, in one line for the user."""


@dataclass(frozen=True, slots=True)
class Options:
    """``data`` is absolute; ``port`` 0 takes a free one; ``insecure`` needs no keys anywhere."""

    host: str
    port: int
    data: Path
    workers: int = 1
    open_page: bool = False
    insecure: bool = False


def bring_up(
    options: Options, server: Sequence[str] = SERVER, worker: Sequence[str] = WORKER
) -> None:
    """Runs until a signal ends it. Raises `Refusal` before anything has been started."""
    host, data = options.host, options.data
    if not (options.insecure or os.environ.get("CHARLOOM_API_KEYS") or is_loopback(host)):
        raise Refusal(f"refusing {host} without keys: set CHARLOOM_API_KEYS, or say --insecure")
    port = options.port or free_port(host)
    url = browser_url(host, port)
    with ExitStack() as held:
        held.enter_context(holding(data, url))
        free_port(host, port)
        stages: list[list[Service]] = []
        redis_url = os.environ.get("CHARLOOM_REDIS_URL")
        if not redis_url:
            redis = embedded_redis(data / "redis")
            held.callback(redis.stop)
            stages.append([redis_service(redis)])
            redis_url = redis.url
        environment = {
            "CHARLOOM_DATA": str(data),
            "CHARLOOM_REDIS_URL": redis_url,
            "CHARLOOM_HOST": host,
            "CHARLOOM_PORT": str(port),
            "CHARLOOM_INSECURE": str(int(options.insecure)),
            "PYTHONUNBUFFERED": "1",
            # Lines are for people unless somebody says otherwise: each gets its service's name.
            logs.VARIABLE: os.environ.get(logs.VARIABLE) or "text",
        }
        stages.append(
            [
                Service(name=name, command=worker, environment=environment, nice=WORKER_NICENESS)
                for name in _worker_names(options.workers)
            ]
        )
        stages.append(
            [
                Service(
                    name="server",
                    command=server,
                    environment=environment,
                    ready=lambda: is_healthy(url),
                )
            ]
        )
        asyncio.run(Supervisor(stages, ROOT).run(lambda: announce(url, data, options.open_page)))


@contextmanager
def holding(data: Path, url: str) -> Iterator[None]:
    """Has the data directory, made if need be, to itself; else raises `Refusal`."""
    with ExitStack() as held:
        try:
            data.mkdir(parents=True, exist_ok=True)
            held.enter_context(data_lock(data, url))
        except AlreadyRunning as running:
            raise Refusal(str(running)) from None
        except OSError as error:
            raise Refusal(f"cannot keep data in {data}: {error.strerror}") from None
        yield


def _worker_names(count: int) -> list[str]:
    return ["worker"] if count == 1 else [f"worker {n + 1}" for n in range(count)]


def embedded_redis(directory: Path) -> valkey.EmbeddedRedis:
    try:
        return valkey.EmbeddedRedis(directory)
    except (valkey.RedisUnavailable, OSError) as error:
        raise Refusal(str(error)) from None


def redis_service(redis: valkey.EmbeddedRedis) -> Service:
    return Service(
        name="redis",
        command=redis.command,
        environment=valkey.ENVIRONMENT,
        ready=redis.answers,
        noise=valkey.NOISE,
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on ``host``."""
    return all(
        ipaddress.ip_address(str(where[0]).partition("%")[0]).is_loopback
        for *_, where in _resolve(host, 0)
    )


def free_port(host: str, port: int = 0) -> int:
    """``port``, or any for 0, if a server could listen on it; else raises `Refusal`."""
    family, kind, _, _, where = _resolve(host, port)[0]
    with socket.socket(family, kind) as probe:
        # As the server will: a port whose last connections are just ending counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
        except OSError as error:
            raise Refusal(f"cannot listen on {host}, port {port}: {error.strerror}") from None
        return int(probe.getsockname()[1])


def _resolve(
    host: str, port: int
) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[object, ...]]]:
    try:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except OSError as error:
        raise Refusal(f"cannot listen on {host}: {error.strerror}") from None


def browser_url(host: str, port: int) -> str:
    """Where this machine finds the server; "every address" is none to visit."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_healthy(url: str) -> bool:
    # Not urllib's opener, which would ask a proxy that the environment names.
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
        say("no browser could be opened")


def announcement(url: str, data: Path) -> str:
    key = "-H 'Authorization: Bearer KEY' " if os.environ.get("CHARLOOM_API_KEYS") else ""
    return f"""
charloom is at {url} (Ctrl-C stops it)
  device  {device()}
  data    {data}
  train   curl {key}--data-binary @your.txt '{url}/train?model=mine'
  sample  curl {key}-N '{url}/sample?model=shakespeare&temperature=0.8'
"""


def device() -> str:
    """What workers will train on, as far as can be told without the seconds of importing torch."""
    with suppress(OSError, subprocess.SubprocessError):
        if not version("torch").endswith("+cpu"):
            listed = subprocess.run(
                ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=True
            ).stdout
            # "GPU 0: NVIDIA H100 80GB HBM3 (UUID: …)"
            if gpus := [line.partition(": ")[2].partition(" (")[0] for line in listed.splitlines()]:
                return ", ".join(gpus)
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count()
    return f"CPU, {cores} cores, {_processor()}"


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(": ")[2]
    return platform.processor() or platform.machine()

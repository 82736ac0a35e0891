"""A fleet on one kernel: servers and workers with a disk, a name and, for workers, a network each.

They share a Redis that wants a password, and a bucket. A proxy is in front of the servers.
"""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from app.supervisor.valkey import server_binary
from tests.buckets import URL, S3Server
from tests.machines import another_machine
from tests.proxies import documented, free_port, nginx
from tests.serving import eventually
from tests.support import ROOT, TOY

PASSWORD = "p %@:/#'\"$(id)`é"

OPTIONS: dict[str, Any] = {
    "network": "lstm",
    "num_layers": 1,
    "hidden_size": 16,
    "batch_size": 8,
    "sequence_length": 32,
    "dropout": 0.1,
    "learning_rate": 0.005,
    # Otherwise measured, and another for a twin that trains beside other work.
    "precision": "fp32",
    "evaluate_every": 50,
    "sample_at": "50",
}


class Network:
    """A bridge, and networks that reach the machine through it."""

    def __init__(self) -> None:
        mark = secrets.token_hex(2)
        self._bridge = f"cl{mark}"
        self._net = f"10.{secrets.randbelow(100) + 100}.{secrets.randbelow(250)}"
        self._spaces: list[str] = []
        self.address = f"{self._net}.1"
        if not _ip("link", "add", self._bridge, "type", "bridge"):
            pytest.skip("nobody but root may make a network")
        _ip("addr", "add", f"{self.address}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")

    def space(self) -> list[str]:
        """The beginning of a command that runs in a network of its own."""
        number = len(self._spaces) + 2
        name = f"{self._bridge}-{number}"
        own, ours = f"{self._bridge}e{number}", f"{self._bridge}b{number}"
        self._spaces.append(name)
        inside = ("-n", name)
        done = (
            _ip("netns", "add", name)
            and _ip("link", "add", own, "type", "veth", "peer", "name", ours)
            and _ip("link", "set", own, "netns", name)
            and _ip("link", "set", ours, "master", self._bridge, "up")
            and _ip(*inside, "addr", "add", f"{self._net}.{number}/24", "dev", own)
            and _ip(*inside, "link", "set", own, "up")
            and _ip(*inside, "link", "set", "lo", "up")
        )
        assert done, "a network cannot be made"
        return ["ip", "netns", "exec", name]

    def close(self) -> None:
        for name in self._spaces:
            _ip("netns", "del", name)
        _ip("link", "del", self._bridge)


def _ip(*arguments: str) -> bool:
    return subprocess.run(["ip", *arguments], capture_output=True, check=False).returncode == 0


class PrivateRedis:
    """A Redis as ``deploy/`` starts it, which may be stopped and come back empty."""

    def __init__(self, folder: Path, address: str) -> None:
        self._folder = folder
        self._folder.mkdir()
        (folder / "valkey-server").symlink_to(server_binary())
        self._address, self._port = address, free_port()
        self.url = f"redis://charloom:{quote(PASSWORD, safe='')}@{address}:{self._port}/0"
        self._process: subprocess.Popen[bytes] | None = None
        self._lives = 0

    def start(self) -> None:
        self._lives += 1
        environment = {
            "PATH": f"{self._folder}:{os.environ['PATH']}",
            "TMPDIR": str(self._folder),
            "REDIS_PASSWORD": PASSWORD,
            # Of each life: what the one before knew is gone.
            "REDIS_DATA": str(self._folder / f"data-{self._lives}"),
            "REDIS_PORT": str(self._port),
            "LC_ALL": "C",
        }
        script = ROOT / "deploy" / "kubernetes" / "base" / "redis-start.sh"
        with (self._folder / "log").open("ab") as log:
            command = ["sh", str(script)]
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


@dataclass
class Node:
    """A server or a worker on a host of its own."""

    name: str
    disk: Path
    command: Sequence[str]
    environment: dict[str, str]
    port: int = 0
    frozen_until: float = 0.0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def log(self) -> Path:
        return self.disk.with_suffix(".log")

    def said(self) -> str:
        return self.log.read_text()

    def pids(self) -> list[int]:
        """The process and all below it, children last."""
        assert self.process
        found = [self.process.pid]
        for pid in found:
            with suppress(OSError):
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                found += map(int, children)
        return found

    def send(self, number: int) -> None:
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        assert self.process
        self.process.wait()

    def end(self) -> None:
        if self.process and self.process.poll() is None:
            self.send(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


@dataclass
class Fleet:
    """Two servers, two workers and what they share."""

    folder: Path
    lease: float = 5.0
    bucket: S3Server = field(init=False)
    redis: PrivateRedis = field(init=False)
    servers: list[Node] = field(default_factory=list)
    workers: list[Node] = field(default_factory=list)
    clients: list[httpx2.Client] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator["Fleet"]:
        with ExitStack() as stack:
            network = Network()
            stack.callback(network.close)
            self.bucket = stack.enter_context(S3Server(network.address).running())
            self.redis = PrivateRedis(self.folder / "redis", network.address)
            self.redis.start()
            stack.callback(self.redis.stop)
            for number in range(2):
                server = self._server(number)
                worker = self._worker(number, network)
                for node in (server, worker):
                    node.start()
                    stack.callback(node.end)
                client = httpx2.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=20)
                self.clients.append(stack.enter_context(client))
            yield self

    @contextmanager
    def proxy(self) -> Iterator[httpx2.Client]:
        """A client of the proxy in front of both servers."""
        places = "".join(f"server 127.0.0.1:{node.port} max_fails=0; " for node in self.servers)
        before = f"upstream fleet {{ {places} }}"
        # The directives of a server may not hold those of a group of servers.
        lines = documented("nginx").replace("http://127.0.0.1:8000", "http://fleet")
        folder = self.folder / "nginx"
        folder.mkdir()
        with nginx(folder, self.clients[0], lines, before) as client:
            yield client

    def _environment(self, disk: Path) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("CHARLOOM_", "AWS_"))}
        return (
            clean
            | self.bucket.environment
            | {
                "CHARLOOM_STORAGE": URL,
                "CHARLOOM_DATA": str(disk),
                "CHARLOOM_REDIS_URL": self.redis.url,
                "CHARLOOM_LEASE_SECONDS": f"{self.lease:g}",
                "CHARLOOM_THREADS": "1",
                "CHARLOOM_PRETRAINED": "/nowhere",
                "CHARLOOM_LOG": "text",
            }
        )

    def _server(self, number: int) -> Node:
        disk = self.folder / f"server-{number}"
        port = free_port()
        environment = self._environment(disk) | {"CHARLOOM_PORT": str(port)}
        node = Node(disk.name, disk, [sys.executable, "-m", "app"], environment, port)
        self.servers.append(node)
        return node

    def _worker(self, number: int, network: Network) -> Node:
        disk = self.folder / f"worker-{number}"
        prefix = [*network.space(), *another_machine(self.folder)]
        command = [*prefix, sys.executable, "-m", "worker"]
        node = Node(disk.name, disk, command, self._environment(disk))
        self.workers.append(node)
        return node

    def is_up(self) -> bool:
        """Whether all four are there."""
        with suppress(httpx2.HTTPError):
            found = [client.get("/readyz").json() for client in self.clients]
            return all(one.get("workers") == 2 for one in found)
        return False

    def train(self, client: httpx2.Client, model: str, **options: Any) -> str:
        """The id of a job that was answered with 202, however often that takes."""
        query = {"model": model} | OPTIONS | options
        headers = {"Idempotency-Key": model}

        def accepted() -> str | None:
            with suppress(httpx2.HTTPError):
                answer = client.post("/train", params=query, content=TOY, headers=headers)
                if answer.status_code == 202:
                    job_id: str = answer.json()["id"]
                    return job_id
                assert answer.status_code in (502, 503), answer.text
            return None

        found: str = eventually(accepted, 60)
        return found

    def holder(self, job_id: str) -> Node | None:
        """The worker whose log says that it took the job last."""
        taken = {node.said().rfind(f"job {job_id}: taken"): node for node in self.workers}
        return taken[max(taken)] if max(taken) >= 0 else None

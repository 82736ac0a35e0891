"""A whole service in processes of its own, as ``./charloom up`` starts it."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import redis

from tests.serving import eventually
from tests.support import ROOT, TOY

UP = (sys.executable, "-m", "app.cli", "up")

SIZES: dict[str, Any] = {
    "network": "lstm",
    "num_layers": 1,
    "hidden_size": 24,
    "batch_size": 8,
    "sequence_length": 32,
    "dropout": 0.1,
    "learning_rate": 0.005,
    "max_steps": 1200,
    "evaluate_every": 100,
    "sample_at": "100",
}
KINDS = {
    "trainer": r"-m worker\.trainer\.horse",
    "worker": r"-m worker$",
    "server": r"-m app$",
    "Valkey": r"valkey-server|redis-server",
}


@dataclass
class Up:
    """A whole service: what `./charloom up` starts, its log, and its processes by their kind."""

    data: Path
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10)
        self.start()

    def start(self) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("CHARLOOM_")}
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*UP, "--port", str(self.port), "--data", str(self.data)],
                cwd=ROOT,
                env=clean
                | {"CHARLOOM_THREADS": "1", "CHARLOOM_PRETRAINED": "/nowhere"}
                | dict(self.environment),
                stdout=output,
                stderr=output,
            )

    def pids(self) -> dict[str, int]:
        """Those that have become what they are: a child is a tether at first."""
        found = {}
        todo = [self.process.pid]
        for parent in todo:
            with contextlib.suppress(OSError):
                children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
                todo += map(int, children)
        for pid in todo[1:]:
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                for kind, pattern in KINDS.items():
                    if "tether.py" not in command and re.search(pattern, command.strip()):
                        found[kind] = pid
        return found

    def answers(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx2.HTTPError:
            return False

    def flush(self) -> None:
        """Empties Redis."""
        path = (self.data / "redis" / "socket").read_text()
        with redis.Redis(unix_socket_path=path) as client:
            client.flushall()

    def accept(self, model: str, **options: Any) -> str:
        """The id of a job that was answered with 202, however often that takes."""
        query = {"model": model} | SIZES | options
        headers = {"Idempotency-Key": model}

        def accepted() -> str | None:
            try:
                answer = self.client.post("/train", params=query, content=TOY, headers=headers)
            except httpx2.HTTPError:
                return None
            assert answer.status_code == 202, answer.text
            job_id: str = answer.json()["id"]
            return job_id

        found: str = eventually(accepted, 60)
        return found

    def stop(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

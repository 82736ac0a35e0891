"""What the container files promise, checked without a container engine."""

import fnmatch
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    composed: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.yml")
    return dict(composed["services"])


def test_the_dockerfile_is_free_of_known_faults() -> None:
    subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], check=True, timeout=60)


def test_the_compose_file_is_one() -> None:
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    subprocess.run([*checker, ROOT / "docker-compose.yml"], check=True, timeout=60)


def test_only_the_server_can_be_reached_and_only_from_this_machine(
    services: dict[str, Any],
) -> None:
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports == {"server": ["127.0.0.1:8000:8000"]}


def test_no_service_can_do_more_than_it_must(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"] and service["pids_limit"] and service["stop_grace_period"], name


def test_redis_keeps_everything_and_is_healthy_before_it_is_used(services: dict[str, Any]) -> None:
    command = " ".join(services["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    for name in services.keys() - {"redis"}:
        assert services[name]["depends_on"] == {"redis": {"condition": "service_healthy"}}, name


def test_server_and_workers_share_the_data(services: dict[str, Any]) -> None:
    assert {str(services[name]["volumes"]) for name in services.keys() - {"redis"}} == {
        "['data:/data']"
    }


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("models/__init__.py", True),
        ("app/cli.py", True),
        ("worker/__main__.py", True),
        ("models/__pycache__/network.pyc", False),
        ("data/jobs/1/spec.json", False),
        (".git/config", False),
        (".venv/bin/python", False),
        (".env", False),
    ],
)
def test_the_image_gets_the_code_and_nothing_else(path: str, sent: bool) -> None:
    """As the engine decides it: the last pattern that matches the path or a folder above wins."""
    ignored = False
    above = [path, *map(str, Path(path).parents)]
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line.startswith("#"):
            continue
        pattern = line.removeprefix("!").removesuffix("/").replace("**/", "*")
        if any(fnmatch.fnmatchcase(folder, pattern) for folder in above if folder != "."):
            ignored = not line.startswith("!")
    assert sent is not ignored

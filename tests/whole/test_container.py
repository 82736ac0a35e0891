"""What the container files promise, checked without a container engine.

``deploy/try-image.sh`` builds the image and runs it, where there is an engine.
"""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from app.settings import ServerSettings
from app.terminal import ending
from worker.settings import VARIABLES

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
COMPOSE = (ROOT / "docker-compose.yml", ROOT / "deploy" / "compose.tls.yml")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    composed: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.yml")
    return dict(composed["services"])


def test_the_dockerfile_is_free_of_known_faults() -> None:
    subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], check=True, timeout=60)


def test_the_compose_files_are_some() -> None:
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    subprocess.run([*checker, *COMPOSE], check=True, timeout=60)


def test_each_variable_of_compose_is_explained_and_each_explained_one_is_read() -> None:
    read = set()
    for path in COMPOSE:
        text = path.read_text()
        read |= set(re.findall(r"\$\{(\w+)", text))
        # Without a value, it is the one outside.
        read |= set(re.findall(r"^ +(CHARLOOM_\w+|PIP_\w+):$", text, re.MULTILINE))
    example = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE)) == read
    assert ".env" in (ROOT / ".gitignore").read_text().split()


def test_each_setting_reaches_the_servers_and_the_workers(services: dict[str, Any]) -> None:
    """From ``.env``, unless the image or ``docker-compose.yml`` itself settles it."""
    image = (ROOT / "Dockerfile").read_text()
    settled = set(re.findall(r"^ +(CHARLOOM_\w+)=", image, re.MULTILINE))
    assert settled == {"CHARLOOM_DATA", "CHARLOOM_HOST", "CHARLOOM_PORT"}
    # The image has the models.
    settled.add("CHARLOOM_PRETRAINED")
    # Compose has one host, and a volume that all share.
    settled |= {"CHARLOOM_CACHE_BYTES", "CHARLOOM_STORAGE"}
    own = {f"CHARLOOM_{name.upper()}" for name in ServerSettings.model_fields}
    assert services["server"]["environment"].keys() == own - settled
    for name in ("worker", "worker-gpu"):
        assert services[name]["environment"].keys() == {*VARIABLES} - settled


def test_what_must_be_set_is_not_commented_out_and_readme_sets_it() -> None:
    example = (ROOT / ".env.example").read_text()
    needed = set(re.findall(r"^([A-Z_]+)=$", example, re.MULTILINE))
    assert needed == {"CHARLOOM_REDIS_PASSWORD", "PIP_EXTRA_INDEX_URL"}
    assert set(re.findall(r"^[A-Z_]+=", example, re.MULTILINE)) == {f"{name}=" for name in needed}
    lines = (ROOT / "README.md").read_text().partition("\n## Docker\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^    sed -i .*\^([A-Z_]+)=", lines, re.MULTILINE)) == needed


def test_without_a_password_nothing_starts(services: dict[str, Any]) -> None:
    """No default that everybody knows: Compose refuses, and says which variable to set."""
    for name in services.keys() - {"proxy"}:
        asked = [v for v in services[name]["environment"].values() if "REDIS_PASSWORD:?" in str(v)]
        assert asked, name


def test_only_the_proxy_can_be_reached_and_only_from_this_machine(
    services: dict[str, Any],
) -> None:
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports == {"proxy": ["${CHARLOOM_PUBLISH:-127.0.0.1:8000}:8000"]}
    assert not {"inside"} & {*services["proxy"]["networks"]}


def test_servers_and_workers_can_be_scaled(services: dict[str, Any]) -> None:
    for name in ("server", "worker", "worker-gpu"):
        assert not {"ports", "container_name", "hostname"} & services[name].keys(), name


def test_each_service_says_whether_it_is_healthy(services: dict[str, Any]) -> None:
    """The server's check is the image's; a worker serves nothing."""
    assert {n for n, s in services.items() if "test" in s.get("healthcheck", {})} == {
        "proxy",
        "redis",
    }
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()
    for name in ("worker", "worker-gpu"):
        assert services[name]["healthcheck"] == {"disable": True}


def test_the_gpu_is_for_those_who_ask(services: dict[str, Any]) -> None:
    assert services["worker-gpu"]["profiles"] == ["gpu"]
    builds = {name: s["build"]["args"]["TORCH"] for name, s in services.items() if "build" in s}
    assert builds == {"server": "cpu", "worker": "cpu", "worker-gpu": "cu130"}


def test_no_service_can_do_more_than_it_must(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        # Without it Caddy's binary does not start.
        assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "proxy" else [])
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"] and service["pids_limit"] and service["stop_grace_period"], name


def test_redis_is_healthy_before_it_is_used(services: dict[str, Any]) -> None:
    for name in services.keys() - {"redis", "proxy"}:
        assert services[name]["depends_on"] == {"redis": {"condition": "service_healthy"}}, name


def test_server_and_workers_share_the_data(services: dict[str, Any]) -> None:
    ours = services.keys() - {"redis", "proxy"}
    assert {str(services[name]["volumes"]) for name in ours} == {"['data:/data']"}


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
        ("deploy/slim.sh", True),
        ("deploy/try-image.sh", False),
        ("deploy/kubernetes/base/server.yaml", False),
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


# What runs


def test_the_image_gets_no_cuda_by_accident() -> None:
    """With no index that has the build, pip ends with an error, and so does the build."""
    file = (ROOT / "Dockerfile").read_text()
    assert "ARG TORCH=cpu\n" in file
    step = re.search(r"^RUN --mount=type=cache.*?[^\\]\n\n", file, re.MULTILINE | re.DOTALL)
    assert step
    script = step[0].replace("\\\n", " ").split("locked", 1)[1].replace("sh slim.sh", "echo slim")
    for torch, wanted in {
        "cpu": "torch==2+cpu",
        "cu130": "torch==2+cu130",
        "default": "torch==2",
    }.items():
        asked = subprocess.run(
            [
                "sh",
                "-c",
                f'grep() {{ echo torch==2; }}; python() {{ echo "$@"; return 1; }}; {script}',
            ],
            env={"PATH": os.environ["PATH"], "TORCH": torch},
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        assert asked.stdout.split()[-1] == wanted
        assert asked.returncode == 1 and "set PIP_EXTRA_INDEX_URL" in asked.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_the_systemd_unit_is_one(tmp_path: Path) -> None:
    unit = (ROOT / "deploy" / "systemd" / "charloom.service").read_text()
    # The program and the user must be there.
    here = re.sub(r"^(User|Group)=charloom$", r"\1=root", unit, flags=re.MULTILINE)
    assert here.count("ExecStart=/opt/charloom/charloom ") == 1 and here.count("=root") == 2
    file = tmp_path / "charloom.service"
    file.write_text(here.replace("=/opt/charloom/", f"={ROOT}/"))
    found = subprocess.run(
        ["systemd-analyze", "verify", file],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": os.environ["PATH"], "SYSTEMD_LOG_LEVEL": "warning"},
    )
    assert (found.returncode, found.stderr) == (0, "")


def test_systemd_does_not_retry_what_no_retry_mends() -> None:
    """As ``test_up.py`` holds `./charloom up` to it."""
    unit = (ROOT / "deploy" / "systemd" / "charloom.service").read_text()
    codes = re.search(r"^RestartPreventExitStatus=(.*)$", unit, re.MULTILINE)
    assert codes and {*map(int, codes[1].split())} == {ending.USAGE, os.EX_CONFIG}

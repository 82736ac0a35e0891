"""The application and its process: what is put together, and how it starts, listens and stops."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis

from app import main
from app.main import create_app
from app.server.sockets import listen
from app.settings import ServerSettings
from tests.serving import NOWHERE, TEXT, eventually, serve
from tests.support import queue_at
from worker.data import DataDirectory

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with serve(tmp_path_factory.mktemp("data")) as client:
        yield client


def test_the_front_door_says_what_to_do(client: httpx2.Client) -> None:
    response = client.get("/")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert f"{str(client.base_url).rstrip('/')}/train?model=" in response.text


# OpenAPI


def test_openapi_declares_our_problems(client: httpx2.Client) -> None:
    schema = client.get("/openapi.json").json()
    text = str(schema)
    assert "HTTPValidationError" not in text
    schemas = schema["components"]["schemas"]
    for reference in re.findall(r"'#/components/schemas/(\w+)'", text):
        assert reference in schemas
    train = schema["paths"]["/train"]["post"]
    assert {"202", "409", "413", "415", "422", "507"} <= train["responses"].keys()
    assert set(train["requestBody"]["content"]) == {
        "multipart/form-data",
        "application/json",
        "text/plain",
    }
    assert (
        "text/event-stream"
        in (schema["paths"]["/jobs/{job_id}/events"]["get"]["responses"]["200"]["content"])
    )


IMPERATIVES = {
    *(
        "Cancel",
        "Check",
        "Compare",
        "Complete",
        "Delete",
        "Download",
        "Draw",
        "Find",
        "Follow",
        "Generate",
    ),
    *("Get", "Import", "Inspect", "List", "Rename", "Resume", "Sample", "Show", "Train", "Upload"),
}


def test_openapi_says_what_everything_is_for(client: httpx2.Client) -> None:
    """Endpoints in the imperative; parameters and fields of bodies in a sentence each."""
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for method, operation in operations.items():
            place = f"{method} {path}"
            assert operation["summary"].split()[0] in IMPERATIVES, place
            for parameter in operation.get("parameters", ()):
                name, words = parameter["name"], parameter.get("description", "")
                assert is_sentence(words), f"{place}: {name}"
            for content in operation.get("requestBody", {}).get("content", {}).values():
                for name, schema in content["schema"].get("properties", {}).items():
                    assert is_sentence(schema.get("description", "")), f"{place}: {name}"


def test_openapi_describes_every_endpoint_schema_and_field(client: httpx2.Client) -> None:
    document = client.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation.get("description", "").strip(), f"{method} {path}"
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description", "").strip(), name
    fields = list(fields_in(document, ""))
    assert len(fields) > 400
    for place, field in fields:
        assert is_sentence(field.get("description", "")), place


def fields_in(node: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each field of each schema in a document, with where it stands; examples are none."""
    if isinstance(node, list):
        for index, one in enumerate(node):
            yield from fields_in(one, f"{place}/{index}")
    elif isinstance(node, dict):
        if isinstance(node.get("properties"), dict):
            for name, field in node["properties"].items():
                yield f"{place}/{name}", field
        for key, value in node.items():
            if key not in ("example", "examples", "default"):
                yield from fields_in(value, f"{place}/{key}")


def is_sentence(text: str) -> bool:
    return text.endswith(".") and text[0] == text[0].upper()


# The process


def test_the_server_needs_no_torch() -> None:
    code = "import sys, app.main, app.__main__; print(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    modules = run.stdout.decode().split()
    assert "app.main" in modules
    assert "torch" not in modules


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        environment = {
            "CHARLOOM_PORT": str(taken.getsockname()[1]),
            "CHARLOOM_DATA": str(tmp_path / "data"),
        }
        run = subprocess.run(
            [sys.executable, "-m", "app"],
            cwd=ROOT,
            env=os.environ | environment,
            capture_output=True,
            text=True,
        )
    assert run.returncode == 1
    assert run.stdout == ""
    assert re.fullmatch(r"cannot listen on 127\.0\.0\.1 port \d+: .*in use\n", run.stderr)


def test_an_application_is_made_without_touching_the_disk(tmp_path: Path) -> None:
    app = create_app(ServerSettings(data=DataDirectory(tmp_path / "data")))
    assert app.openapi()["info"]["title"] == "charloom"
    assert not (tmp_path / "data").exists()


# Beside it


def test_a_job_that_redis_lost_is_put_back(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "RECONCILE_SECONDS", 0.02)
    monkeypatch.setattr(main, "LOST_SECONDS", 0.0)
    with serve(tmp_path, NOWHERE) as client:
        job_id = client.post("/train?model=lost", content=TEXT).json()["id"]
    queue = queue_at(redis_url, tmp_path)
    with serve(tmp_path, redis_url):
        eventually(lambda: queue.is_queued(job_id))
        with redis.Redis.from_url(redis_url) as server:
            server.flushall()
        eventually(lambda: queue.is_queued(job_id))


@pytest.mark.parametrize(
    ("error", "last"),
    [
        (
            "OSError(28, 'It is full', '/disk/secret')",
            "cannot start: /disk/secret: It is full",
        ),
        ("KeyError('surprise')", "KeyError: 'surprise'"),
    ],
)
def test_a_start_that_fails_says_why_in_its_last_line(
    tmp_path: Path, error: str, last: str
) -> None:
    script = f"""
from app import main
def fail(_): raise {error}
main.open_services = fail
from app.__main__ import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={
            **os.environ,
            "CHARLOOM_DATA": str(tmp_path),
            "CHARLOOM_PORT": "0",
            "CHARLOOM_LOG": "text",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    # uvicorn's code.
    assert done.returncode == 3
    assert done.stderr.rstrip().endswith(last)
    assert done.stderr.count("Traceback") == ("KeyError" in error)

"""Nobody gets in who should not: keys, origins, names of hosts, rates."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import limits
import ollama
import openai
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.access import guard
from app.access.guard import EXPOSED, Guard
from app.access.keys import KeyRing
from app.main import create_app
from app.settings import ServerSettings
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.serving import eventually, problem, serve
from tests.toys import toy_checkpoint
from worker.data import DataDirectory

ROOT = Path(__file__).resolve().parents[2]

KEYS = (
    "sampler1:sample,trainer1:train,sampler-trainer:sample+train,the-chief:admin,with:colon:sample"
)
SITE = "https://site.example"


def bearing(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data")
    Registry(directory / "models").publish(Reference("toy"), toy_checkpoint())
    return directory


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx2.Client]:
    """Of a server with keys and nothing public."""
    with serve(data, api_keys=KEYS, cors_origins=SITE) as client:
        yield client


@pytest.fixture(scope="module")
def unlocked(data: Path) -> Iterator[httpx2.Client]:
    """Of a server without keys."""
    with serve(data, hosts="charloom.example", cors_origins=SITE) as client:
        yield client


# Deny by default


def test_an_address_that_nobody_classified_is_the_admins_alone(tmp_path: Path) -> None:
    app = create_app(ServerSettings(data=DataDirectory(tmp_path), api_keys=SecretStr(KEYS)))

    @app.get("/forgotten")
    def forgotten() -> str:
        return "secret"

    def status(**headers: str) -> int:
        return answer(app, "/forgotten", headers)[0]

    assert status() == 401
    assert status(authorization="Bearer sampler-trainer") == 403
    assert status(authorization="Bearer the-chief") == 200


def answer(
    app: FastAPI, path: str, headers: dict[str, str], client: str = "127.0.0.1", method: str = "GET"
) -> tuple[int, dict[str, str]]:
    """Status and headers of an application that is asked without a network."""
    said: list[Any] = []

    async def ask() -> None:
        await app(
            {
                "type": "http",
                "http_version": "1.1",
                "method": method,
                "path": path,
                "raw_path": path.encode(),
                "root_path": "",
                "scheme": "http",
                "query_string": b"",
                "client": (client, 5),
                "headers": [
                    (name.encode(), value.encode())
                    for name, value in {"host": "localhost", **headers}.items()
                ],
            },
            receive,
            send,
        )

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    asyncio.run(ask())
    return said[0]["status"], {k.decode(): v.decode() for k, v in said[0]["headers"]}


def test_openapi_says_what_wants_a_key(client: httpx2.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert "security" not in paths["/healthz"]["get"]
    for path, method in (("/sample", "get"), ("/train", "post"), ("/models/{model}", "delete")):
        operation = paths[path][method]
        assert operation["security"] == [{"key": []}]
        assert {"401", "403", "429"} <= operation["responses"].keys()


# Scopes


@pytest.mark.parametrize(
    ("method", "path", "may"),
    [
        ("GET", "/models", {"sampler1", "sampler-trainer", "the-chief", "with:colon"}),
        ("GET", "/sample?length=1", {"sampler1", "sampler-trainer", "the-chief", "with:colon"}),
        ("GET", "/v1/models", {"sampler1", "sampler-trainer", "the-chief", "with:colon"}),
        ("GET", "/jobs", {"trainer1", "sampler-trainer", "the-chief"}),
        ("POST", "/train?model=m", {"trainer1", "sampler-trainer", "the-chief"}),
        ("DELETE", f"/corpora/{'0' * 64}", {"trainer1", "sampler-trainer", "the-chief"}),
        ("DELETE", "/models/nobody", {"the-chief"}),
        ("GET", "/metrics", {"the-chief"}),
    ],
)
def test_a_key_may_what_its_scopes_say(
    client: httpx2.Client, method: str, path: str, may: set[str]
) -> None:
    for key in ("sampler1", "trainer1", "sampler-trainer", "the-chief", "with:colon"):
        response = client.request(method, path, headers=bearing(key))
        assert (response.status_code not in (401, 403)) == (key in may), key
        if key not in may:
            assert response.status_code == 403
            assert "insufficient_scope" in response.headers["www-authenticate"]


def test_a_key_reaches_no_log(client: httpx2.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        client.get("/models", headers=bearing("sampler1"))
        client.get("/models", headers=bearing("unheard-of"))
        eventually(lambda: caplog.text.count("GET /models") >= 2)
    assert "sampler1" not in caplog.text and "unheard-of" not in caplog.text


# Other tools' clients


def test_openais_client_reads_why(client: httpx2.Client) -> None:
    def ask(key: str) -> str:
        url = f"{client.base_url}/v1"
        with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as ai:
            return ai.completions.create(model="toy", prompt="a", max_tokens=5).choices[0].text

    assert len(ask("sampler1")) == 5
    with pytest.raises(openai.AuthenticationError, match="invalid API key"):
        ask("stranger")
    with pytest.raises(openai.PermissionDeniedError, match="scope sample"):
        ask("trainer1")


def test_ollamas_client_reads_why(client: httpx2.Client) -> None:
    host = str(client.base_url)
    with ollama.Client(host, headers=bearing("sampler1")) as llama:
        assert llama.list().models
    with ollama.Client(host) as llama, pytest.raises(ollama.ResponseError, match="key") as refused:
        llama.list()
    assert refused.value.status_code == 401


# What is public


def test_sampling_may_be_public_and_nothing_else(data: Path) -> None:
    with serve(data, api_keys=KEYS, public="sample") as client:
        for path in ("/models", "/models/toy", "/models/toy/history", "/sample?length=3"):
            assert client.get(path).status_code == 200
        assert client.post("/sample", json={"length": 3}).status_code == 200
        problem(client.get("/names"), 422)
        for method, path in (
            ("GET", "/jobs"),
            ("POST", "/train"),
            ("DELETE", "/models/toy"),
            ("PATCH", "/models/toy"),
            ("POST", "/models/toy"),
            ("GET", "/metrics"),
        ):
            problem(client.request(method, path), 401)
        # Who sends a key means it.
        problem(client.get("/models", headers=bearing("stranger")), 401)
        problem(client.get("/models", headers=bearing("trainer1")), 403)


def test_what_is_public_is_limited_by_address(data: Path) -> None:
    with serve(data, api_keys=KEYS, public="sample", public_rate="3/minute") as client:
        assert [client.get("/models").status_code for _ in range(4)] == [200, 200, 200, 429]
        refused = client.get("/sample")
        assert "3 requests per minute" in problem(refused, 429)["detail"]
        assert 1 <= int(refused.headers["retry-after"]) <= 61
        assert client.get("/healthz").status_code == 200
        assert client.get("/models", headers=bearing("sampler1")).status_code == 200


def test_a_key_may_be_limited(data: Path) -> None:
    with serve(data, api_keys=KEYS, key_rate="2/hour") as client:

        def ask(key: str, path: str = "/v1/models") -> httpx2.Response:
            return client.get(path, headers=bearing(key))

        assert [ask("sampler1").status_code for _ in range(3)] == [200, 200, 429]
        assert ask("sampler-trainer").status_code == 200
        assert ask("sampler1").json()["error"]["type"] == "rate_limit_error"
        problem(ask("sampler1", "/models"), 429)


def test_guessing_keys_is_slow_and_locks_out_nobody_who_was_there(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "WRONG_KEYS", limits.parse("3/hour"))
    proxied = {"trusted_proxies": "127.0.0.1", "public": "sample"}
    with serve(data, api_keys=KEYS, **proxied) as client:

        def ask(key: str, address: str = "192.0.2.1") -> httpx2.Response:
            return client.get("/models", headers=bearing(key) | {"X-Forwarded-For": address})

        assert ask("sampler1").status_code == 200
        wrong = [ask(f"stranger-{n}").status_code for n in range(5)]
        assert wrong == [401, 401, 401, 429, 429]
        refused = ask("stranger")
        assert "wrong API keys" in problem(refused, 429, "rate_limited")["detail"]
        assert 1 <= int(refused.headers["retry-after"]) <= 3600
        # A guess that is right must not show.
        problem(ask("the-chief"), 429, "rate_limited")
        assert ask("sampler1").status_code == 200
        assert ask("the-chief", "192.0.2.2").status_code == 200
        # IPv4 over IPv6 is the same address.
        problem(ask("the-chief", "::ffff:192.0.2.1"), 429, "rate_limited")
        assert client.get("/models").status_code == 200


def test_addresses_are_told_apart_and_households_of_ipv6_are_not(tmp_path: Path) -> None:
    rates = {"public": "sample", "public_rate": "1/minute"}
    app = create_app(ServerSettings(data=DataDirectory(tmp_path), api_keys=KEYS, **rates))  # type: ignore[arg-type]

    def refused(address: str) -> bool:
        return answer(app, "/models", {}, address)[0] == 429

    for first, second in (("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8:0:1::1")):
        assert not refused(first) and not refused(second)
        assert refused(first) and refused(second)
    assert refused("2001:db8::abcd")


def test_one_address_cannot_take_all_the_rows(data: Path) -> None:
    with serve(data, api_keys=KEYS, public="sample", public_streams=2) as client:
        long = {"length": 1_000_000}
        with (
            client.stream("GET", "/sample", params=long) as one,
            client.stream("GET", "/sample", params=long) as two,
        ):
            chunks = one.iter_text(), two.iter_text()
            assert all(next(text) for text in chunks)
            refused = client.get("/sample")
            problem(refused, 429)
            assert refused.headers["retry-after"]
            assert client.get("/sample?length=1", headers=bearing("sampler1")).status_code == 200
        eventually(lambda: client.get("/sample?length=1").status_code == 200)


def test_a_proxy_is_believed_only_where_it_is_known(data: Path) -> None:
    rates = {"public": "sample", "public_rate": "1/minute", "api_keys": KEYS}
    for trusted, expected in (("127.0.0.1", [200, 200]), ("192.0.2.9", [200, 429])):
        with serve(data, trusted_proxies=trusted, **rates) as client:
            answers = [
                client.get("/models", headers={"X-Forwarded-For": f"198.51.100.{n}"}).status_code
                for n in (1, 2)
            ]
            assert answers == expected


# Pages of other origins


def test_pages_of_named_origins_may_sample(client: httpx2.Client) -> None:
    headers = {"Origin": SITE, **bearing("sampler1")}
    response = client.get("/sample?length=1", headers=headers)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == SITE
    assert response.headers["access-control-expose-headers"] == EXPOSED
    assert {"X-Model", "X-Model-Digest", "X-Seed", "X-Precision"} <= set(EXPOSED.split(", "))
    assert "Origin" in response.headers["vary"]
    assert "access-control-allow-credentials" not in response.headers
    # An error is as readable as a text.
    refused = client.post("/sample", json={"length": 0}, headers=headers)
    assert problem(refused, 422)
    assert refused.headers["access-control-allow-origin"] == SITE
    assert client.get("/models", headers={"Origin": SITE}).headers["access-control-allow-origin"]


def test_pages_of_named_origins_may_be_other_tools_clients(client: httpx2.Client) -> None:
    body = {"model": "toy", "prompt": "a", "max_tokens": 1}
    for key, status in (("sampler1", 200), ("trainer1", 403), ("stranger", 401)):
        headers = {"Origin": SITE, **bearing(key)}
        answer = client.post("/v1/completions", json=body, headers=headers)
        assert answer.status_code == status, answer.text
        assert answer.headers["access-control-allow-origin"] == SITE
    elsewhere = {"Origin": "https://else.example", **bearing("sampler1")}
    refused = client.post("/v1/completions", json=body, headers=elsewhere)
    assert refused.status_code == 403 and "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(
    ("origin", "method", "path", "allowed"),
    [
        (SITE, "GET", "/sample", True),
        (SITE, "POST", "/sample", True),
        (SITE, "GET", "/names", True),
        (SITE, "GET", "/models/toy", True),
        (SITE.upper(), "GET", "/names", True),
        (SITE, "POST", "/train", False),
        (SITE, "DELETE", "/models/toy", False),
        (SITE, "GET", "/jobs", False),
        (SITE, "GET", "/metrics", False),
        (SITE, "POST", "/v1/completions", True),
        (SITE, "POST", "/v1/chat/completions", True),
        (SITE, "GET", "/v1/models", True),
        (SITE, "POST", "/api/chat", True),
        (SITE, "GET", "/api/tags", True),
        (SITE, "POST", "/score", False),
        (SITE, "POST", "/v1/nothing", False),
        (f"{SITE}.evil.example", "GET", "/sample", False),
        ("http://site.example", "GET", "/sample", False),
        ("null", "GET", "/sample", False),
    ],
)
def test_a_preflight_needs_no_key(
    client: httpx2.Client, origin: str, method: str, path: str, allowed: bool
) -> None:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os",
    }
    response = client.options(path, headers=headers)
    assert response.status_code == 204
    assert ("access-control-allow-origin" in response.headers) == allowed
    if allowed:
        assert response.headers["access-control-allow-headers"] == "Authorization, *"
        assert method in response.headers["access-control-allow-methods"]


def test_any_origin_may_be_named(data: Path) -> None:
    with serve(data, cors_origins="*") as client:
        headers = {"Origin": "https://anywhere.example"}
        response = client.post("/sample", json={"length": 1}, headers=headers)
        assert response.headers["access-control-allow-origin"] == "https://anywhere.example"
        problem(client.post("/train?model=m", content="x", headers=headers), 403)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:{port}", True),
        ("https://charloom.example", True),
        ("http://localhost:1", False),
        ("http://127.0.0.1:{port}", False),
        (SITE, False),
        ("https://evil.example", False),
        ("null", False),
        ("http://[", False),
    ],
)
def test_a_page_of_another_origin_can_change_nothing(
    unlocked: httpx2.Client, origin: str, allowed: bool
) -> None:
    port = unlocked.base_url.port
    headers = {"Host": f"localhost:{port}", "Origin": origin.format(port=port)}
    for method, path in (("POST", "/train?model=m"), ("DELETE", "/models/nobody")):
        # As a form of another page sends it, which asks no leave.
        response = unlocked.request(method, path, content="x", headers=headers)
        assert (response.status_code == 403) != allowed, response.text
        if not allowed:
            assert (
                "cross-origin requests that modify data are not allowed"
                in problem(response, 403)["detail"]
            )
            assert "let the proxy pass the Host header on" in response.json()["detail"]


# Names of the host


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost:{port}", True),
        ("LOCALHOST.", True),
        ("charloom.localhost", True),
        ("127.0.0.1", True),
        ("127.1.2.3:80", True),
        ("[::1]:80", True),
        ("charloom.example", True),
        ("Charloom.Example:443", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("192.168.1.1", False),
        ("charloom.example.evil.example", False),
        ("", False),
        ("[", False),
        ("x@localhost", False),
        ("localhost/evil.example", False),
    ],
)
def test_a_server_on_loopback_has_few_names(
    unlocked: httpx2.Client, host: str, allowed: bool
) -> None:
    headers = {"Host": host.format(port=unlocked.base_url.port)}
    for path in ("/healthz", "/", "/models", "/nothing"):
        response = unlocked.get(path, headers=headers)
        assert (response.status_code != 403) == allowed
        if not allowed:
            assert "CHARLOOM_HOSTS" in problem(response, 403)["detail"]


def test_a_monitor_that_knows_no_host_may_ask_how_it_goes(unlocked: httpx2.Client) -> None:
    """HTTP/1.0 has no Host header."""

    def status(path: str) -> bytes:
        where = (unlocked.base_url.host, unlocked.base_url.port)
        with socket.create_connection(where, timeout=60) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            return connection.makefile("rb").readline().split()[1]

    assert status("/healthz") == b"200"
    assert status("/readyz") == b"503"
    assert status("/models") == b"403"


@pytest.mark.parametrize(
    ("hosts", "host", "status"),
    [
        ((), "anything.example", 200),
        (("charloom.example",), "anything.example", 403),
        (("charloom.example",), "charloom.example", 200),
        (("charloom.example",), "192.0.2.1:8000", 200),
        (("charloom.example",), "localhost:8000", 200),
        ((), "x@anything.example", 403),
        ((), "", 200),
    ],
)
def test_a_server_beyond_loopback_has_those_that_it_is_given(
    tmp_path: Path, hosts: tuple[str, ...], host: str, status: int
) -> None:
    app = create_app(
        ServerSettings(data=DataDirectory(tmp_path), host="0.0.0.0", insecure=True, hosts=hosts)
    )
    assert answer(app, "/healthz", {"host": host})[0] == status


def test_what_is_no_request_passes() -> None:
    passed = []

    async def inner(scope: Any, _receive: Any, _send: Any) -> None:
        passed.append(scope["type"])

    asyncio.run(Guard(inner, keys=KeyRing.parse(KEYS))({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert passed == ["lifespan"]

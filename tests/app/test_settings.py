"""What an operator sets is checked, and means the same to the server as to a worker."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from app.settings import ServerSettings, explained, refusal
from worker.settings import SettingsError, WorkerSettings

ROOT = Path(__file__).resolve().parents[2]

PROXIES = "must be IP addresses or networks such as 127.0.0.1,10.0.0.0/8, or only *"
ORIGINS = "must be origins such as https://example.org, without paths"


# What a worker reads too


@pytest.mark.parametrize("data", ["kept", "./kept/../kept", "/srv/charloom", ""])
def test_the_data_directory_is_the_workers(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHARLOOM_DATA", data)
    monkeypatch.setenv("CHARLOOM_REDIS_URL", "redis://localhost")
    server, worker = ServerSettings(), WorkerSettings.from_environment()
    assert server.data == worker.data
    assert server.data.root.is_absolute()
    monkeypatch.chdir("/")
    assert server.data.models == worker.data.models


@pytest.mark.parametrize(
    "url",
    ["redis://localhost:1", "rediss://:secret@x/3", "unix:///run/x", "redis://localhost?db=2",
     "redis://x/0?socket_timeout=5"],
)  # fmt: skip
def test_a_redis_url_is_the_workers(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARLOOM_REDIS_URL", url)
    assert ServerSettings().redis_url == WorkerSettings.from_environment().redis_url == url


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MAX_STREAMS", "many", "must be a whole number of at least 1"),
        ("MAX_STREAMS", "-1", "must be a whole number of at least 1"),
        ("MAX_UPLOAD_BYTES", "1G", "must be a whole number of at least 1"),
        ("PUBLIC", "yes", "must be empty or sample"),
        ("INSECURE", "perhaps", "must be true or false"),
        ("PUBLIC_RATE", "60", "must be a rate such as 60/minute"),
        ("KEY_RATE", "60/minute;5/second", "must be a rate such as 60/minute"),
        ("LOG", "xml", "must be json or text"),
        ("TRUSTED_PROXIES", "foo", PROXIES),
        ("TRUSTED_PROXIES", "127.0.0.1,10.0.0.1/8", PROXIES),
        ("TRUSTED_PROXIES", "*,127.0.0.1", PROXIES),
        ("HOSTS", "example.org:8000", "must be host names, without ports"),
        ("HOSTS", "abc:80", "must be host names, without ports"),
        ("CORS_ORIGINS", "https://site.example:web", ORIGINS),
    ],
)
def test_a_wrong_setting_is_told_in_our_words(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"CHARLOOM_{name}", value)
    with pytest.raises(ValidationError) as refused:
        ServerSettings()
    assert explained(refused.value) == f"CHARLOOM_{name}={value!r}: {words}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOG", "json"),
        ("LOG", "text"),
        ("TRUSTED_PROXIES", "*"),
        ("TRUSTED_PROXIES", "127.0.0.1, ::1, 10.0.0.0/8,fd00::/8"),
        ("HOSTS", "example.org,my_host,192.0.2.1,::1"),
        ("CORS_ORIGINS", "https://site.example:8443,http://[::1]:81,*"),
        ("KEY_RATE", "1000 per 2 hours"),
    ],
)
def test_a_right_setting_is_taken(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"CHARLOOM_{name}", value)
    taken = getattr(ServerSettings(), name.lower())
    assert taken == (value if isinstance(taken, str) else tuple(value.replace(" ", "").split(",")))


def test_an_origin_is_as_browsers_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given = "https://a.example:443,http://a.example:80,https://a.example:80,http://[::1]:80"
    monkeypatch.setenv("CHARLOOM_CORS_ORIGINS", given)
    taken = ("https://a.example", "http://a.example", "https://a.example:80", "http://[::1]")
    assert ServerSettings().cors_origins == taken


def test_a_redis_url_that_is_none_is_refused_in_the_workers_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHARLOOM_REDIS_URL", "http://localhost:6379")
    with pytest.raises(ValidationError) as refused:
        ServerSettings()
    words = "must start with redis://, rediss:// or unix://"
    assert explained(refused.value) == f"CHARLOOM_REDIS_URL: {words}"
    with pytest.raises(SettingsError, match=f"CHARLOOM_REDIS_URL: {words}"):
        WorkerSettings.from_environment()


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    default = ServerSettings()
    for name in ServerSettings.model_fields:
        monkeypatch.setenv(f"CHARLOOM_{name.upper()}", "")
    assert ServerSettings() == default


# What only the server reads


def test_settings_show_no_secret() -> None:
    settings = ServerSettings(
        host="0.0.0.0", api_keys=SecretStr("top-secret:admin"), redis_url="redis://:secret@x"
    )
    assert refusal(settings) is None
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("host", "insecure", "allowed"),
    [
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("localhost", False, True),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("example.org", False, False),
        ("0.0.0.0", True, True),
    ],
)
def test_strangers_are_not_served_by_accident(host: str, insecure: bool, allowed: bool) -> None:
    refused = refusal(ServerSettings(host=host, insecure=insecure))
    assert (refused is None) == allowed
    assert allowed or "CHARLOOM_API_KEYS" in str(refused)


def test_words_are_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARLOOM_HOSTS", " Charloom.Example ,other.example,,")
    assert ServerSettings().hosts == ("charloom.example", "other.example")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CORS_ORIGINS", "site.example"),
        ("CORS_ORIGINS", "https://site.example/page"),
        ("HOSTS", "http://x"),
        ("LOG", "xml"),
        ("PUBLIC", "train"),
        ("PUBLIC_RATE", "often"),
        ("PORT", "70000"),
        ("TRUSTED_PROXIES", "foo"),
    ],
)
def test_what_an_operator_got_wrong_is_one_line(variable: str, value: str, tmp_path: Path) -> None:
    name = f"CHARLOOM_{variable}"
    run = start(name, value, tmp_path)
    assert (run.returncode, run.stdout) == (os.EX_CONFIG, "")
    assert run.stderr.startswith(f"{name}={value!r}: ") and run.stderr.count("\n") == 1
    assert "Value error" not in run.stderr


@pytest.mark.parametrize(
    "text",
    ["open-sesame", "open-sesame:", ":sample", "open-sesame:write", "open-sesame:sample+",
     "open sesame:sample", "open-sésame:sample", "open-sesame:sample,open-sesame:admin",
     "sesame7:sample"],
)  # fmt: skip
def test_keys_that_are_none_are_refused_and_not_shown(text: str, tmp_path: Path) -> None:
    run = start("CHARLOOM_API_KEYS", text, tmp_path)
    assert run.returncode == os.EX_CONFIG
    assert run.stdout == "" and run.stderr.startswith("CHARLOOM_API_KEYS: ")
    assert run.stderr.count("\n") == 1 and "same" not in run.stderr.replace("sample", "")


@pytest.mark.parametrize(
    ("given", "root"),
    [("", ""), ("/", ""), ("/loom", "/loom"), ("/loom/", "/loom"), ("/a/b", "/a/b")],
)
def test_a_path_in_front(given: str, root: str) -> None:
    assert ServerSettings(root_path=given).root_path == root


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("loom", "a path such as /loom"),
        ("/lo om", "a path such as /loom"),
        ("//evil.example", "a path such as /loom"),
        ("/..", "a path such as /loom"),
        ("/models", "must not begin like a path of this server's own"),
        ("/train/x", "must not begin like a path of this server's own"),
        ("/static", "must not begin like a path of this server's own"),
    ],
)
def test_a_path_that_cannot_be_in_front(given: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ServerSettings(root_path=given)


def start(name: str, value: str, data: Path) -> "subprocess.CompletedProcess[str]":
    """A server that is started with one more variable, and ends at once."""
    return subprocess.run(
        [sys.executable, "-m", "app"],
        cwd=ROOT,
        env=os.environ | {name: value, "CHARLOOM_DATA": str(data)},
        capture_output=True,
        text=True,
        check=False,
    )

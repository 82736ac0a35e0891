"""Without API keys nothing listens where others can reach it; one rule for `up` and the server."""

import pytest

from app.settings import ServerSettings
from app.settings import refusal as server_refusal
from app.supervisor.loopback import is_loopback, refusal


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("localhost", True),
        ("LocalHost", True),
        ("loom.localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("example.org", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_only_this_machine_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected


def test_keys_or_consent_open_other_hosts() -> None:
    assert refusal("0.0.0.0", keys=True, insecure=False) is None
    assert refusal("0.0.0.0", keys=False, insecure=True) is None
    assert refusal("127.0.0.1", keys=False, insecure=False) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "example.org", "127.0.0.1"])
def test_the_server_says_what_the_supervisor_says(host: str) -> None:
    assert server_refusal(ServerSettings(host=host)) == refusal(host, keys=False, insecure=False)

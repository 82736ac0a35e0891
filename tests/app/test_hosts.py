"""Hosts and IP addresses are read as requests bring them."""

import pytest

from app.access.hosts import address_of, is_address, name_of


@pytest.mark.parametrize(
    ("authority", "name"),
    [
        ("localhost", "localhost"),
        ("localhost:8000", "localhost"),
        ("LOCALHOST.:8000", "localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]:8000", "::1"),
        ("user@example.org", "example.org"),
        ("[", ""),
        ("", ""),
    ],
)
def test_the_name_in_an_authority(authority: str, name: str) -> None:
    assert name_of(authority) == name


def test_an_address_is_a_number() -> None:
    assert is_address("127.0.0.1") and is_address("::1")
    assert not is_address("localhost") and not is_address("")


@pytest.mark.parametrize(
    ("client", "counted"),
    [
        (("192.0.2.7", 1234), "192.0.2.7"),
        # A household of IPv6 has a network of its own.
        (("2001:db8::1", 1), "2001:db8::/64"),
        (("2001:db8::ffff", 1), "2001:db8::/64"),
        (("fe80::1%eth0", 1), "fe80::/64"),
        (("/run/socket", 0), "unknown"),
        (None, "unknown"),
    ],
)
def test_whom_a_limit_counts(client: tuple[str, int] | None, counted: str) -> None:
    assert address_of({"type": "http", "client": client}) == counted

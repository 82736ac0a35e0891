"""Names and IP addresses are told apart, and households of IPv6 are not."""

from typing import Any

import pytest

from app.access.hosts import address_of, is_address, name_of


@pytest.mark.parametrize(
    ("authority", "name"),
    [
        ("localhost", "localhost"),
        ("localhost:8000", "localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("LOCALHOST.", "localhost"),
        ("[::1]:80", "::1"),
        ("[::1]", "::1"),
        ("user@localhost:1", ""),
        ("localhost/", ""),
        ("localhost:80:80", ""),
        ("localhost:port", ""),
        ("local host", ""),
        ("[::1", ""),
        ("[::1]x", ""),
        ("::1", ""),
        ("localhost#", ""),
        ("localhost\\@evil.example", ""),
        ("", ""),
        ("[", ""),
        (":80", ""),
    ],
)
def test_the_name_in_an_authority(authority: str, name: str) -> None:
    assert name_of(authority) == name


@pytest.mark.parametrize(
    ("name", "expected"), [("::1", True), ("10.0.0.1", True), ("a.example", False), ("", False)]
)
def test_what_is_an_ip_address(name: str, expected: bool) -> None:
    assert is_address(name) is expected


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("192.0.2.1", 5), "192.0.2.1"),
        (("2001:db8::1", 5), "2001:db8::/64"),
        (("2001:db8::abcd", 5), "2001:db8::/64"),
        (("2001:db8:0:1::1", 5), "2001:db8:0:1::/64"),
        (("fe80::1%eth0", 5), "fe80::/64"),
        # IPv4 as a socket of both sees it.
        (("::ffff:192.0.2.1", 5), "192.0.2.1"),
        (("::ffff:192.0.2.2", 5), "192.0.2.2"),
        (("somebody", 5), "unknown"),
        (("/run/socket", 0), "unknown"),
        (None, "unknown"),
    ],
)
def test_whom_a_limit_counts(client: Any, address: str) -> None:
    assert address_of({"type": "http", "client": client}) == address

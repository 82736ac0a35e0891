"""Names and IP addresses of hosts in requests. Knows no key and no rate."""

from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from starlette.types import Scope


def name_of(authority: str) -> str:
    """The name or IP address in ``host:port`` (RFC 3986); empty if there is none."""
    try:
        return (urlsplit(f"//{authority}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def address_of(scope: Scope) -> str:
    """The IP address that limits count; for IPv6 its /64 network, which is one household's."""
    client: Any = scope.get("client")
    try:
        address = ip_address(client[0].partition("%")[0])
    except (TypeError, ValueError):
        return "unknown"
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False))
    return str(address)

"""Names and IP addresses of hosts in requests. Knows no key and no rate."""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from starlette.types import Scope

_AUTHORITY = re.compile(
    r"(?:\[(?P<ipv6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::[0-9]{0,5})?",
    re.IGNORECASE | re.ASCII,
)
"""A ``Host`` header (RFC 9110, 7.2), which has no user; names with other characters are unheard of
there."""


def name_of(authority: str) -> str:
    """The name or IP address in ``host:port``; empty if it has another form."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return ""
    return (match["ipv6"] or match["name"]).lower().rstrip(".")


def is_address(name: str) -> bool:
    return _parsed(name) is not None


def unmapped(host: str) -> str:
    """An IP address, as IPv4 where IPv6 only wraps it (``::ffff:192.0.2.1``)."""
    address = _parsed(host) if ":" in host else None
    return host if address is None else str(address)


def counted(host: str) -> str:
    """What limits count an IP address as; for IPv6 its /64 network, which is one household's."""
    address = _parsed(host)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False))
    return "unknown" if address is None else str(address)


def address_of(scope: Scope) -> str:
    """What limits count the client of a request as."""
    client: Any = scope.get("client")
    return counted(client[0]) if client else "unknown"


def is_among(host: str, networks: Iterable[str]) -> bool:
    """Whether an IP address is one of these IP addresses or networks; ``*`` is any."""
    address = _parsed(host)
    for network in networks:
        if network == "*":
            return True
        try:
            if address is not None and address in ip_network(network, strict=False):
                return True
        except ValueError:
            continue
    return False


def _parsed(host: str) -> IPv4Address | IPv6Address | None:
    """An IP address without its zone, and IPv4 where IPv6 only wraps it."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address

"""Who can reach a server, by the host that it listens on, and what that takes.

One rule for the supervisor, which checks before it starts anything, and for the server itself.
Knows neither.
"""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether a host's name or IP address is this machine's own, whatever a resolver says."""
    host = host.lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def refusal(host: str, *, keys: bool, insecure: bool) -> str | None:
    """Why nothing must listen on ``host``: others could reach it, and it asks for no key.

    None if it may: only this machine reaches it, it has ``keys``, or ``insecure`` says so.
    """
    if keys or insecure or is_loopback(host):
        return None
    return (
        f"refusing to listen on {host} without API keys, since anyone who can reach it could train "
        "and delete models: set CHARLOOM_API_KEYS, or allow it with --insecure or "
        "CHARLOOM_INSECURE=1"
    )

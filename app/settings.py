"""What an operator sets: the ``CHARLOOM_…`` variables of the environment, checked.

Knows nothing of the application that is made from them.
"""

from ipaddress import ip_address
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Each field is the variable of its name, in capitals, after ``CHARLOOM_``."""

    model_config = SettingsConfigDict(env_prefix="CHARLOOM_", frozen=True)

    data: Path = Path("data")
    # Not shown where settings are printed: it may hold a password.
    redis_url: str = Field(default="redis://127.0.0.1:6379/0", repr=False)
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    max_upload_bytes: int = Field(default=1 << 30, ge=1)
    pretrained: Path | None = Path(__file__).resolve().parent.parent / "pretrained"
    max_streams: int = Field(default=1000, ge=1)
    model_memory_bytes: int = Field(default=4 << 30, ge=0)
    insecure: bool = False
    api_keys: SecretStr = SecretStr("")


def refusal(settings: Settings) -> str | None:
    """Why a server must not start with these settings; None if it may."""
    if settings.api_keys.get_secret_value():
        # Whoever sets keys believes that strangers are kept out.
        return "CHARLOOM_API_KEYS is set, but this version does not check keys yet: unset it"
    if settings.insecure or _is_loopback(settings.host):
        return None
    return (
        f"listening on {settings.host} would let everybody who reaches it train and delete: "
        "set CHARLOOM_INSECURE=1 if that is meant, or CHARLOOM_HOST=127.0.0.1"
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

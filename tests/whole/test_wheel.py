"""The wheel has all that runs and nothing else, and works far from a clone.

``deploy/try-wheel.sh`` installs it with pip into an environment of its own, as ``.ci/run`` does;
here it is unpacked, which is what pip does, and finds the other packages in this environment.
"""

import os
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

from app import __version__
from tests.support import ROOT

FOLDERS = ("app", "worker", "models", "pretrained")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dist = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory"]
    subprocess.run([*build, str(dist)], cwd=ROOT, check=True, capture_output=True, timeout=120)
    (made,) = dist.iterdir()
    return made


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel's packages are."""
    directory = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    return directory


def test_it_has_each_file_of_the_code_the_pages_and_the_models(wheel: Path, site: Path) -> None:
    assert wheel.name == f"charloom-{__version__}-py3-none-any.whl"
    ours = {
        path.relative_to(ROOT)
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    about = f"charloom-{__version__}.dist-info"
    found = {path.relative_to(site) for path in site.rglob("*") if path.is_file()}
    assert {path for path in found if path.parts[0] != about} == ours
    assert {path.relative_to(site).as_posix() for path in (site / "pretrained").iterdir()} == {
        f"pretrained/{name}" for name in ("linux", "names", "shakespeare")
    }


def test_its_command_is_the_clones(site: Path) -> None:
    scripts = ConfigParser()
    scripts.read(site / f"charloom-{__version__}.dist-info" / "entry_points.txt")
    assert dict(scripts["console_scripts"]) == {"charloom": "app.cli:main"}


def installed(site: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command as pip's script does, for somebody who has set nothing."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CHARLOOM_", "XDG_", "PYTHON"))
    }
    home.mkdir(exist_ok=True)
    call = "import sys; from app.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-P", "-c", call, *arguments],
        env=environment | {"HOME": str(home), "PYTHONPATH": str(site)},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="other platforms keep data elsewhere")
def test_it_streams_from_a_model_that_ships_and_keeps_data_in_the_home(
    site: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    done = installed(site, home, "names", "--model=names", "--count=5", "--seed=1")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 5
    data = home / ".local" / "share" / "charloom"
    assert {path.name for path in (data / "models").iterdir()} >= {"linux", "names", "shakespeare"}
    assert not (site / "data").exists()
    done = installed(site, home, "sample", "--model=nobody")
    # Not ./charloom: there is no such file.
    assert done.stderr == "charloom: model not found; charloom models lists all models\n"


@pytest.mark.parametrize(
    "arguments", [["test"], ["test", "-k", "names"], ["test", "--help"], ["bench", "--quick"]]
)
def test_its_tests_and_benches_are_in_a_clone(
    site: Path, tmp_path: Path, arguments: list[str]
) -> None:
    done = installed(site, tmp_path / "home", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert f"run ./charloom {arguments[0]} there" in done.stderr


def test_its_own_sources_are_those_that_are_installed(site: Path, tmp_path: Path) -> None:
    (site / "tests").mkdir()
    (site / "tests" / "others.py").write_text("somebody_elses = 1\n")
    to = tmp_path / "text"
    done = installed(site, tmp_path / "home", "corpus", "fetch", "charloom", "--to", str(to))
    assert done.returncode == 0, done.stderr
    text = to.read_text()
    assert "def unzipped(" in text and "somebody_elses" not in text


def test_it_says_its_version(site: Path, tmp_path: Path) -> None:
    done = installed(site, tmp_path / "home", "--version")
    assert (done.returncode, done.stdout) == (0, f"charloom {__version__}\n")
